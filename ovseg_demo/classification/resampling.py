"""The two ways to resample a map from the working resolution to the image's, for any range of rows."""

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
    """The two source indices of each of n output indices.

    An output value is ``(1 − weight) · source[first] + weight · source[second]``.

    Attributes:
        first, second: int64 (n,), the source indices.
        weight: float32 (n,), the weight of ``second``; always 0 for "nearest".
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray

    @classmethod
    def along(cls, source_length: int, length: int, resampling: Resampling) -> Taps:
        """Return the taps of all output indices along one axis.

        "nearest" takes the floor of the source index, counted from the corner, as torch and OpenCV do.
        "bilinear" aligns pixel centres without antialiasing, as torch does with ``align_corners=False``.
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
    """Return some rows of a resampled map; only the source rows that they need are read.

    Args:
        read_source: returns the source rows from ``start`` up to ``stop``: float32 (C, stop − start, w).
        rows: the taps of the rows to compute.
        width: the output's width.
        resampling: how to resample along a row; ``rows`` holds the taps of the other axis.

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
    """Return an array (h, w) resized to (H, W) by "nearest", or the array itself if it has that size."""
    if image.shape == tuple(size):
        return image
    rows, columns = (Taps.along(*lengths, "nearest").first for lengths in zip(image.shape, size, strict=True))
    return image.take(rows, axis=0).take(columns, axis=1)
