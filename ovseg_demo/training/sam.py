"""Step 2, ``train sam``: a small Segment Anything from point prompts (Kirillov et al. 2023), class-agnostic.

Two things make a small vision transformer learn this from nothing in hours on a small machine:

* attention from tokens to pixels starts with equal query and key projections, so that a point finds its own
  place in the picture from the first step on (they share one positional encoding);
* an auxiliary loss asks of pairs of pixels of the upscaled image embedding: is this one region?

The head that predicts IoU learns on all masks from the start, and the loss drives logits apart, since the
automatic mask generator drops masks of low predicted IoU or stability.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ovseg_demo.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.sam_building import SamConfig, new_sam, read_config
from ovseg_demo.training.loop import TrainingTask, decay_groups, run_training, save_atomically
from ovseg_demo.training.options import TrainOptions
from ovseg_demo.training.presets import SamTraining, find_preset
from ovseg_demo.training.sam_prompts import PromptedScenes

_VALIDATION_SEED = 500_000
_VALIDATION_BATCH = 4
_LOCAL_ATTENTION_GAIN = 4.0
"""Of the first scores between a point and its own place; 4 makes a spot of about a tenth of the picture."""

_PAIRS_TEMPERATURE = 10.0
_PIXELS_PER_IMAGE = 384


def train(options: TrainOptions) -> Path:
    """Train; returns the weights file, in segment-anything's format."""
    preset = find_preset(options.preset).sam
    torch.manual_seed(options.seed)
    task = SamTask(preset, options.seed)
    if options.init:
        task.load_weights(options.init)
    return run_training(task, options.apply_to(preset.loop), options.folder("sam"), options.runtime())


class SamTask(TrainingTask):
    """Segment Anything's losses on points in Sticker World."""

    def __init__(self, preset: SamTraining, seed: int):
        super().__init__()
        self.preset, self.seed = preset, seed
        self.sam = new_sam(preset.size)
        initialise_for_points(self.sam)

    def load_weights(self, path: Path) -> None:
        """Start from weights of the same sizes but for the input's side, to which positions are resized."""
        tensors = read_checkpoint(path, CheckpointKind.SAM).sam()
        self.sam.load_state_dict(resize_positions(tensors, self.preset.size))

    def parameter_groups(self) -> list[dict]:
        """Everything learns; matrices decay."""
        return decay_groups(self.sam, self.preset.learning_rate, self.preset.weight_decay)

    def dataset(self) -> Dataset:
        """Prompted scenes without end."""
        return self._scenes(self.seed)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a batch of :class:`PromptedScene`, and its terms."""
        embeddings = self.encode(batch["image"])
        terms: list[dict[str, Tensor]] = []
        for number, embedding in enumerate(embeddings):
            logits, quality = self.decode(embedding, batch["points"][number])
            targets, valid = target_masks(batch["regions"][number], batch["targets"][number])
            terms.append(mask_losses(logits, quality, targets, valid))
        means = {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}
        pairs = pair_loss(self.upscale(embeddings), batch["regions"])
        loss = means["mask"] + self.preset.quality_weight * means["quality"] + self.preset.pair_weight * pairs
        # The part of the network for mask and box prompts has no say here; accelerate wants it in the loss.
        unused = sum(parameter.sum() for parameter in self.sam.prompt_encoder.parameters())
        figures = {name: value.detach() for name, value in (means | {"pairs": pairs}).items()}
        return loss + 0.0 * unused, figures

    def encode(self, images: Tensor) -> Tensor:
        """Image embeddings (B, C, g, g) of uint8 images (B, 3, S, S)."""
        pixels = (images.float() - self.sam.pixel_mean) / self.sam.pixel_std
        return self.sam.image_encoder(pixels)

    def decode(self, embedding: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (P, M, G, G) and predicted IoU (P, M) of one image's points (P, 2), in float32."""
        labels = torch.ones(len(points), 1, device=points.device)
        sparse, dense = self.sam.prompt_encoder((points[:, None], labels), boxes=None, masks=None)
        logits, quality = self.sam.mask_decoder(
            image_embeddings=embedding[None],
            image_pe=self.sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        return logits.float(), quality.float()

    def upscale(self, embeddings: Tensor) -> Tensor:
        """The image embedding at the masks' resolution, (B, C / 8, G, G), before any prompt."""
        return self.sam.mask_decoder.output_upscaling(embeddings)

    @cached_property
    def validation_set(self) -> list[dict[str, Tensor]]:
        """Batches of whole scenes of the validation split."""
        scenes = self._scenes(0, first_seed=_VALIDATION_SEED, split="validation", zoom=False)
        samples = [scenes[index] for index in range(self.preset.validation_scenes)]
        starts = range(0, len(samples), _VALIDATION_BATCH)
        return [default_collate(samples[start : start + _VALIDATION_BATCH]) for start in starts]

    def evaluate(self) -> dict[str, float]:
        """How well points find their regions; see :meth:`_figures`."""
        found = [self._figures(batch) for batch in self.validation_set]
        return {
            name: round(torch.cat([figures[name] for figures in found]).mean().item(), 4) for name in found[0]
        }

    def _figures(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        device = self.sam.pixel_mean.device
        batch = {name: value.to(device) for name, value in batch.items()}
        figures: dict[str, list[Tensor]] = {}
        for number, embedding in enumerate(self.encode(batch["image"])):
            logits, quality = self.decode(embedding, batch["points"][number])
            targets, valid = target_masks(batch["regions"][number], batch["targets"][number])
            iou = mask_iou(logits, targets, valid)  # (P, M)
            best, chosen = iou.max(dim=1).values, iou.gather(1, quality.argmax(dim=1, keepdim=True))[:, 0]
            sure, likely = ((logits > level) & valid for level in (1.0, -1.0))
            stability = sure.sum(dim=(2, 3)) / likely.sum(dim=(2, 3)).clamp(min=1)
            things = targets.sum(dim=(1, 2)) < 0.12 * valid.sum()
            values = {
                "best_of_three_iou": best,
                "best_of_three_iou_small": best[things],
                "chosen_iou": chosen,
                "recall_50": (best >= 0.5).float(),
                "recall_75": (best >= 0.75).float(),
                "quality_error": (quality - iou).abs().flatten(),
                "stability": stability.gather(1, quality.argmax(dim=1, keepdim=True))[:, 0],
            }
            for name, value in values.items():
                figures.setdefault(name, []).append(value)
        return {name: torch.cat(values) for name, values in figures.items()}

    def save(self, path: Path) -> None:
        """Write segment-anything's format in half precision."""
        save_atomically({name: tensor.half() for name, tensor in self.sam.state_dict().items()}, path)

    def _scenes(self, seed: int, **arguments) -> PromptedScenes:
        size = self.preset.size
        return PromptedScenes(
            size.image_size, 4 * size.grid_size, self.preset.prompts, seed=seed, **arguments
        )


@torch.no_grad()
def initialise_for_points(sam: torch.nn.Module) -> None:
    """Let tokens look at their own place first, and give the encoder's positions and layers a calm start."""
    encoder = sam.image_encoder
    for module in encoder.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.trunc_normal_(module.weight, std=0.02)
            torch.nn.init.zeros_(module.bias)
    _, rows, columns, width = encoder.pos_embed.shape
    encoder.pos_embed.copy_(0.2 * sine_positions(rows, columns, width))
    transformer = sam.mask_decoder.transformer
    layers = [layer.cross_attn_token_to_image for layer in transformer.layers]
    for attention in [*layers, transformer.final_attn_token_to_image]:
        weight = torch.randn_like(attention.q_proj.weight) * math.sqrt(
            _LOCAL_ATTENTION_GAIN / attention.q_proj.in_features
        )
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight.copy_(weight)
            projection.bias.zero_()


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Sines and cosines of y and x at geometric wavelengths: float32 (1, rows, columns, width)."""
    frequencies = 1000 ** (-torch.arange(width // 4) / (width // 4))
    y, x = torch.meshgrid(torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
    angles = [axis[..., None] * frequencies for axis in (y, x)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=-1)[None]


def resize_positions(tensors: dict[str, Tensor], size: SamConfig) -> dict[str, Tensor]:
    """Weights for another input side: absolute and global relative positions are interpolated."""
    old, new = read_config(tensors).grid_size, size.grid_size
    if old == new:
        return dict(tensors)
    resized = {}
    for name, tensor in tensors.items():
        if name == "image_encoder.pos_embed":
            tensor = F.interpolate(
                tensor.float().permute(0, 3, 1, 2), size=(new, new), mode="bicubic", align_corners=False
            ).permute(0, 2, 3, 1)
        elif name.endswith((".rel_pos_h", ".rel_pos_w")) and len(tensor) == 2 * old - 1:
            tensor = F.interpolate(
                tensor.float().T[None], size=2 * new - 1, mode="linear", align_corners=False
            )[0].T
        resized[name] = tensor
    return resized


def target_masks(regions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Bool masks (P, G, G) of the regions asked for, and where the picture is: bool (G, G)."""
    return regions[None] == targets[:, None, None], regions >= 0


def mask_losses(logits: Tensor, quality: Tensor, targets: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Losses of P prompts' M masks: "mask" (of the best of the M, and a little of all), "quality", and IoU.

    Dice and cross-entropy, the latter once with object and background in balance (small objects would be
    lost in the mean) and once plainly (which sharpens borders). The padding does not count.

    Args:
        logits: float (P, M, G, G).
        quality: float (P, M), the predicted IoU.
        targets: bool (P, G, G).
        valid: bool (G, G).
    """
    inside = targets[:, None].float()
    inside, outside = inside * valid, (1 - inside) * valid
    object_size, background_size = inside.sum(dim=(2, 3)), outside.sum(dim=(2, 3))  # (P, 1)
    entropy = F.binary_cross_entropy_with_logits(logits, inside.expand_as(logits), reduction="none")
    entropy_inside = (entropy * inside).sum(dim=(2, 3))
    entropy_outside = (entropy * outside).sum(dim=(2, 3))
    balanced = entropy_inside / object_size.clamp(min=1) + entropy_outside / background_size.clamp(min=1)
    plain = (entropy_inside + entropy_outside) / (object_size + background_size)
    probability = logits.sigmoid() * valid
    overlap = (probability * inside).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum(dim=(2, 3)) + object_size + 1)
    loss = dice + 0.5 * balanced + 5 * plain  # (P, M)
    with torch.no_grad():
        iou = mask_iou(logits, targets, valid)
    return {
        "mask": loss.min(dim=1).values.mean() + 0.1 * loss.mean(),
        "quality": F.mse_loss(quality.float(), iou),
        "iou": iou.max(dim=1).values.mean(),
    }


def mask_iou(logits: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """IoU (P, M) of the masks that logits (P, M, G, G) make with their targets (P, G, G)."""
    masks, wanted = (logits > 0) & valid, targets[:, None]
    union = (masks | wanted).sum(dim=(2, 3))
    return (masks & wanted).sum(dim=(2, 3)) / union.clamp(min=1)


def pair_loss(features: Tensor, regions: Tensor) -> Tensor:
    """Supervised contrastive loss between random pixels of each image: those of one region attract.

    Args:
        features: (B, D, G, G).
        regions: int64 (B, G, G), -1 on padding, which attracts and repels nothing.
    """
    batch, width, *_ = features.shape
    features, regions = features.flatten(2).mT.float(), regions.flatten(1)
    some = torch.randint(regions.shape[1], (batch, _PIXELS_PER_IMAGE), device=features.device)
    features = F.normalize(features.gather(1, some[..., None].expand(-1, -1, width)), dim=-1)
    regions = regions.gather(1, some)
    itself = torch.eye(_PIXELS_PER_IMAGE, dtype=torch.bool, device=features.device)
    nothing = itself | (regions[:, None] < 0)
    scores = (_PAIRS_TEMPERATURE * features @ features.mT).masked_fill(nothing, -1e4)
    together = (regions[:, :, None] == regions[:, None]) & ~nothing
    log_shares = scores - scores.logsumexp(dim=-1, keepdim=True)
    return -((log_shares * together).sum(dim=-1) / together.sum(dim=-1).clamp(min=1)).mean()
