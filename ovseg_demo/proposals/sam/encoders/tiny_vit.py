"""MobileSAM's image encoder: TinyViT, distilled from SAM's ViT-H.

Zhang et al., Faster Segment Anything (2023), section 3; Wu et al., TinyViT (ECCV 2022).
The network is timm's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Self

import torch
from timm.models.tiny_vit import Attention, ConvLayer, MBConv, TinyVit, TinyVitBlock, TinyVitStage
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_demo.errors import CheckpointError
from ovseg_demo.proposals.sam.encoders.base import (
    EncoderConfig,
    ImageEncoder,
    InputFrame,
    fuse_norms,
    run_in_turn,
)
from ovseg_demo.proposals.sam.encoders.neck import make_neck
from ovseg_demo.proposals.sam.shapes import Shapes

IMAGE_SIZE = 1024
"""Side of MobileSAM's input in pixels. TinyViT has no position embedding, so no tensor tells it."""

STRIDE = 16
"""Pixels along a side of a cell: the last of the four stages does not downsample."""

PIXELS_AT_ONCE = 4096
"""Pixels that pass a block together on a CPU."""

_CLASSIFIER = ("norm_head.", "head.")


@dataclass(frozen=True)
class TinyVitConfig(EncoderConfig):
    """Sizes of MobileSAM's image encoder.

    Attributes:
        embed_dims, depths: width and number of blocks of each stage; the first stage's are convolutions.
        num_heads, window_sizes: of the stages that attend, the second to the last.
        conv_expansion, mlp_expansion: hidden width ÷ width in the first stage's blocks, and in the others.
        local_conv_size: side of the depthwise convolution between attention and MLP.
    """

    title = "MobileSAM's TinyViT"

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_sizes: tuple[int, ...]
    conv_expansion: float = 4.0
    mlp_expansion: float = 4.0
    local_conv_size: int = 3

    @classmethod
    def recognizes(cls, names: Collection[str]) -> bool:
        """See :meth:`.EncoderConfig.recognizes`."""
        return "patch_embed.seq.0.c.weight" in names

    @classmethod
    def read(cls, shapes: Shapes, tensors: Mapping[str, Tensor]) -> Self:
        """See :meth:`.EncoderConfig.read`."""
        stages = range(shapes.count("layers"))
        first = shapes["layers.0.blocks.0.conv1.c.weight"]
        biases = [shapes[f"layers.{stage}.blocks.0.attn.attention_biases"] for stage in stages[1:]]
        widths = [first[1], *(shapes[f"layers.{stage}.blocks.0.mlp.norm.weight"][0] for stage in stages[1:])]
        if any(isqrt(offsets) ** 2 != offsets for _, offsets in biases):
            raise CheckpointError(
                "The attention biases of this MobileSAM checkpoint belong to no square window; is it damaged?"
            )
        return cls(
            embed_dims=tuple(widths),
            depths=tuple(shapes.count(f"layers.{stage}.blocks") for stage in stages),
            num_heads=tuple(heads for heads, _ in biases),
            window_sizes=tuple(isqrt(offsets) for _, offsets in biases),
            conv_expansion=first[0] / first[1],
            mlp_expansion=shapes["layers.1.blocks.0.mlp.fc1.weight"][0] / widths[1],
            local_conv_size=shapes["layers.1.blocks.0.local_conv.c.weight"][-1],
        )

    @property
    def frame(self) -> InputFrame:
        """See :attr:`.EncoderConfig.frame`."""
        return InputFrame.of_stride(IMAGE_SIZE, STRIDE)

    def build(self, prompt_dim: int) -> TinyVitEncoder:
        """See :meth:`.EncoderConfig.build`."""
        return TinyVitEncoder(self, prompt_dim)

    def module_name(self, name: str) -> str | None:
        """See :meth:`.EncoderConfig.module_name`."""
        if name.startswith(_CLASSIFIER):
            return None
        if name.startswith("neck."):
            return name
        name = name.replace(".c.weight", ".conv.weight")
        name = name.replace("patch_embed.seq.0.", "patch_embed.conv1.")
        name = name.replace("patch_embed.seq.2.", "patch_embed.conv2.")
        name = re.sub(r"^layers\.(\d+)\.downsample\.", lambda m: f"stages.{int(m[1]) + 1}.downsample.", name)
        return "trunk." + re.sub(r"^layers\.", "stages.", name)


class TinyVitEncoder(ImageEncoder):
    """timm's TinyViT without its classifier, and SAM's neck."""

    def __init__(self, config: TinyVitConfig, prompt_dim: int):
        super().__init__()
        self.set_frame(config.frame)
        self.trunk = TinyVit(
            num_classes=0,
            embed_dims=config.embed_dims,
            depths=config.depths,
            num_heads=(1, *config.num_heads),  # the first stage has no attention
            window_sizes=(1, *config.window_sizes),
            mlp_ratio=config.mlp_expansion,
            drop_path_rate=0.0,
            mbconv_expand_ratio=config.conv_expansion,
            local_conv_size=config.local_conv_size,
        )
        del self.trunk.head
        self.trunk.stages[-1].downsample.conv2.conv.stride = (1, 1)
        self.neck = make_neck(config.embed_dims[-1], prompt_dim)
        self._is_finished = False

    def encode(self, pixels: Tensor, after_block: Callable[[], None]) -> Tensor:
        """See :meth:`.ImageEncoder.encode`."""
        # The later stages read the channels last; in this layout they need no copy of the map.
        x = self.trunk.patch_embed(pixels.contiguous(memory_format=torch.channels_last))
        stages: Iterable[Callable[[Tensor], Tensor]] = self.trunk.stages
        if x.device.type == "cpu" and self._is_finished:
            # An accelerator has the memory, and would lose more by starting many small kernels.
            stages = [partial(_run_in_stripes, stage) for stage in self.trunk.stages]
        return self.neck(run_in_turn(stages, x, after_block))

    def finish(self) -> None:
        """Index the biases by pairs of positions, and fold the batch norms into the convolutions."""
        for module in self.modules():
            if isinstance(module, Attention):
                _index_biases(module)
                # timm's bias has no batch axis, which PyTorch's fast kernels need; its general one is slower.
                module.fused_attn = False
            for name, child in module.named_children():
                if isinstance(child, nn.GELU):
                    module.add_module(name, _GeluInPlace())
        fuse_norms(self.trunk)
        self._is_finished = True


class _GeluInPlace(nn.Module):
    """GELU that is written over its input, which nothing else reads, so that wide tensors exist only once."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.aten.gelu_(x)


def _run_in_stripes(stage: ConvLayer | TinyVitStage, x: Tensor) -> Tensor:
    """Return the output (1, C', H', W') of a stage, whose blocks are computed a few rows at a time.

    The inner tensors of a block are several times as wide as its input; a stripe of them stays in a
    processor's cache.

    Args:
        stage: with its norms folded into its convolutions.
        x: (1, C, H, W).
    """
    if isinstance(stage, ConvLayer):
        for block in stage.blocks:
            x = _convolve_in_stripes(block, x)
        return x
    x = stage.downsample(x).permute(0, 2, 3, 1)
    for block in stage.blocks:
        x = _attend_in_stripes(block, x)
    return x.permute(0, 3, 1, 2)


def _convolve_in_stripes(block: MBConv, x: Tensor) -> Tensor:
    """Return the output (1, C, H, W) of a convolutional block.

    The second of its three convolutions reads one row above and one below.
    """
    height, width = x.shape[2:]
    rows = max(1, PIXELS_AT_ONCE // width)
    out = torch.empty_like(x)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        above, below = max(top - 1, 0), min(bottom + 1, height)
        hidden = block.act1(block.conv1(x[:, :, above:below]))
        beyond = (above - (top - 1), bottom + 1 - below)
        if any(beyond):  # the rows of zeros around the whole map
            hidden = F.pad(hidden, (0, 0, *beyond))
        middle = block.conv2
        hidden = F.conv2d(hidden, middle.weight, middle.bias, padding=(0, 1), groups=middle.groups)
        hidden = block.conv3(block.act2(hidden))
        out[:, :, top:bottom] = block.act3(hidden + x[:, :, top:bottom])
    return out


def _attend_in_stripes(block: TinyVitBlock, x: Tensor) -> Tensor:
    """Return the output (1, H, W, C) of an attention block.

    Attention sees a window and the MLP one pixel; only the convolution between them reads beyond a stripe.
    """
    _, height, width, channels = x.shape
    side = block.window_size
    across = -(-width // side)
    rows = max(1, PIXELS_AT_ONCE // (across * side**2)) * side
    attended = torch.empty_like(x)
    for top in range(0, height, rows):
        stripe = x[:, top : top + rows]
        attended[:, top : top + rows] = stripe + _attend_in_windows(block, stripe)
    out = block.local_conv(attended.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()
    for pixels in out.view(-1, channels).split(PIXELS_AT_ONCE):
        pixels += block.mlp(pixels)
    return out


def _attend_in_windows(block: TinyVitBlock, x: Tensor) -> Tensor:
    """Return what the attention in windows adds to x (1, H, W, C); zeros fill the windows at its edges."""
    _, height, width, channels = x.shape
    side = block.window_size
    down, across = -(-height // side), -(-width // side)
    padded = F.pad(x, (0, 0, 0, across * side - width, 0, down * side - height))
    windows = padded.view(down, side, across, side, channels).transpose(1, 2)
    updates = block.attn(windows.reshape(down * across, side**2, channels))
    updates = updates.view(down, across, side, side, channels).transpose(1, 2)
    return updates.reshape(1, down * side, across * side, channels)[:, :height, :width]


def _index_biases(attention: Attention) -> None:
    """Fill the table (w², w²) of which bias belongs to which pair of positions in a window of side w.

    Position (y, x) has index y · w + x, and the bias of two positions is that of their offset (|Δy|, |Δx|).
    The table is no part of a checkpoint, and has no values if the network was built on the meta device. timm
    gathers the biases at the first run, after the weights have been loaded, and keeps them.
    """
    size, _ = attention.resolution
    axis = torch.arange(size, device=attention.attention_biases.device)
    offsets = (axis[:, None] - axis).abs()  # (w, w)
    table = offsets[:, None, :, None] * size + offsets[None, :, None, :]  # (y, x, y', x')
    attention.attention_bias_idxs = table.reshape(size**2, size**2)
