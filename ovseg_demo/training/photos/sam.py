"""Segment Anything with a convolutional encoder for photographs (Kirillov et al. 2023), class-agnostic.

The encoder starts from ImageNet weights with its batch norms folded into its convolutions; its first stages
stay as they are. Prompt encoder and mask decoder are segment-anything's at a small width, and start as
``train sam`` starts them: tokens attend to their own place first. Losses are those of
:mod:`ovseg_demo.training.sam_losses`, masks are compared on some cells only, and the network sees squares cut
out of photographs at many scales instead of its full input.

Run it with ``python -m ovseg_demo.training.photos sam``; see ``docs/how-to/train-on-photographs.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ovseg_demo.proposals.sam.building import PIXEL_MEAN, PIXEL_STD, SamConfig, build_sam, new_sam
from ovseg_demo.proposals.sam.encoders.timm_cnn import TimmCnnConfig
from ovseg_demo.proposals.trunks import fold_batch_norms
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.training.files import save_atomically
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.optimizers import decay_groups
from ovseg_demo.training.pair_loss import pair_loss
from ovseg_demo.training.photos.mask_samples import MaskSamples
from ovseg_demo.training.photos.point_start import start_at_points
from ovseg_demo.training.photos.shared_attention import two_way
from ovseg_demo.training.photos.trunks import expect_pixels, load_classifier
from ovseg_demo.training.resuming import describe_choice
from ovseg_demo.training.sam import scale_logits
from ovseg_demo.training.sam_losses import mask_iou, mask_losses
from ovseg_demo.training.sam_samples import MASK_PIXELS, at_cells, choose_cells
from ovseg_demo.training.schedule import LoopSettings
from ovseg_demo.training.task import TrainingTask


@dataclass(frozen=True)
class PhotoSamSettings:
    """Sizes and hyper-parameters.

    Attributes:
        size: architecture.
        loop: schedule and batch.
        side: of the squares that the network sees, in pixels; a multiple of 32.
        prompts: points a square.
        cells: of the image embedding, on which the masks of a prompt are compared.
        learning_rate: of decoder and neck at the peak; of matrices in the decoder by Muon, ``muon_rate``.
        trunk_rate: of the trunk's stages that learn.
        frozen_stages: stages of the trunk, after its stem, that stay as they are.
        weight_decay: of matrices.
        balanced_weight, plain_weight: of the cross-entropies; with more of the plain one, all masks of the
            first hundred steps become empty.
        quality_weight: of the loss of the predicted IoU.
        pair_weight: of the auxiliary loss on pairs of pixels.
        validation_samples: on which the figures are taken.
    """

    size: SamConfig
    loop: LoopSettings
    side: int = 384
    prompts: int = 24
    cells: int = 144
    learning_rate: float = 1e-3
    muon_rate: float = 1.5e-3
    trunk_rate: float = 3e-4
    frozen_stages: int = 7
    weight_decay: float = 0.02
    balanced_weight: float = 1.0
    plain_weight: float = 1.0
    quality_weight: float = 3.0
    pair_weight: float = 0.5
    validation_samples: int = 32


PHOTO_MINI = PhotoSamSettings(
    size=SamConfig(
        encoder=TimmCnnConfig("tf_efficientnet_lite0", 512),
        prompt_dim=128,
        decoder_depth=1,
        decoder_downsampling=1,
        decoder_mlp_dim=512,
        iou_head_dim=128,
    ),
    loop=LoopSettings(
        steps=30_000,
        batch_size=4,
        warmup_steps=40,
        final_factor=0.02,
        workers=1,
        log_every=20,
        evaluate_every=300,
        save_minutes=3.0,
    ),
)


def train(
    settings: PhotoSamSettings,
    root: Path,
    trunk: Path | None,
    folder: Path,
    runtime: Runtime,
    stamps: Path | None = None,
) -> Path:
    """Train, going on from the folder's checkpoint; returns the weights file in segment-anything's format.

    Args:
        settings: sizes and hyper-parameters.
        root: folder of labelled photographs.
        trunk: file with the trunk's ImageNet weights; ``None`` starts it at random, for tests.
        folder: of checkpoint, log and weights.
        runtime: device and precision.
        stamps: folder of cut-out things that are pasted, too.

    Raises:
        CheckpointError: the trunk cannot be read, or the folder's checkpoint is of other inputs.
    """
    torch.manual_seed(settings.loop.seed)
    task = PhotoSamTask(settings, root, stamps)
    if trunk is not None:
        task.adopt_trunk(trunk)
    inputs = {"root": root, "trunk": trunk, "stamps": stamps}
    choices = {name: describe_choice(path) for name, path in inputs.items()}
    return run_training(task, settings.loop, folder, runtime, choices)


class PhotoSamTask(TrainingTask):
    """Segment Anything's losses on points in photographs."""

    def __init__(self, settings: PhotoSamSettings, root: Path, stamps: Path | None = None):
        super().__init__()
        self.settings, self.root, self.stamps = settings, root, stamps
        self.sam = start_sam(settings.size)
        self.sam.image_encoder.to(memory_format=torch.channels_last)
        trunk = self.sam.image_encoder.trunk
        for part in (trunk.conv_stem, *list(trunk.blocks)[: settings.frozen_stages]):
            part.requires_grad_(False)
        for module in trunk.modules():
            # Their gradients cost more than those of all other layers, and they are 3% of the weights.
            if isinstance(module, torch.nn.Conv2d) and module.groups > 1:
                module.requires_grad_(False)
        # Never used: there are neither mask nor box prompts.
        self.sam.prompt_encoder.mask_downscaling.requires_grad_(False)

    def adopt_trunk(self, path: Path) -> None:
        """Start the trunk from ImageNet weights."""
        name = self.settings.size.encoder.trunk
        trunk = load_classifier(name, path, features_only=True, out_indices=(1, 2, 3, 4))
        expect_pixels(trunk, PIXEL_MEAN, PIXEL_STD)
        fold_batch_norms(trunk)
        self.sam.image_encoder.trunk.load_state_dict(trunk.state_dict())

    def parameter_groups(self) -> list[dict]:
        """Return the groups: the trunk learns slowly, the decoder's matrices by Muon."""
        settings, decoder = self.settings, self.sam.mask_decoder
        trunk = [p for p in self.sam.image_encoder.trunk.parameters() if p.requires_grad]
        heads = [*decoder.output_hypernetworks_mlps.modules(), *decoder.iou_prediction_head.modules()]
        groups = decay_groups(
            self.sam,
            settings.learning_rate,
            settings.weight_decay,
            without=trunk,
            muon_lr=settings.muon_rate,
            muon_without=heads,
        )
        slow = {"params": trunk, "lr": settings.trunk_rate, "weight_decay": 0.0}
        return [*groups, slow] if trunk else groups

    def dataset(self) -> Dataset:
        """Return samples without end."""
        return self._samples("train", self.settings.loop.seed)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch of :class:`.mask_samples.MaskSample`, and its terms."""
        settings = self.settings
        embeddings = self.encode(batch["image"])
        masks = batch["masks"].flatten(0, 1)  # (B · P, G, G)
        valid = batch["valid"].repeat_interleave(settings.prompts, dim=0)
        cells, weights = choose_cells(masks, settings.cells)
        logits, quality = self.decode(embeddings, batch["points"], batch["corner"], cells)
        weights = at_cells(valid, cells) * weights.repeat_interleave(MASK_PIXELS**2, dim=1)
        terms = mask_losses(
            logits,
            quality,
            at_cells(masks, cells),
            weights,
            balanced_weight=settings.balanced_weight,
            plain_weight=settings.plain_weight,
        )
        upscaled = self.sam.mask_decoder.output_upscaling(embeddings)
        pairs = pair_loss(upscaled, batch["regions"])
        loss = terms["mask"] + settings.quality_weight * terms["quality"] + settings.pair_weight * pairs
        # Not all parameters have a say here (box prompts); accelerate wants them in the loss.
        unused = sum(p.sum() for p in self.sam.parameters() if p.requires_grad)
        figures = {name: value.detach() for name, value in (terms | {"pairs": pairs}).items()}
        return loss + 0.0 * unused, figures

    def encode(self, images: Tensor) -> Tensor:
        """Return image embeddings, float32 (B, C, c, c), of uint8 images (B, 3, s, s)."""
        encoder = self.sam.image_encoder
        pixels = (images.float() - self.sam.pixel_mean) / self.sam.pixel_std
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        features = encoder.trunk(pixels)
        return encoder.neck([feature.float() for feature in features])

    def decode(
        self, embeddings: Tensor, points: Tensor, corners: Tensor, cells: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the mask logits (B · P, M, 16 · N) of points on some cells, and predicted IoU (B · P, M).

        Both are float32.

        Args:
            embeddings: (B, C, c, c), of the cuts.
            points: float32 (B, P, 2), x and y in a cut's mask pixels.
            corners: int64 (B, 2), row and column of a cut's first cell within the full input.
            cells: int64 (B · P, N), of each prompt, in reading order.
        """
        decoder, encoder = self.sam.mask_decoder, self.sam.prompt_encoder
        side, prompts = embeddings.shape[-1], points.shape[1]
        points = points / MASK_PIXELS + corners.flip(1)[:, None].to(points.device)
        points = points.flatten(0, 1)[:, None] * self.settings.size.patch_size
        labels = torch.ones(len(points), 1, device=points.device)
        sparse, _ = encoder((points, labels), boxes=None, masks=None)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(points), -1, -1), sparse], dim=1)
        grid = encoder.get_dense_pe()[0]
        positions = torch.stack([grid[:, y : y + side, x : x + side] for y, x in corners.tolist()])
        images = embeddings + encoder.no_mask_embed.weight.reshape(-1, 1, 1)
        tokens, images = two_way(
            decoder.transformer,
            tokens.unflatten(0, (-1, prompts)),
            images.flatten(2).mT,
            positions.flatten(2).mT,
        )
        images = images.gather(1, cells[..., None].expand(-1, -1, images.shape[2]))  # (B · P, N, C)
        upscaled = decoder.output_upscaling(images.mT[..., None])  # (B · P, C / 8, 4 · N, 4)
        heads = zip(decoder.output_hypernetworks_mlps, tokens.unbind(1)[1:], strict=False)
        masks = torch.stack([head(token) for head, token in heads], dim=1)[:, 1:]  # the first is for one mask
        quality = decoder.iou_prediction_head(tokens[:, 0])[:, 1:]
        return (masks @ upscaled.flatten(2)).float(), quality.float()

    @cached_property
    def validation_set(self) -> list[dict[str, Tensor]]:
        """Whole photographs of BSDS500 and COCO in turns, kept from training."""
        samples = self._samples("val", 0)
        return [default_collate([samples[i]]) for i in range(self.settings.validation_samples)]

    def evaluate(self) -> dict[str, float]:
        """Return how well points find regions: mean IoU of the best of three masks, and of the chosen one."""
        figures: dict[str, list[Tensor]] = {}
        device = self.sam.pixel_mean.device
        for number, batch in enumerate(self.validation_set):
            source = ("bsds500", "coco")[number % 2]
            masks, valid = batch["masks"][0].to(device), batch["valid"][0].to(device)
            embedding = self.encode(batch["image"].to(device))
            cells = torch.arange(embedding.shape[-1] ** 2, device=device).expand(len(masks), -1)
            logits, quality = self.decode(embedding, batch["points"].to(device), batch["corner"], cells)
            weights = at_cells(valid.expand_as(masks), cells)[:, None].float()
            iou = mask_iou(logits, at_cells(masks, cells), weights)
            first = iou.gather(1, quality.argmax(dim=1, keepdim=True))[:, 0]
            figures.setdefault(f"best_iou_{source}", []).append(iou.max(dim=1).values)
            figures.setdefault(f"chosen_iou_{source}", []).append(first)
            figures.setdefault("quality_error", []).append((quality - iou).abs().flatten())
        return {name: round(torch.cat(values).mean().item(), 4) for name, values in figures.items()}

    def save(self, path: Path) -> None:
        """Write segment-anything's format in half precision."""
        save_atomically(half_precision(self.sam), path)

    def _samples(self, split: str, seed: int) -> MaskSamples:
        settings = self.settings
        return MaskSamples(
            self.root,
            side=settings.side,
            grid=settings.size.grid_size,
            prompts=settings.prompts,
            seed=seed,
            split=split,
            stamps=self.stamps,
        )


def start_sam(size: SamConfig) -> Sam:
    """Return a network with random weights whose tokens read what is at their point."""
    sam = new_sam(size)
    start_at_points(sam)
    return sam.train()


def half_precision(sam: Sam, sharpening: float = 1.0) -> dict[str, Tensor]:
    """Return a network's tensors, floating-point ones in half precision, mask logits times ``sharpening``."""
    tensors = scale_logits(sam.state_dict(), sharpening)
    return {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}


__all__ = [
    "PHOTO_MINI",
    "PhotoSamSettings",
    "PhotoSamTask",
    "build_sam",
    "half_precision",
    "start_sam",
    "train",
]
