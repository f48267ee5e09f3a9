"""Initial weights of a small Segment Anything."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from segment_anything.modeling import ImageEncoderViT, Sam, TwoWayTransformer
from torch import Tensor

from ovseg_demo.errors import CheckpointError
from ovseg_demo.proposals.sam.building import SamConfig, read_config

_LOCAL_ATTENTION_GAIN = 4.0
"""Factor of the first attention scores of a point; 4 attends to about a tenth of the image around it."""


@torch.no_grad()
def initialise_for_points(sam: Sam) -> None:
    """Initialise attention so that tokens attend to their own place, and the encoder with small weights."""
    encoder = sam.image_encoder
    for module in encoder.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.trunc_normal_(module.weight, std=0.02)
            torch.nn.init.zeros_(module.bias)
    _, rows, columns, width = encoder.pos_embed.shape
    encoder.pos_embed.copy_(0.2 * sine_positions(rows, columns, width))
    attend_locally(sam.mask_decoder.transformer)


@torch.no_grad()
def attend_locally(transformer: TwoWayTransformer) -> None:
    """Let tokens look at their own place first: equal query and key projections, which share positions."""
    layers = [layer.cross_attn_token_to_image for layer in transformer.layers]
    for attention in [*layers, transformer.final_attn_token_to_image]:
        weight = torch.randn_like(attention.q_proj.weight) * math.sqrt(
            _LOCAL_ATTENTION_GAIN / attention.q_proj.in_features
        )
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight.copy_(weight)
            projection.bias.zero_()


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return sines and cosines of y and x at geometric wavelengths: float32 (1, rows, columns, width)."""
    frequencies = 1000 ** (-torch.arange(width // 4) / (width // 4))
    y, x = torch.meshgrid(torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
    angles = [axis[..., None] * frequencies for axis in (y, x)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=-1)[None]


def resize_positions(tensors: dict[str, Tensor], size: SamConfig) -> dict[str, Tensor]:
    """Return weights for another side of the input, with absolute and global relative positions resampled."""
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


def fused_attention(attention: torch.nn.Module, cells: Tensor) -> Tensor:
    """Apply segment-anything's global attention without relative positions, which stay at zero: (B, g, g, C).

    Relative positions would need the whole score matrix; absolute positions remain.

    Args:
        attention: module with the weights.
        cells: (B, g, g, C).
    """
    batch, rows, columns, width = cells.shape
    qkv = attention.qkv(cells).reshape(batch, rows * columns, 3, attention.num_heads, -1)
    query, key, value = qkv.permute(2, 0, 3, 1, 4)
    found = F.scaled_dot_product_attention(query, key, value)
    return attention.proj(found.transpose(1, 2).reshape(batch, rows, columns, width))


@torch.no_grad()
def adopt_clip(encoder: ImageEncoderViT, clip: CLIP) -> None:
    """Copy the blocks of a CLIP image tower of the same width, depth and patch size to an image encoder.

    The encoder has no layer norm before the first block as CLIP has; the patch weights are scaled instead.

    Raises:
        CheckpointError: the tower has another width, depth or patch size.
    """
    visual = clip.visual
    towers = (
        (visual.conv1.weight, visual.transformer.resblocks),
        (encoder.patch_embed.proj.weight, encoder.blocks),
    )
    found, wanted = (
        f"{len(blocks)} layers of {len(patch)} channels for patches of {patch.shape[-1]} pixels"
        for patch, blocks in towers
    )
    if found != wanted:
        raise CheckpointError(
            f"The image tower of the CLIP has {found}, the image encoder {wanted}; give --clip the CLIP of "
            "the same preset."
        )
    scale = visual.ln_pre.weight.abs().mean() / visual.conv1.weight.flatten(1).norm(dim=1).mean()
    encoder.patch_embed.proj.weight.copy_(scale * visual.conv1.weight)
    for block, source in zip(encoder.blocks, visual.transformer.resblocks, strict=True):
        adopted = _block_of_clip(source.state_dict())
        block.load_state_dict(block.state_dict() | adopted)


def _block_of_clip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    names = {
        "ln_1.": "norm1.",
        "ln_2.": "norm2.",
        "attn.in_proj_": "attn.qkv.",
        "attn.out_proj.": "attn.proj.",
        "mlp.c_fc.": "mlp.lin1.",
        "mlp.c_proj.": "mlp.lin2.",
    }
    return {
        new + name.removeprefix(old): tensor
        for name, tensor in tensors.items()
        for old, new in names.items()
        if name.startswith(old)
    }
