"""RepViT-SAM's image encoder: RepViT-M2.3, a convolutional network distilled from SAM's ViT-H.

Wang et al., RepViT-SAM (2023); Wang et al., RepViT (CVPR 2024), section 3. The network is timm's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Self

from timm.models.repvit import RepVit
from torch import Tensor

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
"""Side of RepViT-SAM's input in pixels; a convolutional network has no tensor that tells it."""

STRIDE = 16
"""Pixels along a side of a cell: the last of the four stages does not downsample."""

_PLAIN = {
    "token_mixer.0.": "token_mixer.",
    "token_mixer.1.": "se.",
    "channel_mixer.m.0.": "channel_mixer.conv1.",
    "channel_mixer.m.2.": "channel_mixer.conv2.",
}
_DOWNSAMPLING = {
    "token_mixer.0.": "spatial_downsample.",
    "token_mixer.2.": "channel_downsample.",
    "channel_mixer.m.0.": "ffn.conv1.",
    "channel_mixer.m.2.": "ffn.conv2.",
}
"""RepViT-SAM's names within a block, and timm's."""


@dataclass(frozen=True)
class RepVitConfig(EncoderConfig):
    """Sizes of RepViT-SAM's image encoder.

    Attributes:
        embed_dims: width of each stage.
        depths: plain blocks of each stage, without the one before a downsampling block.
        expansion: hidden width ÷ width in the channel mixers.
    """

    title = "RepViT-SAM's RepViT"

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    expansion: int = 2

    @classmethod
    def recognizes(cls, names: Collection[str]) -> bool:
        """See :meth:`.EncoderConfig.recognizes`."""
        return "features.0.0.c.weight" in names

    @classmethod
    def read(cls, shapes: Shapes, tensors: Mapping[str, Tensor]) -> Self:
        """See :meth:`.EncoderConfig.read`."""
        last = shapes.count("features") - 1
        down = [block for block in range(1, last + 1) if f"features.{block}.token_mixer.2.c.weight" in shapes]
        # A stage's blocks lie between two downsampling blocks; the last of them belongs to the second.
        depths = [
            end - start - (1 if end in down else 0) - 1
            for start, end in zip([0, *down], [*down, last + 1], strict=True)
        ]
        if min(depths) < 1:
            raise CheckpointError("A stage of this RepViT-SAM checkpoint has no blocks; is the file whole?")
        width = shapes["features.0.2.c.weight"][0]
        return cls(
            embed_dims=(
                width,
                *(shapes[f"features.{block}.token_mixer.2.c.weight"][0] for block in down),
            ),
            depths=tuple(depths),
            expansion=shapes["features.1.channel_mixer.m.0.c.weight"][0] // width,
        )

    @property
    def frame(self) -> InputFrame:
        """See :attr:`.EncoderConfig.frame`."""
        return InputFrame.of_stride(IMAGE_SIZE, STRIDE)

    def build(self, prompt_dim: int) -> RepVitEncoder:
        """See :meth:`.EncoderConfig.build`."""
        return RepVitEncoder(self, prompt_dim)

    def module_name(self, name: str) -> str | None:
        """See :meth:`.EncoderConfig.module_name`."""
        found = re.match(r"features\.(\d+)\.(.*)", name)
        if found is None:
            return name
        block, rest = int(found[1]), found[2]
        if block == 0:
            return "trunk.stem." + re.sub(r"^(\d)", lambda m: f"conv{int(m[1]) // 2 + 1}", rest)
        place, names = self._place(block)
        for theirs, timms in names.items():
            if rest.startswith(theirs):
                rest = timms + rest.removeprefix(theirs)
                break
        return f"trunk.stages.{place}.{rest}"

    def _place(self, block: int) -> tuple[str, Mapping[str, str]]:
        """Return where timm keeps a block, below "stages", and the names within it."""
        stage, start = 0, 1  # the stage and its first plain block
        while stage < len(self.depths) - 1 and block > start + self.depths[stage] + 1:
            start += self.depths[stage] + 2
            stage += 1
        index = block - start
        if index < self.depths[stage]:
            return f"{stage}.blocks.{index}", _PLAIN
        if index == self.depths[stage]:
            return f"{stage + 1}.downsample.pre_block", _PLAIN
        return f"{stage + 1}.downsample", _DOWNSAMPLING


class RepVitEncoder(ImageEncoder):
    """timm's RepViT without its classifier, and SAM's neck."""

    def __init__(self, config: RepVitConfig, prompt_dim: int):
        super().__init__()
        self.set_frame(config.frame)
        self.trunk = RepVit(
            num_classes=0,
            embed_dim=config.embed_dims,
            depth=config.depths,
            mlp_ratio=config.expansion,
            distillation=False,
        )
        del self.trunk.head
        self.trunk.stages[-1].downsample.spatial_downsample.c.stride = (1, 1)
        self.neck = make_neck(config.embed_dims[-1], prompt_dim)

    def encode(self, pixels: Tensor, after_block: Callable[[], None]) -> Tensor:
        """See :meth:`.ImageEncoder.encode`."""
        x = self.trunk.stem(pixels)
        for stage in self.trunk.stages:
            x = run_in_turn(stage.blocks, stage.downsample(x), after_block)
        return self.neck(x)

    def finish(self) -> None:
        """Fold the training-time branches and batch norms of every block into single convolutions."""
        fuse_norms(self.trunk)
