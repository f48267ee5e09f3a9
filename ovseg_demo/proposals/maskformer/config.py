"""MaskFormer's constants, and its architecture as it is read off a checkpoint's tensor shapes.

The network is that of MaskFormer (arXiv 2107.06278) with the changes of OVSeg (arXiv 2210.04150).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.tensors import Shapes

if TYPE_CHECKING:
    from torch import Tensor

# Input.
MIN_SIZE = 640
"""Length in pixels of the resized image's shorter side; the published R-101c model was made for 512."""
MAX_SIZE = 2560
"""Limit in pixels of the resized image's longer side; the published R-101c model was made for 2048."""
SIZE_DIVISIBILITY = 32

# Output.
MASK_THRESHOLD = 0.35
"""Foreground probability above which a pixel belongs to a mask, as in the published demo.

The published evaluations used 0.4 (Swin-B) and 0.5 (R-101c).
"""

_TRUNK_PREFIX = "backbone.trunk."

# Parts of the architecture that leave no trace in tensor shapes.
GROUP_NORM_GROUPS = 32
ATTENTION_HEADS = 8
POSITION_TEMPERATURE = 10_000
RES5_DILATIONS = (1, 2, 4)  # of the three blocks; further blocks keep the last one
PLACE_FREQUENCIES = (1, 2, 4, 8)  # half periods of the places over the padded input
PLACE_CHANNELS = 1 + 4 * len(PLACE_FREQUENCIES)


@dataclass(frozen=True)
class SwinConfig:
    """Sizes of a Swin backbone; a tuple has one entry for each of the four stages.

    Attributes:
        embed_dim: width of the first stage; each further stage doubles it.
        depths: number of blocks.
        num_heads: attention heads.
        window_sizes: side of the square attention windows, in tokens.
        mlp_ratio: hidden width of the blocks' MLPs in multiples of the stage's width.
        patch_size: side in pixels of the patches that become tokens: the stride of the first stage.
    """

    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_sizes: tuple[int, ...]
    mlp_ratio: float = 4.0
    patch_size: int = 4

    @property
    def channels(self) -> tuple[int, ...]:
        """Width of each stage's output."""
        return tuple(self.embed_dim * 2**stage for stage in range(len(self.depths)))


@dataclass(frozen=True)
class ResNetConfig:
    """Sizes of an R-101c backbone; a tuple has one entry for each of the four stages.

    Attributes:
        stem_channels: width of the stem's three convolutions.
        depths: number of bottleneck blocks.
        widths: width of the blocks' 3×3 convolutions.
        channels: width of the stages' outputs.
    """

    stem_channels: tuple[int, int, int]
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class TimmCnnConfig:
    """A convolutional classifier of timm as the backbone.

    Attributes:
        trunk: one of :data:`ovseg_demo.proposals.trunks.TRUNKS`.
        channels: width of the features at strides 4, 8, 16 and 32.
    """

    trunk: str
    channels: tuple[int, ...]


@dataclass(frozen=True)
class MaskFormerConfig:
    """Sizes of a whole MaskFormer network.

    Attributes:
        backbone: the kind of backbone and its sizes.
        pixel_decoder_width: width of the feature pyramid; a multiple of 32.
        mask_width: width of the mask features and mask embeddings.
        hidden_width: width of the transformer decoder; a multiple of 8.
        feedforward_width: hidden width of the decoder layers' MLPs.
        decoder_layers: number of decoder layers.
        queries: number of queries, and so the largest number of masks.
        mask_embed_widths: widths of the mask MLP's layers before the last one, which has ``mask_width``.
        class_embed_widths: likewise for the class MLP, whose last layer has ``embedding_width``.
        embedding_width: width of the class embeddings: that of CLIP's shared space.
        projects_features: whether a 1×1 convolution takes res5 to ``hidden_width``; else res5 has that width.
        knows_places: whether mask features and image tokens contain their places, and each query has a mask
            of its own to start from. An addition of this project, for small networks: published ones have to
            tell two things of one kind apart by what lies around them.
    """

    backbone: SwinConfig | ResNetConfig | TimmCnnConfig
    embedding_width: int
    pixel_decoder_width: int = 256
    mask_width: int = 256
    hidden_width: int = 256
    feedforward_width: int = 2048
    decoder_layers: int = 6
    queries: int = 100
    mask_embed_widths: tuple[int, ...] = (256, 256)
    class_embed_widths: tuple[int, ...] = (256,)
    projects_features: bool = True
    knows_places: bool = False


def read_config(tensors: Mapping[str, Tensor]) -> MaskFormerConfig:
    """Read every size off the tensors' shapes.

    Args:
        tensors: the published names (``backbone.…``, ``sem_seg_head.…``) and their tensors.

    Raises:
        CheckpointError: a tensor that tells a size is missing, or the backbone is neither Swin nor R-101c.
    """
    shapes = Shapes(tensors, "an OVSeg or SimSeg MaskFormer")
    predictor = "sem_seg_head.predictor"
    layers = f"{predictor}.transformer.decoder.layers"
    class_embed = _linear_widths(shapes, f"{predictor}.class_embed.layers")
    mask_embed = _linear_widths(shapes, f"{predictor}.mask_embed.layers")
    queries, hidden_width = shapes[f"{predictor}.query_embed.weight"]
    pixel_decoder_width = shapes["sem_seg_head.pixel_decoder.layer_4.weight"][0]
    if hidden_width % ATTENTION_HEADS or pixel_decoder_width % GROUP_NORM_GROUPS:
        raise CheckpointError(
            f"The MaskFormer's transformer is {hidden_width} wide, its pixel decoder {pixel_decoder_width}; "
            f"multiples of {ATTENTION_HEADS} and {GROUP_NORM_GROUPS} were expected, as in OVSeg's files."
        )
    return MaskFormerConfig(
        backbone=_read_backbone(shapes),
        embedding_width=class_embed[-1],
        pixel_decoder_width=pixel_decoder_width,
        mask_width=shapes["sem_seg_head.pixel_decoder.mask_features.weight"][0],
        hidden_width=hidden_width,
        feedforward_width=shapes[f"{layers}.0.linear1.weight"][0],
        decoder_layers=shapes.count(layers),
        queries=queries,
        mask_embed_widths=mask_embed[:-1],
        class_embed_widths=class_embed[:-1],
        projects_features=f"{predictor}.input_proj.weight" in shapes,
        knows_places=f"{predictor}.place_embed.weight" in shapes,
    )


def _read_backbone(shapes: Shapes) -> SwinConfig | ResNetConfig | TimmCnnConfig:
    if "backbone.patch_embed.proj.weight" in shapes:
        return _read_swin(shapes)
    if "backbone.stem.conv1.weight" in shapes:
        return _read_resnet(shapes)
    if f"{_TRUNK_PREFIX}conv_stem.bias" in shapes:
        return _read_trunk(shapes)
    raise CheckpointError(
        'The MaskFormer\'s backbone is unknown: a Swin ("backbone.patch_embed.proj.weight"), an R-101c '
        '("backbone.stem.conv1.weight") or an EfficientNet-Lite ("backbone.trunk.conv_stem.bias") was '
        "expected; use a full OVSeg or SimSeg checkpoint."
    )


def _read_swin(shapes: Shapes) -> SwinConfig:
    embed_dim, _, patch_size, _ = shapes["backbone.patch_embed.proj.weight"]
    stages = [f"backbone.layers.{stage}.blocks" for stage in range(shapes.count("backbone.layers"))]
    # A window of side w has (2w - 1)² relative positions.
    positions = [shapes[f"{stage}.0.attn.relative_position_bias_table"] for stage in stages]
    return SwinConfig(
        embed_dim=embed_dim,
        depths=tuple(shapes.count(stage) for stage in stages),
        num_heads=tuple(heads for _, heads in positions),
        window_sizes=tuple((math.isqrt(count) + 1) // 2 for count, _ in positions),
        mlp_ratio=shapes["backbone.layers.0.blocks.0.mlp.fc1.weight"][0] / embed_dim,
        patch_size=patch_size,
    )


def _read_resnet(shapes: Shapes) -> ResNetConfig:
    stages = [f"backbone.res{stage}" for stage in (2, 3, 4, 5)]
    return ResNetConfig(
        stem_channels=tuple(shapes[f"backbone.stem.conv{i}.weight"][0] for i in (1, 2, 3)),
        depths=tuple(shapes.count(stage) for stage in stages),
        widths=tuple(shapes[f"{stage}.0.conv2.weight"][0] for stage in stages),
        channels=tuple(shapes[f"{stage}.0.conv3.weight"][0] for stage in stages),
    )


def _read_trunk(shapes: Shapes) -> TimmCnnConfig:
    from ovseg_demo.proposals.trunks import TRUNKS, find_trunk  # timm: the catalogue does not need it

    given = {
        name.removeprefix(_TRUNK_PREFIX): shapes[name] for name in shapes if name.startswith(_TRUNK_PREFIX)
    }
    trunk = find_trunk(given)
    if trunk is None:
        raise CheckpointError(
            f"The MaskFormer has a convolutional backbone of unknown sizes; known are {', '.join(TRUNKS)}."
        )
    return timm_cnn(trunk)


def timm_cnn(trunk: str) -> TimmCnnConfig:
    """Return the backbone of a name of :data:`ovseg_demo.proposals.trunks.TRUNKS`."""
    from ovseg_demo.proposals.trunks import trunk_channels

    return TimmCnnConfig(trunk, trunk_channels(trunk))


def _linear_widths(shapes: Shapes, prefix: str) -> tuple[int, ...]:
    """Return the output widths of the linear layers ``prefix.0``, ``prefix.1``, …: at least one."""
    return tuple(shapes[f"{prefix}.{i}.weight"][0] for i in range(shapes.count(prefix)))
