"""From low-resolution mask logits to binary masks at the image's resolution, a few at a time."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from ovseg_demo.proposals.types import tight_boxes

_UNCOMPRESSED_BYTES = 32 * 2**20
"""Bytes of masks that a collector keeps as plain bits; further masks are compressed. A large image without
edges gives a thousand stable masks, of which the suppression leaves a few."""


@dataclass(frozen=True)
class MaskGeometry:
    """How mask logits lie over an image.

    The image is resized to ``resized_size`` and padded at the bottom and right to a square of ``input_size``.
    The network divides that square into ``grid_size`` cells a side and gives 4 × 4 logits for each cell.
    Prompts live in the same square. (The encoder may read a smaller one: :class:`.encoders.base.InputFrame`.)

    Attributes:
        image_size: (height, width) of the image, and of the masks.
        resized_size: (height, width) that the image took within the network's square input.
        input_size: side of that square.
        grid_size: cells along that side.
    """

    image_size: tuple[int, int]
    resized_size: tuple[int, int]
    input_size: int
    grid_size: int

    @classmethod
    def of_image(cls, image_size: tuple[int, int], input_size: int, grid_size: int) -> MaskGeometry:
        """Return how an image of (height, width) lies in the square, whose side its longer side fills."""
        return cls(image_size, size_in_square(image_size, input_size), input_size, grid_size)

    @property
    def cells(self) -> tuple[int, int]:
        """(rows, columns) of cells under the image, and one more for interpolation at its border."""
        patch = self.input_size // self.grid_size
        rows, columns = (min(self.grid_size, -(-side // patch) + 1) for side in self.resized_size)
        return rows, columns

    def to_prompt(self, points: np.ndarray) -> np.ndarray:
        """Return pixels (…, 2) of the image, as (x, y), in the coordinates of the network's input."""
        scale = np.divide(self.resized_size, self.image_size)
        return points * scale[::-1]

    def upsample(self, logits: np.ndarray) -> np.ndarray:
        """Resize float32 logits (4 · rows, 4 · columns) over :attr:`cells` to the image: (height, width).

        As segment-anything does: to the network's input, cropped, and then to the image.
        """
        patch = self.input_size // self.grid_size
        height, width = self.resized_size
        logits = _resize(logits, (logits.shape[0] // 4 * patch, logits.shape[1] // 4 * patch))
        return _resize(logits[:height, :width], self.image_size)


@dataclass(frozen=True)
class MaskFilters:
    """The stock generator's thresholds, under its names; of the first two, one of at most 0 is off."""

    pred_iou_thresh: float
    stability_score_thresh: float
    stability_score_offset: float
    box_nms_thresh: float

    def good_enough(self, quality: Tensor) -> Tensor:
        """Return which masks (bool, as ``quality``) have a predicted IoU above the threshold."""
        return quality > (self.pred_iou_thresh if self.pred_iou_thresh > 0 else -torch.inf)

    def is_stable(self, logits: np.ndarray, mask_threshold: float) -> bool:
        """Return whether the mask of these logits (h, w) changes little when their threshold is moved.

        The score is the IoU of the masks under a higher and a lower threshold; one contains the other.
        """
        if self.stability_score_thresh <= 0:
            return True
        certain = np.count_nonzero(logits > mask_threshold + self.stability_score_offset)
        possible = np.count_nonzero(logits > mask_threshold - self.stability_score_offset)
        # Compared in single precision, as the stock generator does.
        return possible > 0 and np.float32(certain / possible) >= np.float32(self.stability_score_thresh)


@dataclass(frozen=True)
class FoundMasks:
    """The arrays of :class:`~ovseg_demo.proposals.types.Proposals` under the same names."""

    packed_masks: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    embedding: np.ndarray | None = None

    @classmethod
    def none(cls, image_size: tuple[int, int]) -> FoundMasks:
        """Return no mask at all on an image of (height, width)."""
        height, width = image_size
        return cls(
            packed_masks=np.zeros((0, height, -(-width // 8)), dtype=np.uint8),
            boxes=np.zeros((0, 4), dtype=np.int32),
            scores=np.zeros(0, dtype=np.float32),
        )


class MaskCollector:
    """Turns logits into masks, and keeps the stable ones as bits, those of large images compressed."""

    def __init__(self, geometry: MaskGeometry, filters: MaskFilters, mask_threshold: float):
        self._geometry = geometry
        self._filters = filters
        self._mask_threshold = mask_threshold
        self._packed_masks: list[np.ndarray | bytes] = []
        self._nbytes = 0
        self._boxes: list[np.ndarray] = []
        self._scores: list[float] = []

    def add(self, logits: np.ndarray, quality: float) -> None:
        """Measure a mask with float32 logits (·, ·) over ``geometry.cells`` and this predicted IoU."""
        logits = self._geometry.upsample(logits)
        if not self._filters.is_stable(logits, self._mask_threshold):
            return
        mask = logits > self._mask_threshold
        if mask.any():
            self._packed_masks.append(self._pack(mask))
            self._boxes.append(tight_boxes(mask[None])[0])
            self._scores.append(quality)

    def without_duplicates(self) -> FoundMasks:
        """Return all masks, best first, after non-maximum suppression of their boxes."""
        if not self._packed_masks:
            return FoundMasks.none(self._geometry.image_size)
        boxes = np.stack(self._boxes)
        scores = torch.tensor(self._scores)
        # The stock generator compares boxes that end at their last pixel instead of behind it.
        compared = torch.from_numpy(boxes - [0, 0, 1, 1]).float()
        kept = batched_nms(compared, scores, torch.zeros(len(boxes)), self._filters.box_nms_thresh).numpy()
        packed = np.empty((len(kept), *self._packed(kept[0]).shape), np.uint8)
        for row, index in zip(packed, kept, strict=True):  # so that one mask at a time is there twice
            row[:] = self._packed(index)
        return FoundMasks(
            packed_masks=packed,
            boxes=boxes[kept],
            scores=scores.numpy()[kept],
        )

    def _pack(self, mask: np.ndarray) -> np.ndarray | bytes:
        packed = np.packbits(mask, axis=-1)
        self._nbytes += packed.nbytes
        return packed if self._nbytes <= _UNCOMPRESSED_BYTES else zlib.compress(packed, level=1)

    def _packed(self, index: int) -> np.ndarray:
        packed = self._packed_masks[index]
        if isinstance(packed, np.ndarray):
            return packed
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self._geometry.image_size[0], -1)


def size_in_square(image_size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return (height, width), rounded, at least 1, of an image whose longer side is made ``side``."""
    scale = side / max(image_size)
    height, width = (max(1, int(length * scale + 0.5)) for length in image_size)
    return height, width


def _resize(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if logits.shape == size:
        return logits  # what bilinear interpolation would return
    # OpenCV's arithmetic is torch's (align_corners=False), in a tenth of the time.
    return cv2.resize(logits, size[::-1], interpolation=cv2.INTER_LINEAR)
