"""A convolutional image tower: timm's network, and the projection into the space of the texts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from open_clip.timm_model import TimmModel
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.tensors import Shapes


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
        return self.trunk.forward_features(pixels.contiguous(memory_format=torch.channels_last))

    def project(self, pooled: Tensor) -> Tensor:
        """Return the embeddings (N, D) of averaged features (N, C)."""
        return self.head(self.trunk.forward_head(pooled[:, :, None, None]))


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
