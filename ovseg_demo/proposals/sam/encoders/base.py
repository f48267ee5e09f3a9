"""The interface that all image encoders share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from ovseg_demo.proposals.sam.shapes import Shapes


@dataclass(frozen=True)
class InputFrame:
    """How an image is laid into the encoder's square input, and how the square is divided.

    The image's longer side is resized to the side of the square; after normalization the rest of the square,
    at the bottom and at the right, is filled with zeros.

    Attributes:
        image_size: side in pixels of the square that the encoder reads.
        grid_size: cells along a side of the image embedding.
        prompt_size: side of the square in which point coordinates are given and to which masks are upsampled;
            a multiple of ``grid_size``. It is ``image_size`` unless an encoder reads fewer pixels.
    """

    image_size: int
    grid_size: int
    prompt_size: int

    @classmethod
    def of_stride(cls, image_size: int, stride: int) -> InputFrame:
        """Return the frame of an encoder whose cells are squares of ``stride`` pixels."""
        return cls(image_size, image_size // stride, image_size)


class EncoderConfig(ABC):
    """The sizes of one kind of image encoder: read off a checkpoint, sufficient to build the network.

    Subclasses are frozen dataclasses. Tensor names are those in a checkpoint without ``image_encoder.``.

    Attributes:
        title: how messages name the kind.
        decoder_norm_eps: epsilon of the layer norms in the mask decoder that was trained with this kind.
    """

    title: ClassVar[str]
    decoder_norm_eps: ClassVar[float] = 1e-5

    @classmethod
    @abstractmethod
    def recognizes(cls, names: Collection[str]) -> bool:
        """Return whether a checkpoint whose encoder has tensors of these names is of this kind."""

    @classmethod
    @abstractmethod
    def read(cls, shapes: Shapes, tensors: Mapping[str, Tensor]) -> Self:
        """Read every size off the tensors.

        Args:
            shapes: of the tensors, by name; a missing name raises the fitting error.
            tensors: the tensors themselves, where a size is stored as a value.

        Raises:
            CheckpointError: a tensor that tells a size is missing, or the sizes contradict each other.
        """

    @property
    @abstractmethod
    def frame(self) -> InputFrame:
        """The encoder's input and the grid of its embedding."""

    @abstractmethod
    def build(self, prompt_dim: int) -> ImageEncoder:
        """Build the network with random weights; its embedding has ``prompt_dim`` channels."""

    def module_name(self, name: str) -> str | None:
        """Return the network's own name for a tensor of a checkpoint; ``None`` for one that takes no part."""
        return name


class ImageEncoder(nn.Module):
    """An image encoder: square input (1, 3, S, S) to image embedding (1, C, g, g).

    Attributes:
        frame: S is its ``image_size``, g its ``grid_size``.
        img_size: S under the name that segment-anything's classes read.
    """

    frame: InputFrame
    img_size: int

    def set_frame(self, frame: InputFrame) -> None:
        """Set the attributes; the constructor of a subclass calls it."""
        self.frame = frame
        self.img_size = frame.image_size

    def encode(self, pixels: Tensor, after_block: Callable[[], None]) -> Tensor:
        """Compute the image embedding for inference.

        Args:
            pixels: (1, 3, S, S), normalized and padded, in the encoder's precision.
            after_block: called after every part of the network that takes noticeable time; may raise to stop.

        Returns:
            The image embedding (1, C, g, g).
        """
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute the image embedding (1, C, g, g) of pixels (1, 3, S, S)."""
        return self.encode(pixels, lambda: None)

    def initialize(self) -> None:
        """Give random values to what the constructor leaves at zero; called once, before a training."""

    def finish(self) -> None:
        """Derive what does not lie in a checkpoint; called once, after the weights have been assigned."""


def run_in_turn(
    blocks: Iterable[Callable[[Tensor], Tensor]], x: Tensor, after_block: Callable[[], None]
) -> Tensor:
    """Apply the blocks one after the other and call ``after_block`` after each."""
    for block in blocks:
        x = block(x)
        after_block()
    return x


@torch.no_grad()
def fuse_norms(module: nn.Module) -> None:
    """Replace every part of a network that has timm's method ``fuse`` by the single convolution it equals."""
    for name, child in module.named_children():
        if hasattr(child, "fuse"):
            fused = child.fuse()
            module.add_module(name, fused)
            child = fused
        fuse_norms(child)
