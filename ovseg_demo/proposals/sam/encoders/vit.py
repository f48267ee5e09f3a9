"""Segment Anything's image encoder in bounded memory: on a CPU, attention a few query rows at a time.

The plain encoder holds all heads' attention maps at once, 800 MB of float32 a block at published size, and
spends more time on having that memory zeroed by the kernel than on arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from segment_anything.modeling.image_encoder import (
    Attention,
    Block,
    ImageEncoderViT,
    get_rel_pos,
    window_partition,
    window_unpartition,
)
from torch import Tensor

TOKENS_AT_ONCE = 1024
"""Tokens that pass a block's linear layers together."""

ATTENTION_WEIGHTS_AT_ONCE = 512 * 4096
"""Entries of attention maps held together; 8 MiB of float32 stay in a processor's cache."""


def encode_image(encoder: ImageEncoderViT, pixels: Tensor, after_block: Callable[[], None]) -> Tensor:
    """What ``encoder(pixels)`` returns, with a fraction of its memory.

    Args:
        encoder: with relative positions, as in all published models.
        pixels: (1, 3, S, S), normalised and padded, in the encoder's precision.
        after_block: called after every block; may raise to stop.

    Returns:
        The image embedding (1, C, S / patch, S / patch).
    """
    x = encoder.patch_embed(pixels) + encoder.pos_embed  # (1, g, g, width)
    for block in encoder.blocks:
        # An accelerator has the memory, and would lose more by starting many small kernels.
        x = _run_block(block, x) if x.device.type == "cpu" else block(x)
        after_block()
    return encoder.neck(x.permute(0, 3, 1, 2))


def _run_block(block: Block, x: Tensor) -> Tensor:
    _, height, width, channels = x.shape
    normed = block.norm1(x)
    if block.window_size:
        windows, padded_size = window_partition(normed, block.window_size)
        at_once = max(1, TOKENS_AT_ONCE // block.window_size**2)
        attended = torch.cat([_attend(block.attn, some) for some in windows.split(at_once)])
        attended = window_unpartition(attended, block.window_size, padded_size, (height, width))
    else:
        attended = _attend(block.attn, normed)
    x = (x + attended).view(-1, channels)
    for tokens in x.split(TOKENS_AT_ONCE):
        tokens += block.mlp(block.norm2(tokens))
    return x.view(1, height, width, channels)


def _attend(attention: Attention, x: Tensor) -> Tensor:
    """Multi-head attention within each of B windows (B, h, w, C), with decomposed relative positions."""
    batch, height, width, channels = x.shape
    heads = attention.num_heads
    qkv = attention.qkv(x).view(batch, height * width, 3, heads, channels // heads)
    rows_at_once = max(1, ATTENTION_WEIGHTS_AT_ONCE // (batch * height * width**2))
    towards_rows = get_rel_pos(height, height, attention.rel_pos_h)  # (h, h, d)
    towards_columns = get_rel_pos(width, width, attention.rel_pos_w)  # (w, w, d)
    out = torch.empty(batch, height, width, heads, channels // heads, dtype=x.dtype, device=x.device)
    for head in range(heads):
        q, k, v = (part.contiguous() for part in qkv[:, :, :, head].unbind(2))  # (B, h·w, d)
        for top in range(0, height, rows_at_once):
            rows = slice(top, min(top + rows_at_once, height))
            some_q = q.view(batch, height, width, -1)[:, rows]
            scores = (some_q.flatten(1, 2) * attention.scale) @ k.mT
            grid = scores.view(batch, -1, width, height, width)
            grid += torch.einsum("bhwc,hkc->bhwk", some_q, towards_rows[rows])[..., None]
            grid += torch.einsum("bhwc,wkc->bhwk", some_q, towards_columns)[..., None, :]
            out[:, rows, :, head] = (scores.softmax(dim=-1) @ v).view(batch, -1, width, v.shape[-1])
    return attention.proj(out.flatten(3))
