"""The two resamplings from the working resolution to the image's, computed for any rows of a map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

Resampling = Literal["nearest", "bilinear"]


@dataclass(frozen=True, eq=False)
class Taps:
    """The two source indices that an output index reads: ``(1 − weight) · [first] + weight · [second]``.

    Attributes:
        first, second: int64 (n,).
        weight: float32 (n,), of ``second``; 0 throughout for "nearest".
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray

    @classmethod
    def along(cls, source_length: int, length: int, resampling: Resampling) -> Taps:
        """Taps of all output indices of one axis.

        "nearest" is torch's and OpenCV's: the floor of the source index, counted from the corner. "bilinear"
        is torch's with ``align_corners=False``: pixel centres correspond, without antialiasing.
        """
        if resampling == "nearest":
            first = np.arange(length) * source_length // length
            return cls(first, first, np.zeros(length, np.float32))
        scale = np.float32(source_length / length)
        position = np.maximum(
            scale * (np.arange(length, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), 0
        )
        first = np.minimum(position.astype(np.int64), source_length - 1)
        second = np.minimum(first + 1, source_length - 1)
        return cls(first, second, position - first.astype(np.float32))

    def __getitem__(self, part: slice | np.ndarray) -> Taps:
        return Taps(self.first[part], self.second[part], self.weight[part])


def resample_rows(
    read_source: Callable[[int, int], torch.Tensor], rows: Taps, width: int, resampling: Resampling
) -> torch.Tensor:
    """Some rows of a resampled map, computed from no more of the source than they need.

    Args:
        read_source: gives the source rows from ``start`` up to ``stop``: float32 (C, stop − start, w).
        rows: the taps of the wanted rows.
        width: of the output.
        resampling: along the columns; ``rows`` has its own built in.

    Returns:
        float32 (C, rows, width).
    """
    start, stop = int(rows.first[0]), int(rows.second[-1]) + 1
    source = read_source(start, stop)
    above, below = source[:, rows.first - start], source[:, rows.second - start]
    blended = above.lerp_(below, torch.from_numpy(rows.weight)[:, None])
    if resampling == "nearest":
        return blended[..., Taps.along(source.shape[2], width, resampling).first]
    return F.interpolate(blended[None], (blended.shape[1], width), mode="bilinear", align_corners=False)[0]


def resize_nearest(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An array (h, w) resized to (H, W) by "nearest"; the array itself where the sizes agree."""
    if image.shape == tuple(size):
        return image
    rows, columns = (Taps.along(*lengths, "nearest").first for lengths in zip(image.shape, size, strict=True))
    return image.take(rows, axis=0).take(columns, axis=1)
