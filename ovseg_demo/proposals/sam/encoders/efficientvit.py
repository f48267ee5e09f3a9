"""EfficientViT-SAM's image encoder: convolutions and linear attention, distilled from SAM's ViT-H.

Zhang et al., EfficientViT-SAM (2024), section 3; Cai et al., EfficientViT (ICCV 2023), section 3. The modules
have the names of the published files (L0 to L2 and XL0, XL1), so that tensors need no renaming.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ovseg_demo.errors import CheckpointError
from ovseg_demo.proposals.sam.encoders.base import (
    EncoderConfig,
    ImageEncoder,
    InputFrame,
    fuse_norms,
    run_in_turn,
)
from ovseg_demo.proposals.sam.shapes import Shapes

GRID_SIZE = 64
"""Cells along a side of the embedding: those of the first of the three maps that the neck adds up."""

PROMPT_SIZE = 1024
"""Side of the square in which prompts live, whatever number of pixels the encoder reads."""

HEAD_DIM = 32
"""Width of an attention head; no tensor tells it."""

NORM_EPS = 1e-6

_DEEPEST = 3
"""Stages whose maps the neck adds up, counted from the last."""


@dataclass(frozen=True)
class StageConfig:
    """Sizes of one stage.

    Attributes:
        kind: of the blocks after the first: "conv" (two 3 × 3 convolutions), "fused" (3 × 3, 1 × 1), "mobile"
            (1 × 1, depthwise, 1 × 1) or "attention" (linear attention, then a mobile block).
        width, depth: channels, and blocks after the first.
        first_expansion, expansion: hidden width ÷ input width of the first block and of the others.
        kernel_size: of the depthwise convolution that makes the attention's second set of heads.
    """

    kind: str
    width: int
    depth: int
    first_expansion: int = 1
    expansion: int = 1
    kernel_size: int = 5


@dataclass(frozen=True)
class EfficientVitConfig(EncoderConfig):
    """Sizes of EfficientViT-SAM's image encoder.

    Attributes:
        stages: five in the L models, which read 512 pixels, and six in the XL models, which read 1024.
        neck_depth, neck_expansion: blocks of the neck, and their hidden width ÷ width.
    """

    title = "EfficientViT-SAM's EfficientViT"
    decoder_norm_eps = 1e-6

    stages: tuple[StageConfig, ...]
    neck_depth: int
    neck_expansion: int = 1

    @classmethod
    def recognizes(cls, names: Collection[str]) -> bool:
        """See :meth:`.EncoderConfig.recognizes`."""
        return "backbone.stages.0.op_list.0.conv.weight" in names

    @classmethod
    def read(cls, shapes: Shapes, tensors: Mapping[str, Tensor]) -> Self:
        """See :meth:`.EncoderConfig.read`."""
        stages: list[StageConfig] = []
        for index in range(shapes.count("backbone.stages")):
            stages.append(_read_stage(shapes, f"backbone.stages.{index}.op_list", stages))
        if len(stages) < _DEEPEST:
            raise CheckpointError("This EfficientViT-SAM checkpoint has too few stages; is the file whole?")
        hidden, width = shapes["neck.middle.op_list.0.main.spatial_conv.conv.weight"][:2]
        return cls(tuple(stages), shapes.count("neck.middle.op_list"), hidden // width)

    @property
    def frame(self) -> InputFrame:
        """See :attr:`.EncoderConfig.frame`."""
        # Each stage halves the map; the first of the last three has the embedding's cells.
        image_size = GRID_SIZE * 2 ** (len(self.stages) - _DEEPEST + 1)
        return InputFrame(image_size, GRID_SIZE, PROMPT_SIZE)

    def build(self, prompt_dim: int) -> EfficientVitEncoder:
        """See :meth:`.EncoderConfig.build`."""
        return EfficientVitEncoder(self, prompt_dim)


class EfficientVitEncoder(ImageEncoder):
    """Backbone, neck and a last norm."""

    def __init__(self, config: EfficientVitConfig, prompt_dim: int):
        super().__init__()
        self.set_frame(config.frame)
        self.backbone = nn.Module()
        self.backbone.stages = _make_stages(config.stages)
        deepest = [stage.width for stage in config.stages[-_DEEPEST:]][::-1]
        self.neck = _Neck(deepest, prompt_dim, config)
        self.norm = LayerNorm2d(prompt_dim)  # over the channels, epsilon 1e-6

    def encode(self, pixels: Tensor, after_block: Callable[[], None]) -> Tensor:
        """See :meth:`.ImageEncoder.encode`."""
        x, maps = pixels, []
        for stage in self.backbone.stages:
            x = run_in_turn(stage.op_list, x, after_block)
            maps.append(x)
        return self.norm(self.neck(maps[: -_DEEPEST - 1 : -1], after_block))

    def finish(self) -> None:
        """Fold the batch norms into convolutions."""
        fuse_norms(self)


def _read_stage(shapes: Shapes, blocks: str, before: list[StageConfig]) -> StageConfig:
    depth = shapes.count(blocks) - 1
    if not before:
        return StageConfig("conv", shapes[f"{blocks}.0.conv.weight"][0], depth)
    inner = {"fused": "spatial_conv", "mobile": "inverted_conv"}
    first = "fused" if f"{blocks}.0.main.spatial_conv.conv.weight" in shapes else "mobile"
    width = shapes[f"{blocks}.0.main.point_conv.conv.weight"][0]
    first_hidden = shapes[f"{blocks}.0.main.{inner[first]}.conv.weight"][0]
    kind, hidden, kernel_size = first, width, 5
    aggregation = f"{blocks}.1.context_module.main.aggreg.0.0.weight"
    if aggregation in shapes:
        kind, kernel_size = "attention", shapes[aggregation][-1]
        hidden = shapes[f"{blocks}.1.local_module.main.inverted_conv.conv.weight"][0]
    elif depth:
        hidden = shapes[f"{blocks}.1.main.{inner[kind]}.conv.weight"][0]
    return StageConfig(kind, width, depth, first_hidden // before[-1].width, hidden // width, kernel_size)


def _make_stages(stages: Iterable[StageConfig]) -> nn.ModuleList:
    made, width = nn.ModuleList(), 3
    for stage in stages:
        first: nn.Module
        if stage.kind == "conv":
            first = _ActivatedConv(width, stage.width)
        else:
            block = _FusedBlock if stage.kind == "fused" else _MobileBlock
            first = _Block(block(width, stage.width, stage.first_expansion, stride=2))
        made.append(_OpList([first, *(_make_block(stage) for _ in range(stage.depth))]))
        width = stage.width
    return made


def _make_block(stage: StageConfig) -> nn.Module:
    if stage.kind == "conv":
        return _Residual(_ConvBlock(stage.width))
    if stage.kind == "fused":
        return _Residual(_FusedBlock(stage.width, stage.width, stage.expansion))
    if stage.kind == "mobile":
        return _Residual(_MobileBlock(stage.width, stage.width, stage.expansion))
    return _AttentionBlock(stage)


# ---- parts; the names of their attributes are those of the published files


class _OpList(nn.Module):
    def __init__(self, blocks: Iterable[nn.Module]):
        super().__init__()
        self.op_list = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        return self.op_list(x)


class _Block(nn.Module):
    def __init__(self, main: nn.Module):
        super().__init__()
        self.main = main

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x)


class _Residual(_Block):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class _ConvNorm(nn.Module):
    """A convolution without bias, and a batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 1, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))

    def fuse(self) -> nn.Module:
        """Return the single convolution that this equals in evaluation mode."""
        return fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())


class _ActivatedConv(_ConvNorm):
    """The first convolution, which halves the image."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return _gelu(super().forward(x))

    def fuse(self) -> nn.Module:
        return nn.Sequential(super().fuse(), nn.GELU("tanh"))


class _Conv(nn.Module):
    """A convolution, with a bias unless it is said otherwise, and no norm."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, padding, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _ConvBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv1 = _ConvNorm(width, width, 3)
        self.conv2 = _ConvNorm(width, width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(_gelu(self.conv1(x)))


class _FusedBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int = 1):
        super().__init__()
        self.spatial_conv = _ConvNorm(inputs, inputs * expansion, 3, stride)
        self.point_conv = _ConvNorm(inputs * expansion, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(_gelu(self.spatial_conv(x)))


class _MobileBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int = 1):
        super().__init__()
        hidden = inputs * expansion
        self.inverted_conv = _Conv(inputs, hidden)
        self.depth_conv = _Conv(hidden, hidden, 3, stride, groups=hidden)
        self.point_conv = _ConvNorm(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.point_conv(_gelu(self.depth_conv(_gelu(self.inverted_conv(x)))))


class _AttentionBlock(nn.Module):
    def __init__(self, stage: StageConfig):
        super().__init__()
        self.context_module = _Residual(_LinearAttention(stage.width, stage.kernel_size))
        self.local_module = _Residual(_MobileBlock(stage.width, stage.width, stage.expansion))

    def forward(self, x: Tensor) -> Tensor:
        return self.local_module(self.context_module(x))


class _LinearAttention(nn.Module):
    """Attention with ReLU in place of the softmax: linear in the number of cells (EfficientViT, section 3.1).

    Queries, keys and values come twice: of each cell, and of its k × k neighbourhood.
    """

    def __init__(self, width: int, kernel_size: int):
        super().__init__()
        self.qkv = _Conv(width, 3 * width, bias=False)
        per_channel = nn.Conv2d(
            3 * width, 3 * width, kernel_size, padding=kernel_size // 2, groups=3 * width, bias=False
        )
        per_part = nn.Conv2d(3 * width, 3 * width, 1, groups=3 * width // HEAD_DIM, bias=False)
        self.aggreg = nn.ModuleList([nn.Sequential(per_channel, per_part)])
        self.proj = _ConvNorm(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        qkv = self.qkv(x)
        qkv = torch.cat([qkv, self.aggreg[0](qkv)], dim=1).float()
        q, k, v = qkv.view(batch, -1, 3, HEAD_DIM, height * width).unbind(2)  # (B, heads, d, h·w)
        v = F.pad(v, (0, 0, 0, 1), value=1.0)  # the last row sums up the weights
        out = (v @ k.relu().mT) @ q.relu()
        out = out[:, :, :-1] / (out[:, :, -1:] + 1e-15)
        return self.proj(out.reshape(batch, -1, height, width).to(x.dtype))


class _Neck(nn.Module):
    """Adds up the last three maps at the size of the largest and refines the sum."""

    def __init__(self, widths: list[int], prompt_dim: int, config: EfficientVitConfig):
        super().__init__()
        self.input_ops = nn.ModuleList(_OpList([_ConvNorm(width, prompt_dim)]) for width in widths)
        self.middle = _OpList(
            _Residual(_FusedBlock(prompt_dim, prompt_dim, config.neck_expansion))
            for _ in range(config.neck_depth)
        )
        self.output_ops = nn.ModuleList([_OpList([_Conv(prompt_dim, prompt_dim)])])

    def forward(self, maps: list[Tensor], after_block: Callable[[], None]) -> Tensor:
        size = (GRID_SIZE, GRID_SIZE)
        resized = [
            F.interpolate(reduce(x), size, mode="bicubic", align_corners=False)
            for reduce, x in zip(self.input_ops, maps, strict=True)
        ]
        x = run_in_turn(self.middle.op_list, torch.stack(resized).sum(0), after_block)
        return self.output_ops[0](x)


def _gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")
