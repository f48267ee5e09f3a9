"""All kinds of image encoders, and which of them a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ovseg_demo.errors import CheckpointError
from ovseg_demo.proposals.sam.encoders.base import EncoderConfig
from ovseg_demo.proposals.sam.encoders.efficientvit import EfficientVitConfig
from ovseg_demo.proposals.sam.encoders.repvit import RepVitConfig
from ovseg_demo.proposals.sam.encoders.timm_cnn import TimmCnnConfig
from ovseg_demo.proposals.sam.encoders.tiny_vit import TinyVitConfig
from ovseg_demo.proposals.sam.encoders.vit import VitConfig
from ovseg_demo.proposals.sam.shapes import Shapes

ENCODERS: tuple[type[EncoderConfig], ...] = (
    VitConfig,
    TinyVitConfig,
    RepVitConfig,
    EfficientVitConfig,
    TimmCnnConfig,
)

PREFIX = "image_encoder."
"""What stands before the encoder's names in a checkpoint."""


def read_encoder_config(tensors: Mapping[str, Tensor]) -> EncoderConfig:
    """Recognize the kind of image encoder in a Segment Anything checkpoint and read its sizes.

    Args:
        tensors: all tensors of the checkpoint; those of the encoder begin with :data:`PREFIX`.

    Raises:
        CheckpointError: there is no encoder of a known kind, or a tensor that tells a size is missing.
    """
    shapes = Shapes(tensors, PREFIX)
    for kind in ENCODERS:
        if kind.recognizes(shapes.keys()):
            encoder = {
                name.removeprefix(PREFIX): tensor
                for name, tensor in tensors.items()
                if name.startswith(PREFIX)
            }
            return kind.read(shapes, encoder)
    known = ", ".join(kind.title for kind in ENCODERS)
    if not shapes:
        raise CheckpointError(
            f'These are no weights of a Segment Anything model: no tensor begins with "{PREFIX}".'
        )
    raise CheckpointError(
        "This Segment Anything checkpoint has an unknown image encoder (first tensor: "
        f'"{PREFIX}{min(shapes)}"); known are {known}.'
    )
