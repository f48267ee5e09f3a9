"""The R-101c backbone of MaskFormer: a ResNet with DeepLab's stem and a dilated last stage.

timm's ResNet would need patched dilations in its last stage, and a new name for every tensor. This module has
the dilations and the published names, and allows any width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_demo.proposals.maskformer.config import RES5_DILATIONS, ResNetConfig


class ConvNorm(nn.Conv2d):
    """A convolution without bias, padded to keep the size of the map, and a normalisation of its output."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        norm: nn.Module,
        *,
        stride: int = 1,
        dilation: int = 1,
    ):
        padding = dilation * (kernel_size // 2)
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=False)
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised convolution of (B, C, H, W)."""
        return self.norm(super().forward(x))


def _conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, dilation: int = 1
) -> ConvNorm:
    norm = nn.BatchNorm2d(out_channels)
    conv = ConvNorm(in_channels, out_channels, kernel_size, norm, stride=stride, dilation=dilation)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class Stem(nn.Module):
    """Three 3×3 convolutions and a max-pool, with a total stride of 4."""

    def __init__(self, channels: tuple[int, int, int]):
        super().__init__()
        self.conv1 = _conv(3, channels[0], 3, stride=2)
        self.conv2 = _conv(channels[0], channels[1], 3)
        self.conv3 = _conv(channels[1], channels[2], 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return features (B, C, H / 4, W / 4) of pixels (B, 3, H, W)."""
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x))
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


class Bottleneck(nn.Module):
    """A residual block of 1×1, 3×3 and 1×1 convolutions; the 3×3 one has the stride."""

    def __init__(self, in_channels: int, width: int, out_channels: int, stride: int, dilation: int):
        super().__init__()
        is_identity = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if is_identity else _conv(in_channels, out_channels, 1, stride)
        self.conv1 = _conv(in_channels, width, 1)
        self.conv2 = _conv(width, width, 3, stride, dilation)
        self.conv3 = _conv(width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for (B, C, H, W)."""
        residual = F.relu(self.conv1(x))
        residual = F.relu(self.conv2(residual))
        return F.relu(self.conv3(residual) + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet (arXiv 1512.03385), variant "c"; batch norm updates its statistics in training mode only."""

    def __init__(self, config: ResNetConfig):
        super().__init__()
        self.stem = Stem(config.stem_channels)
        inputs = (config.stem_channels[-1], *config.channels)
        for stage, depth in enumerate(config.depths):
            self.add_module(f"res{stage + 2}", _stage(config, stage, inputs[stage], depth))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return res2 … res5 of normalised pixels (B, 3, H, W): (B, C, h, w) at strides 4, 8, 16 and 32."""
        x = self.stem(pixels)
        features = []
        for stage in (self.res2, self.res3, self.res4, self.res5):
            x = stage(x)
            features.append(x)
        return tuple(features)


def _stage(config: ResNetConfig, stage: int, in_channels: int, depth: int) -> nn.Sequential:
    is_last = stage + 1 == len(config.depths)
    blocks = []
    for block in range(depth):
        dilation = RES5_DILATIONS[min(block, len(RES5_DILATIONS) - 1)] if is_last else 1
        stride = 2 if stage > 0 and block == 0 else 1
        blocks.append(Bottleneck(in_channels, config.widths[stage], config.channels[stage], stride, dilation))
        in_channels = config.channels[stage]
    return nn.Sequential(*blocks)
