"""A convolutional image tower: timm's network, and the projection into the space of the texts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from open_clip.timm_model import TimmModel
from timm.layers import Mlp
from timm.models.convnext import ConvNeXt, ConvNeXtBlock
from torch import Tensor, nn

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.tensors import Shapes

PIXELS_AT_ONCE = 2048
"""Cells of a feature map that pass an MLP together on a CPU."""


class ConvTower(nn.Module):
    """The tower of a CLIP, split where its feature map is averaged.

    Args:
        trunk: a network of timm with ``forward_features`` and ``forward_head``, whose features are maps.
        head: the projection of the trunk's output.
    """

    def __init__(self, trunk: nn.Module, head: nn.Module):
        super().__init__()
        self.trunk = trunk
        self.head = head

    @classmethod
    def of(cls, visual: TimmModel) -> ConvTower:
        """Return the tower of a CLIP of open_clip."""
        return cls(visual.trunk, visual.head)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the embeddings (B, D) of whole images, normalised pixels (B, 3, H, W)."""
        return self.head(self.trunk(pixels.contiguous(memory_format=torch.channels_last)))

    def dense(self, pixels: Tensor) -> Tensor:
        """Return the last feature map (B, C, h, w) of normalised pixels (B, 3, H, W)."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        if isinstance(self.trunk, ConvNeXt) and pixels.device.type == "cpu" and not torch.is_grad_enabled():
            return _run_in_pieces(self.trunk, pixels)
        return self.trunk.forward_features(pixels)

    def project(self, pooled: Tensor) -> Tensor:
        """Return the embeddings (N, D) of averaged features (N, C)."""
        return self.head(self.trunk.forward_head(pooled[:, :, None, None]))


def _run_in_pieces(trunk: ConvNeXt, pixels: Tensor) -> Tensor:
    """Return ``trunk.forward_features(pixels)`` without the hidden layer of an MLP as a whole in memory.

    An accelerator has the memory, and would lose more by starting many small kernels.
    """
    x = trunk.stem(pixels)
    for stage in trunk.stages:
        x = stage.downsample(x)
        for block in stage.blocks:
            is_plain = isinstance(block.mlp, Mlp) and isinstance(block.shortcut, nn.Identity)
            x = _add_block(block, x.float()) if is_plain and not block.use_conv_mlp else block(x)
    return trunk.norm_pre(x)


def _add_block(block: ConvNeXtBlock, x: Tensor) -> Tensor:
    """Add to float32 x (1, C, h, w), in place, what a block computes from it, a few rows at a time."""
    mixed = block.conv_dw(x)
    rows = max(1, PIXELS_AT_ONCE // x.shape[3])
    for some, sums in zip(mixed.split(rows, dim=2), x.split(rows, dim=2), strict=True):
        update = block.mlp(block.norm(some.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        if block.gamma is None:
            sums += update
        else:
            sums.addcmul_(update, block.gamma[:, None, None])
    return x


def is_convolutional(visual: nn.Module) -> bool:
    """Return whether an image tower of open_clip is one of timm's whose features are maps."""
    return isinstance(visual, TimmModel) and not hasattr(visual.trunk, "patch_embed")


def convnext_tower(tensors: Mapping[str, Tensor]) -> ConvTower:
    """Return open_clip's ConvNeXt tower with random weights; the shapes of its tensors give its sizes.

    Args:
        tensors: ``trunk.*`` and ``head.proj.weight``.

    Raises:
        CheckpointError: the tensors are not those of a ConvNeXt.
    """
    shapes = Shapes(tensors, "a CLIP with a ConvNeXt")
    stages = range(shapes.count("trunk.stages"))
    projection = shapes["head.proj.weight"]
    if len(projection) != 2 or any(len(shapes[f"trunk.stages.{i}.blocks.0.gamma"]) != 1 for i in stages):
        raise CheckpointError("These are not the weights of a CLIP with a ConvNeXt: their shapes do not fit.")
    trunk = ConvNeXt(
        num_classes=0,
        depths=tuple(shapes.count(f"trunk.stages.{stage}.blocks") for stage in stages),
        dims=tuple(shapes[f"trunk.stages.{stage}.blocks.0.gamma"][0] for stage in stages),
    )
    head = nn.Sequential()
    head.add_module("proj", nn.Linear(projection[1], projection[0], bias="head.proj.bias" in tensors))
    return ConvTower(trunk, head)
