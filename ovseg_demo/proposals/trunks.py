"""The convolutional classifiers of timm that image encoders and backbones begin with."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import timm
import torch
from torch import nn

TRUNKS = tuple(f"tf_efficientnet_lite{size}" for size in range(5))
"""timm's names of the classifiers that are recognized."""


def make_trunk(name: str) -> nn.Module:
    """Return timm's network with features at strides 4 to 32, with random weights and without batch norms."""
    trunk = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4))
    fold_batch_norms(trunk)
    return trunk


def trunk_channels(name: str) -> tuple[int, ...]:
    """Return the widths of a trunk's features at strides 4, 8, 16 and 32."""
    with torch.device("meta"):
        return tuple(make_trunk(name).feature_info.channels())


def find_trunk(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the name of the trunk whose tensors have exactly these names and shapes, ``None`` for none."""
    for name in TRUNKS:
        with torch.device("meta"):
            expected = {key: tuple(tensor.shape) for key, tensor in make_trunk(name).state_dict().items()}
        if shapes == expected:
            return name
    return None


@torch.no_grad()
def fold_batch_norms(module: nn.Module) -> None:
    """Make each batch norm's scale and shift those of the convolution before it; its activation stays.

    Affects every convolution that a batch norm follows among the children of one module, as in timm's
    EfficientNets, where they are applied in this order.
    """
    names = list(module._modules)
    for name, following in pairwise(names):
        convolution, norm = module._modules[name], module._modules[following]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            convolution.weight.mul_(scale.view(-1, 1, 1, 1))
            shift = norm.bias - norm.running_mean * scale
            bias = shift if convolution.bias is None else shift + convolution.bias * scale
            convolution.bias = nn.Parameter(bias)
            module._modules[following] = norm.act
    for child in module.children():
        fold_batch_norms(child)
