"""The ViTs that :class:`.text_region.TextRegion` can read: CLIP's own, SigLIP's and PE-Core's."""

from __future__ import annotations

from typing import Literal

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.clip.towers import (
    add_positions,
    attend,
    embed_patches,
    encode_regions,
    update,
)
from ovseg_demo.runtime.devices import Runtime

ClipVariant = Literal["raw_values", "unit_values", "demo"]
"""What of the last block is summed under a mask.

"raw_values" are the values as they are, as in the published figures of OpenAI's ViTs; "unit_values" are those
values scaled to unit length; "demo" also runs the block's MLP on the sum, as the published demo does.
"""

CLIP_TILE = 336
"""Pixels along a side of a tile for CLIP's own ViTs, whatever they were trained with."""


class ClipViT:
    """Open_clip's own ViT: CLIP's by OpenAI, LAION and OVSeg.

    Args:
        visual: the tower.
        tile: pixels along a side of the square input; a multiple of the patch.
        variant: see :data:`ClipVariant`.
    """

    share_of_whole = 1.0

    def __init__(self, visual: VisionTransformer, tile: int = CLIP_TILE, variant: ClipVariant = "raw_values"):
        self._patch = visual.patch_size[0]
        self.tile = tile // self._patch * self._patch
        self._visual = visual
        self._variant = variant

    def maps(self, pixels: Tensor) -> Tensor:
        """Return the last block's values, float32 (B, C, g, g), of normalised pixels (B, 3, S, S)."""
        tokens = add_positions(self._visual, embed_patches(self._visual, pixels))
        *blocks, last = self._visual.transformer.resblocks
        for block in blocks:
            tokens = update(block, tokens, attend(block, tokens))
        weight, bias = (part.chunk(3)[2] for part in (last.attn.in_proj_weight, last.attn.in_proj_bias))
        values = F.linear(last.ln_1(tokens[:, 1:]).to(weight.dtype), weight, bias).float()
        side = pixels.shape[-1] // self._patch
        return values.mT.unflatten(2, (side, side))

    def pool(self, weights: Tensor, features: Tensor) -> Tensor:
        """Return ``proj(ln_post(out_proj(Σ weight · value)))``; the sum is not divided by the weights."""
        last = self._visual.transformer.resblocks[-1]
        if self._variant != "raw_values":
            features = F.normalize(features, dim=0)
        dtype = last.attn.out_proj.weight.dtype
        pooled = last.attn.out_proj((weights @ features.T).to(dtype)).float()
        if self._variant == "demo":
            pooled = pooled + last.mlp(last.ln_2(pooled).to(dtype)).float()
        return self._visual.ln_post(pooled) @ self._visual.proj


class WholeViT:
    """Open_clip's own ViT as a function of whole images, which computes in the precision of its weights.

    Args:
        visual: the tower.
    """

    def __init__(self, visual: VisionTransformer):
        self.visual = visual

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return the embeddings, float32 (B, D), of normalised pixels (B, 3, S, S)."""
        return encode_regions(self, None, pixels, None)


class TimmViT:
    """A ViT of timm with an attention pool: SigLIP's and PE-Core's.

    Args:
        visual: the tower.
        runtime: in whose precision it computes.
    """

    share_of_whole = 0.5

    def __init__(self, visual: TimmModel, runtime: Runtime):
        self._patch = visual.trunk.patch_embed.patch_size[0]
        self.tile = visual.image_size[0]
        self._visual = visual
        self._runtime = runtime

    def maps(self, pixels: Tensor) -> Tensor:
        """Return the normalised tokens of the patches, float32 (B, C, g, g), of pixels (B, 3, S, S)."""
        with self._runtime.autocast():
            tokens = self._visual.trunk.forward_features(pixels)
        side = pixels.shape[-1] // self._patch
        return tokens[:, -side * side :].float().mT.unflatten(2, (side, side))

    def pool(self, weights: Tensor, features: Tensor) -> Tensor:
        """Return the projected mean of the pool's values over the patches that have a weight.

        It is the attention pool with equal attention to these patches, without the pool's MLP.
        """
        trunk = self._visual.trunk
        inside = (weights > 0).float()
        means = inside @ features.T / inside.sum(dim=1, keepdim=True)
        weight, bias = (part.chunk(2)[1] for part in (trunk.attn_pool.kv.weight, trunk.attn_pool.kv.bias))
        return self._visual.head(trunk.head(trunk.attn_pool.proj(F.linear(means, weight, bias))))


def is_clip_vit(visual: torch.nn.Module) -> bool:
    """Return whether an image tower is a ViT as CLIP has it: the class token is read, by plain attention."""
    return (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and not visual.final_ln_after_pool
        and all(isinstance(block, ResidualAttentionBlock) for block in visual.transformer.resblocks)
    )


def has_attention_pool(visual: torch.nn.Module) -> bool:
    """Return whether an image tower of open_clip is a ViT of timm with an attention pool."""
    return isinstance(visual, TimmModel) and getattr(visual.trunk, "attn_pool", None) is not None
