"""The two-way transformer of Segment Anything for many prompts on a few images, to be trained.

The same function of the same weights as segment-anything's ``TwoWayTransformer`` of one layer, with what all
prompts of an image share computed once, and with the projections of pixels folded into the few tokens
(:mod:`ovseg_demo.proposals.sam.attention` explains the algebra).

Shapes: B images, n prompts an image, T tokens a prompt, P pixels, C channels, H heads, d channels a head.
"""

from __future__ import annotations

import torch.nn.functional as F
from segment_anything.modeling import TwoWayTransformer
from segment_anything.modeling.transformer import Attention
from torch import Tensor

from ovseg_demo.errors import ModelError


def two_way(
    transformer: TwoWayTransformer, tokens: Tensor, images: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the transformer.

    Args:
        transformer: of one layer.
        tokens: (B, n, T, C), output tokens and prompts; they are their own positions.
        images: (B, P, C).
        positions: (B, P, C).

    Returns:
        Tokens (B · n, T, C) and pixels (B · n, P, C).

    Raises:
        ModelError: the transformer has several layers.
    """
    if len(transformer.layers) != 1:
        raise ModelError(f"This training needs a mask decoder of one layer, not {len(transformer.layers)}.")
    layer = transformer.layers[0]
    prompts = tokens.shape[1]
    places = tokens.flatten(0, 1)  # (B · n, T, C)
    placed = images + positions
    x = layer.norm1(layer.self_attn(q=places, k=places, v=places))
    x = layer.norm2(x + _read_image(layer.cross_attn_token_to_image, x + places, placed, images, prompts))
    x = layer.norm3(x + layer.mlp(x))
    pixels = images.repeat_interleave(prompts, dim=0)
    pixels = pixels + _read_tokens(layer.cross_attn_image_to_token, placed, x + places, x)
    pixels = layer.norm4(pixels)
    x = x + _read_pixels(
        transformer.final_attn_token_to_image, x + places, pixels, positions.repeat_interleave(prompts, dim=0)
    )
    return transformer.norm_final_attn(x), pixels


def _read_image(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor, prompts: int) -> Tensor:
    """Return what tokens (B · n, T, C) read from pixels (B, P, C) that all prompts of an image share."""
    heads = attention.num_heads
    q = attention.q_proj(queries).unflatten(0, (-1, prompts)).flatten(1, 2)  # (B, n · T, H · d)
    parts = (_heads(x, heads) for x in (q, attention.k_proj(keys), attention.v_proj(values)))
    found = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
    return attention.out_proj(found).view_as(queries)


def _read_tokens(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return what pixels (B, P, C), shared by all prompts of an image, read from tokens (B · n, T, C).

    The result is (B · n, P, C).
    """
    heads, prompts = attention.num_heads, len(keys) // len(queries)
    q = _heads(attention.q_proj(queries), heads)  # (B, H, P, d)
    k = _heads(attention.k_proj(keys), heads).unflatten(0, (-1, prompts)).transpose(1, 2)  # (B, H, n, T, d)
    scores = (k.flatten(2, 3) @ q.mT) * q.shape[-1] ** -0.5  # (B, H, n · T, P)
    weights = scores.unflatten(2, (prompts, -1)).softmax(dim=3)  # over T
    weights = weights.permute(0, 2, 1, 3, 4).flatten(2, 3).flatten(0, 1)  # (B · n, H · T, P)
    out = attention.out_proj.weight.T.unflatten(0, (heads, -1))  # (H, d, C)
    v = _heads(attention.v_proj(values), heads) @ out + attention.out_proj.bias / heads  # (B · n, H, T, C)
    return weights.mT @ v.flatten(1, 2)


def _read_pixels(attention: Attention, queries: Tensor, pixels: Tensor, positions: Tensor) -> Tensor:
    """Return what tokens (B · n, T, C) read from pixels (B · n, P, C) of their own prompt."""
    heads = attention.num_heads
    q = _heads(attention.q_proj(queries), heads)  # (B · n, H, T, d)
    key = attention.k_proj.weight.unflatten(
        0, (heads, -1)
    )  # (H, d, C); its bias moves no softmax over pixels
    folded = (q * q.shape[-1] ** -0.5) @ key  # (B · n, H, T, C)
    weights = (folded.flatten(1, 2) @ (pixels + positions).mT).softmax(dim=-1)  # (B · n, H · T, P)
    seen = (weights @ pixels).view_as(folded)
    value = attention.v_proj.weight.unflatten(0, (heads, -1))  # (H, d, C)
    found = (seen @ value.mT).transpose(1, 2).flatten(2) + attention.v_proj.bias
    return attention.out_proj(found)


def _heads(x: Tensor, heads: int) -> Tensor:
    """Return (B, L, H · d) as (B, H, L, d)."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)
