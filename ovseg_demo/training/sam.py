"""The stage "sam": train a small Segment Anything (Kirillov et al. 2023) from point prompts, without classes.

Five choices let a small vision transformer train from random weights within hours on a small machine:

* Attention from tokens to pixels starts with equal query and key projections, so that a point attends to its
  own place in the image from the first step (tokens and pixels share one positional encoding).
* An auxiliary loss on pairs of pixels of the upscaled image embedding separates regions.
* The image encoder may start from CLIP's image tower (``--clip``).
* It trains on crops first and on whole images at the end, and masks are compared on some cells only.
* Muon trains the matrices.

The automatic mask generator drops masks of low predicted IoU or stability, so the head that predicts IoU is
trained on all masks, and the mask loss includes plain cross-entropy, which drives logits apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.sam.building import new_sam
from ovseg_demo.runtime.tensors import check_names_and_shapes
from ovseg_demo.training.clip_weights import load_clip
from ovseg_demo.training.files import save_atomically
from ovseg_demo.training.loop import run_training
from ovseg_demo.training.optimizers import decay_groups
from ovseg_demo.training.options import SamOptions
from ovseg_demo.training.pair_loss import pair_loss
from ovseg_demo.training.presets import find_settings
from ovseg_demo.training.presets.types import SamTraining
from ovseg_demo.training.records import SCENES_PER_SEED
from ovseg_demo.training.sam_losses import mask_iou, mask_losses
from ovseg_demo.training.sam_samples import (
    MASK_PIXELS,
    at_cells,
    choose_cells,
    choose_points,
    cut_parts,
    target_masks,
)
from ovseg_demo.training.sam_scenes import RegionScenes
from ovseg_demo.training.sam_start import (
    adopt_clip,
    fused_attention,
    initialise_for_points,
    resize_positions,
)
from ovseg_demo.training.task import TrainingTask

_VALIDATION_SEED = 500_000
_VALIDATION_BATCH = 4
_VALIDATION_POINTS = 16
_SHARPENING = 3.0
"""Factor of the mask logits in the weights file, removed again when training starts from the file.

The masks are the logits' signs, so they stay. Their stability scores, which are low after a short training,
rise above the threshold of the automatic mask generator."""


def train(options: SamOptions) -> Path:
    """Train Segment Anything; returns the weights file, in segment-anything's format.

    All weights start from ``options.init`` if given; else the image encoder starts from ``options.clip``.
    """
    preset = find_settings(options.preset, "sam")
    torch.manual_seed(options.seed)
    task = SamTask(preset, options.seed)
    if options.init:
        task.load_weights(options.init)
    elif options.clip:
        adopt_clip(task.sam.image_encoder, load_clip(options.clip)[0])
    loop = options.apply_to(preset.loop)
    return run_training(task, loop, options.folder, options.runtime(), options.choices())


class SamTask(TrainingTask):
    """Segment Anything's losses on points in Sticker World."""

    def __init__(self, preset: SamTraining, seed: int):
        super().__init__()
        self.preset, self.seed = preset, seed
        self.sam = new_sam(preset.size)
        self.whole = False
        initialise_for_points(self.sam)
        for block in self.global_blocks:
            block.attn.forward = partial(fused_attention, block.attn)

    @property
    def global_blocks(self) -> list[torch.nn.Module]:
        """The encoder's blocks with global attention."""
        return [block for block in self.sam.image_encoder.blocks if block.window_size == 0]

    @torch.no_grad()
    def load_weights(self, path: Path) -> None:
        """Load weights of the same sizes; positions are resized if the input's side differs."""
        tensors = scale_logits(read_checkpoint(path, CheckpointKind.SAM).sam(), 1 / _SHARPENING)
        resized = resize_positions(tensors, self.preset.size)
        check_names_and_shapes(self.sam.state_dict(), resized, "the Segment Anything of this preset")
        self.sam.load_state_dict(resized)
        for block in self.global_blocks:  # fused attention has no relative positions
            block.attn.rel_pos_h.zero_()
            block.attn.rel_pos_w.zero_()

    def parameter_groups(self) -> list[dict]:
        """Return the groups of all parameters; weight decay applies to matrices."""
        preset, decoder = self.preset, self.sam.mask_decoder
        heads = [*decoder.output_hypernetworks_mlps.modules(), *decoder.iou_prediction_head.modules()]
        return decay_groups(
            self.sam,
            preset.learning_rate,
            preset.weight_decay,
            muon_lr=preset.muon_learning_rate,
            muon_without=heads,
        )

    def dataset(self) -> Dataset:
        """Return an endless stream of scenes."""
        return self._scenes(self.seed, first_seed=self.seed * SCENES_PER_SEED)

    def before_step(self, progress: float) -> None:
        """Train on crops first, and on whole images at the end."""
        self.whole = progress >= self.preset.whole_from

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch of :class:`RegionScene`, and its terms."""
        preset = self.preset
        images, regions = batch["image"], batch["regions"]
        corners = torch.zeros(len(images), 2, dtype=torch.long)
        if not self.whole:
            images, regions, corners = cut_parts(images, regions, preset.parts, preset.part_cells)
        embeddings = self.encode(images, corners)
        samples = zip(embeddings, regions, corners, strict=True)
        terms = [self.prompt_losses(embedding, labels, corner) for embedding, labels, corner in samples]
        means = {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}
        pairs = pair_loss(self.upscale(embeddings), regions)
        loss = means["mask"] + preset.quality_weight * means["quality"] + preset.pair_weight * pairs
        # The loss does not depend on the mask and box prompts; accelerate requires all parameters in it.
        unused = sum(parameter.sum() for parameter in self.sam.parameters())
        figures = {name: value.detach() for name, value in (means | {"pairs": pairs}).items()}
        return loss + 0.0 * unused, figures

    def prompt_losses(self, embedding: Tensor, regions: Tensor, corner: Tensor) -> dict[str, Tensor]:
        """Return the losses of random points of one image or crop; see :func:`mask_losses`."""
        points, targets = choose_points(regions, self.preset.prompts)
        masks, valid = target_masks(regions, targets)
        cells, weights = choose_cells(masks, self.preset.cells)
        points = (points / MASK_PIXELS + corner.flip(0).to(points.device)) * self.preset.size.patch_size
        logits, quality = self.decode_cells(embedding, points, corner, cells)
        weights = at_cells(valid.expand_as(masks), cells) * weights.repeat_interleave(MASK_PIXELS**2, dim=1)
        return mask_losses(logits, quality, at_cells(masks, cells), weights)

    def encode(self, images: Tensor, corners: Tensor) -> Tensor:
        """Return image embeddings (B, C, c, c) of images, or of crops that begin at a cell.

        Args:
            images: uint8 (B, 3, s, s).
            corners: int64 (B, 2), row and column of the first cell.
        """
        encoder = self.sam.image_encoder
        cells = encoder.patch_embed((images.float() - self.sam.pixel_mean) / self.sam.pixel_std)
        cells = cells + _parts_of(encoder.pos_embed[0], corners, cells.shape[1])
        for block in encoder.blocks:
            cells = block(cells)
        return encoder.neck(cells.permute(0, 3, 1, 2))

    def decode_cells(
        self, embedding: Tensor, points: Tensor, corner: Tensor, cells: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the mask decoder's outputs on some cells of the image embedding only.

        After the transformer, a cell's 4×4 mask pixels depend on that cell alone, so the chosen cells are
        upscaled like an image one cell wide.

        Args:
            embedding: (C, c, c), of one image or crop.
            points: float32 (P, 2), in pixels of the whole input.
            corner: int64 (2,), row and column of its first cell.
            cells: int64 (P, N), of each prompt, in reading order.

        Returns:
            Mask logits (P, M, 16 · N), sixteen for each cell, and predicted IoU (P, M), in float32.
        """
        decoder, encoder = self.sam.mask_decoder, self.sam.prompt_encoder
        side, count = embedding.shape[-1], len(points)
        labels = torch.ones(count, 1, device=points.device)
        sparse, _ = encoder((points[:, None], labels), boxes=None, masks=None)
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(count, -1, -1), sparse], dim=1)
        positions = _parts_of(encoder.get_dense_pe()[0].permute(1, 2, 0), corner[None], side)
        image = embedding + encoder.no_mask_embed.weight.reshape(-1, 1, 1)
        tokens, image = decoder.transformer(
            image.expand(count, -1, -1, -1),
            positions.permute(0, 3, 1, 2).expand(count, -1, -1, -1),
            tokens,
        )
        image = image.gather(1, cells[..., None].expand(-1, -1, image.shape[2]))  # (P, N, C)
        upscaled = decoder.output_upscaling(image.mT[..., None])  # (P, C / 8, 4 · N, 4)
        heads = zip(decoder.output_hypernetworks_mlps, tokens.unbind(1)[1:], strict=False)
        masks = torch.stack([head(token) for head, token in heads], dim=1)[:, 1:]  # without the single mask
        quality = decoder.iou_prediction_head(tokens[:, 0])[:, 1:]
        return (masks @ upscaled.flatten(2)).float(), quality.float()

    def upscale(self, embeddings: Tensor) -> Tensor:
        """Return the image embedding at the masks' resolution, (B, C / 8, G, G), before any prompt."""
        return self.sam.mask_decoder.output_upscaling(embeddings)

    @cached_property
    def validation_set(self) -> list[dict[str, Tensor]]:
        """Batches of whole scenes of the validation split."""
        scenes = self._scenes(0, first_seed=_VALIDATION_SEED, split="validation", zoom=False)
        samples = [scenes[index] for index in range(self.preset.validation_scenes)]
        starts = range(0, len(samples), _VALIDATION_BATCH)
        return [default_collate(samples[start : start + _VALIDATION_BATCH]) for start in starts]

    def evaluate(self) -> dict[str, float]:
        """Return the means of the figures of points in validation scenes; see :func:`mask_figures`."""
        random = torch.Generator().manual_seed(0)
        found = [
            figures
            for batch in self.validation_set
            for figures in self._figures(batch["image"], batch["regions"], random)
        ]
        return {
            name: round(torch.cat([figures[name] for figures in found]).mean().item(), 4) for name in found[0]
        }

    def _figures(
        self, images: Tensor, regions: Tensor, random: torch.Generator
    ) -> Iterator[dict[str, Tensor]]:
        device, size = self.sam.pixel_mean.device, self.preset.size
        corner = torch.zeros(2, dtype=torch.long)
        every = torch.arange(size.grid_size**2).expand(_VALIDATION_POINTS, -1)
        embeddings = self.encode(images.to(device), corner.expand(len(images), -1))
        for embedding, labels in zip(embeddings, regions, strict=True):
            points, targets = choose_points(labels, _VALIDATION_POINTS, random)
            points = points * size.patch_size / MASK_PIXELS
            logits, quality = self.decode_cells(embedding, points.to(device), corner, every.to(device))
            yield mask_figures(logits.cpu(), quality.cpu(), *target_masks(labels, targets))

    def save(self, path: Path) -> None:
        """Write segment-anything's format in half precision, with scaled mask logits."""
        tensors = scale_logits(self.sam.state_dict(), _SHARPENING)
        save_atomically({name: tensor.half() for name, tensor in tensors.items()}, path)

    def _scenes(self, seed: int, **arguments) -> RegionScenes:
        size = self.preset.size
        return RegionScenes(size.image_size, MASK_PIXELS * size.grid_size, seed=seed, **arguments)


def scale_logits(sam: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    """Return a network's tensors; the last layers of the mask logits are multiplied by ``factor``."""
    layers = [name.split(".")[4] for name in sam if "output_hypernetworks_mlps.0." in name]
    last = f".layers.{max(layers, key=int)}."
    return {
        name: tensor * factor if "output_hypernetworks_mlps" in name and last in name else tensor
        for name, tensor in sam.items()
    }


def _parts_of(grid: Tensor, corners: Tensor, side: int) -> Tensor:
    """Return crops (B, side, side, C) of a grid (g, g, C)."""
    return torch.stack([grid[row : row + side, column : column + side] for row, column in corners.tolist()])


def mask_figures(logits: Tensor, quality: Tensor, targets: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Return figures of each of P prompts, from logits (P, M, 16 · g²) cell by cell and masks (P, G, G)."""
    cells = torch.arange(valid.numel() // MASK_PIXELS**2).expand(len(targets), -1)
    targets, valid = at_cells(targets, cells), at_cells(valid.expand_as(targets), cells)
    iou = mask_iou(logits, targets, valid[:, None].float())  # (P, M)
    best, first = iou.max(dim=1).values, quality.argmax(dim=1, keepdim=True)
    sure, likely = ((logits > level) & valid[:, None] for level in (1.0, -1.0))
    stability = sure.sum(dim=2) / likely.sum(dim=2).clamp(min=1)
    small = targets.sum(dim=1) < 0.12 * valid.sum(dim=1)
    return {
        "best_of_three_iou": best,
        "best_of_three_iou_small": best[small],
        "chosen_iou": iou.gather(1, first)[:, 0],
        "recall_50": (best >= 0.5).float(),
        "recall_75": (best >= 0.75).float(),
        "quality_error": (quality - iou).abs().flatten(),
        "stability": stability.gather(1, first)[:, 0],
    }
