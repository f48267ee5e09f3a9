"""A convolutional classifier of timm as Segment Anything's image encoder, with a neck that joins strides.

A classifier's features at stride 16 know what there is, but not where it ends. The neck therefore adds the
features of stride 32 (context) and those of strides 8 and 4 (borders), the latter two with the pixels of a
cell side by side as channels, so that the mask decoder can draw four mask pixels along each side of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn

from ovseg_demo.errors import CheckpointError
from ovseg_demo.proposals.sam.encoders.base import EncoderConfig, ImageEncoder, InputFrame
from ovseg_demo.proposals.sam.shapes import Shapes
from ovseg_demo.proposals.trunks import TRUNKS, find_trunk, make_trunk

STRIDE = 16
"""Input pixels along a side of a cell of the image embedding."""

_SIDE = "input_side"
_MIXES = 2


@dataclass(frozen=True)
class TimmCnnConfig(EncoderConfig):
    """Sizes of a convolutional image encoder.

    Attributes:
        trunk: one of :data:`ovseg_demo.proposals.trunks.TRUNKS`.
        input_side: side of the square input in pixels; a multiple of 32. The network works at any side: the
            checkpoint's tensor ``input_side`` tells the one it was trained for.
    """

    title = "timm's EfficientNet-Lite"

    trunk: str = "tf_efficientnet_lite0"
    input_side: int = 512

    @classmethod
    def recognizes(cls, names: Collection[str]) -> bool:
        """See :meth:`.EncoderConfig.recognizes`."""
        return "trunk.conv_stem.bias" in names and _SIDE in names

    @classmethod
    def read(cls, shapes: Shapes, tensors: Mapping[str, Tensor]) -> Self:
        """See :meth:`.EncoderConfig.read`."""
        prefix = "trunk."
        given = {name.removeprefix(prefix): shapes[name] for name in tensors if name.startswith(prefix)}
        side = int(tensors[_SIDE])
        if side < 32 or side % 32:
            raise CheckpointError(
                f"This SAM checkpoint names an input of {side} pixels a side; a multiple of 32 was expected."
            )
        trunk = find_trunk(given)
        if trunk is not None:
            return cls(trunk, side)
        raise CheckpointError(
            "This SAM checkpoint has a convolutional image encoder of unknown sizes; known are "
            f"{', '.join(TRUNKS)}."
        )

    @property
    def frame(self) -> InputFrame:
        """See :attr:`.EncoderConfig.frame`."""
        return InputFrame.of_stride(self.input_side, STRIDE)

    def build(self, prompt_dim: int) -> TimmCnnEncoder:
        """See :meth:`.EncoderConfig.build`."""
        return TimmCnnEncoder(self, prompt_dim)


class TimmCnnEncoder(ImageEncoder):
    """The classifier without its head, and the neck."""

    def __init__(self, config: TimmCnnConfig, prompt_dim: int):
        super().__init__()
        self.set_frame(config.frame)
        self.trunk = make_trunk(config.trunk)
        self.neck = _Neck(self.trunk.feature_info.channels(), prompt_dim)
        self.register_buffer(_SIDE, torch.tensor(config.input_side))

    def encode(self, pixels: Tensor, after_block: Callable[[], None]) -> Tensor:
        """See :meth:`.ImageEncoder.encode`; any number of images, of any sides that are multiples of 32."""
        features = self.trunk(pixels.contiguous(memory_format=torch.channels_last))
        after_block()
        return self.neck(features)

    def finish(self) -> None:
        """Lay the weights out as the pixels are."""
        self.trunk.to(memory_format=torch.channels_last)
        self.neck.to(memory_format=torch.channels_last)


class _Neck(nn.Module):
    """Features at strides 4, 8, 16 and 32 to an image embedding at stride 16."""

    def __init__(self, widths: list[int], prompt_dim: int):
        super().__init__()
        fine, finer = widths[1] * 4, widths[0] * 16
        self.lateral = nn.Conv2d(widths[2], prompt_dim, 1)
        self.context = nn.Conv2d(widths[3], prompt_dim, 1, bias=False)
        self.border8 = nn.Conv2d(fine, prompt_dim, 1, bias=False)
        self.border4 = nn.Conv2d(finer, prompt_dim, 1, bias=False)
        self.norm = LayerNorm2d(prompt_dim)
        self.mix = nn.ModuleList(_Mix(prompt_dim) for _ in range(_MIXES))
        self.out_norm = LayerNorm2d(prompt_dim)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return (B, C, S/16, S/16) of features (B, ·, S/4, S/4) to (B, ·, S/32, S/32), finest first."""
        finest, fine, middle, coarse = features
        context = F.interpolate(self.context(coarse), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.lateral(middle) + context
        x = x + self.border8(F.pixel_unshuffle(fine, 2)) + self.border4(F.pixel_unshuffle(finest, 4))
        x = self.norm(x)
        for mix in self.mix:
            x = mix(x)
        return self.out_norm(x)


class _Mix(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.gelu(self.first(x)))
