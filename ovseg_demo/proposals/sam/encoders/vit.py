"""SAM's own image encoder, a vision transformer, for inference in bounded memory.

The published code holds the attention maps of all heads at once: 800 MB of float32 a block at published size.
Allocating them takes longer than the arithmetic. Here a CPU computes a few query rows at a time.
Architecture: Kirillov et al., Segment Anything (ICCV 2023), section 3; Li et al., ViTDet (ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from segment_anything.modeling.image_encoder import (
    Attention,
    Block,
    ImageEncoderViT,
    get_rel_pos,
    window_partition,
    window_unpartition,
)
from torch import Tensor, nn

from ovseg_demo.errors import CheckpointError
from ovseg_demo.proposals.sam.encoders.base import EncoderConfig, ImageEncoder, InputFrame
from ovseg_demo.proposals.sam.shapes import Shapes

TOKENS_AT_ONCE = 1024
"""Tokens that pass a block's linear layers together."""

ATTENTION_WEIGHTS_AT_ONCE = 512 * 4096
"""Entries of attention maps held together; 8 MiB of float32 stay in a processor's cache."""


@dataclass(frozen=True)
class VitConfig(EncoderConfig):
    """Sizes of SAM's own image encoder.

    Attributes:
        image_size: side of the square input in pixels; a multiple of ``patch_size``.
        patch_size: side of a patch; the image embedding has ``image_size / patch_size`` cells a side.
        embed_dim, depth, num_heads, mlp_dim: width, blocks, heads and hidden width.
        window_size: side of the attention windows in cells; 0 if every block attends globally.
        global_attention: indexes of the blocks that attend globally.
        qkv_bias: whether the query, key and value projections have a bias.
    """

    title = "SAM's ViT"

    image_size: int
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    window_size: int
    global_attention: tuple[int, ...]
    qkv_bias: bool = True

    @classmethod
    def recognizes(cls, names: Collection[str]) -> bool:
        """See :meth:`.EncoderConfig.recognizes`."""
        return "pos_embed" in names or "patch_embed.proj.weight" in names

    @classmethod
    def read(cls, shapes: Shapes, tensors: Mapping[str, Tensor]) -> Self:
        """See :meth:`.EncoderConfig.read`."""
        embed_dim, _, patch_size, _ = shapes["patch_embed.proj.weight"]
        grid_size = shapes["pos_embed"][1]
        spans = [_attention_span(shapes, block) for block in range(shapes.count("blocks"))]
        windows = {span for span in spans if span != grid_size}
        if len(windows) > 1:
            raise CheckpointError(
                f"This SAM checkpoint mixes attention windows of {sorted(windows)} cells; one size was "
                "expected."
            )
        return cls(
            image_size=grid_size * patch_size,
            patch_size=patch_size,
            embed_dim=embed_dim,
            depth=len(spans),
            num_heads=embed_dim // shapes["blocks.0.attn.rel_pos_h"][1],
            mlp_dim=shapes["blocks.0.mlp.lin1.weight"][0],
            window_size=max(windows, default=0),
            global_attention=tuple(block for block, span in enumerate(spans) if span == grid_size),
            qkv_bias="blocks.0.attn.qkv.bias" in shapes,
        )

    @property
    def frame(self) -> InputFrame:
        """See :attr:`.EncoderConfig.frame`."""
        return InputFrame.of_stride(self.image_size, self.patch_size)

    def build(self, prompt_dim: int) -> VitEncoder:
        """See :meth:`.EncoderConfig.build`."""
        return VitEncoder(self, prompt_dim)


class VitEncoder(ImageEncoderViT, ImageEncoder):
    """segment-anything's image encoder; :meth:`encode` computes what ``forward`` does, in less memory."""

    def __init__(self, config: VitConfig, prompt_dim: int):
        super().__init__(
            img_size=config.image_size,
            patch_size=config.patch_size,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_ratio=(config.mlp_dim + 0.5) / config.embed_dim,  # the constructor truncates ratio × width
            out_chans=prompt_dim,
            qkv_bias=config.qkv_bias,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=config.window_size,
            global_attn_indexes=config.global_attention,
        )
        self.set_frame(config.frame)

    def encode(self, pixels: Tensor, after_block: Callable[[], None]) -> Tensor:
        """See :meth:`.ImageEncoder.encode`. On a CPU it works in place: not for training."""
        x = self.patch_embed(pixels) + self.pos_embed  # (1, g, g, width)
        for block in self.blocks:
            # An accelerator has the memory, and would lose more by starting many small kernels.
            x = _run_block(block, x) if x.device.type == "cpu" else block(x)
            after_block()
        return self.neck(x.permute(0, 3, 1, 2))

    def initialize(self) -> None:
        """See :meth:`.ImageEncoder.initialize`."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)


def _attention_span(shapes: Shapes, block: int) -> int:
    # A block's relative positions run from -(span - 1) to span - 1, for windows as for the whole grid. A
    # window as large as the grid is the grid.
    return (shapes[f"blocks.{block}.attn.rel_pos_h"][0] + 1) // 2


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
    """Return multi-head attention within B windows (B, h, w, C), with decomposed relative positions."""
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
