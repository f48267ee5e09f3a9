"""The partition of an image into cells: pixels that lie under exactly the same masks form one cell.

All pixels of a cell have the same class scores, for any class names and granularity. An image has thousands
of cells and millions of pixels, so a new label map costs one small matrix product and one table access for
each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ovseg_demo.classification.resampling import Resampling, Taps, resize_nearest
from ovseg_demo.classification.score_maps import UNLABELLED, LabelMap, blocks, share
from ovseg_demo.proposals.types import Proposals

_MIXED = -2
_ROWS_AT_ONCE = 64
"""Rows of an image that are processed together; NumPy's 64-bit copy of their cells fits a processor cache."""


@dataclass(frozen=True, eq=False)
class MaskPartition:
    """The cells into which N masks divide an image of (h, w) pixels.

    Attributes:
        cells: int32 (h, w), the cell of each pixel.
        membership: uint8 (cells, ceil(N / 8)), whether a cell lies under a mask; bits are packed by
            ``np.packbits`` along the last axis.
        mask_count: N.
    """

    cells: np.ndarray
    membership: np.ndarray
    mask_count: int

    @classmethod
    def of(cls, proposals: Proposals) -> MaskPartition:
        """Return the partition that the proposals' masks define.

        A 64-bit signature identifies a set of masks: the sum of one random number for each mask. The
        probability that any two of a million sets have the same signature is below one in ten million.
        """
        signature = _signatures(proposals).ravel()
        # Neighbours in a row are mostly equal, so runs are sorted instead of pixels.
        run_starts = np.flatnonzero(np.diff(signature, prepend=~signature[:1]))
        _, first_run, cell_of_run = np.unique(signature[run_starts], return_index=True, return_inverse=True)
        run_lengths = np.diff(run_starts, append=signature.size)
        cells = np.repeat(cell_of_run.astype(np.int32), run_lengths).reshape(proposals.working_size)
        return cls(cells, _masks_at(proposals, run_starts[first_run]), len(proposals))

    def unpack(self, cells: slice | np.ndarray) -> np.ndarray:
        """Return which masks cover the given cells: bool (len(cells), N)."""
        return np.unpackbits(self.membership[cells], axis=1, count=self.mask_count).view(bool)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return for each pixel the value of its cell: (h, w), from (cells,)."""
        spread = np.empty(self.cells.shape, values.dtype)
        for start in range(0, len(spread), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            values.take(self.cells[rows], out=spread[rows], mode="clip")  # no index check
        return spread

    def __len__(self) -> int:
        return len(self.membership)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the masks."""
        return self.cells.shape

    @property
    def nbytes(self) -> int:
        """The bytes that the arrays hold, for the budget of a cache."""
        return self.cells.nbytes + self.membership.nbytes


def _signatures(proposals: Proposals) -> np.ndarray:
    """Return a signature of the set of masks over each pixel: uint64 (h, w)."""
    numbers = np.random.default_rng(0).integers(0, 2**64, size=len(proposals), dtype=np.uint64)
    signature = np.zeros(proposals.working_size, dtype=np.uint64)
    for packed, number, (x0, y0, x1, y1) in zip(
        proposals.packed_masks, numbers, proposals.boxes, strict=True
    ):
        mask = np.unpackbits(packed[y0:y1], axis=1, count=x1)[:, x0:]
        signature[y0:y1, x0:x1] += mask * number  # overflow wraps around, as intended
    return signature


def _masks_at(proposals: Proposals, pixels: np.ndarray) -> np.ndarray:
    """Return which masks cover the given pixels (flat indices), packed: uint8 (len(pixels), ceil(N / 8))."""
    rows, columns = np.divmod(pixels, proposals.working_size[1])
    byte, bit = np.divmod(columns, 8)
    membership = np.zeros((len(pixels), -(-len(proposals) // 8)), dtype=np.uint8)
    for index, packed in enumerate(proposals.packed_masks):
        is_inside = packed[rows, byte] >> (7 - bit).astype(np.uint8) & 1
        membership[:, index // 8] |= is_inside << (7 - index % 8)
    return membership


def label_cells(
    partition: MaskPartition,
    probabilities: np.ndarray,
    class_count: int,
    image_size: tuple[int, int],
    resampling: Resampling,
) -> LabelMap:
    """Return the same label map as :meth:`ScoreMap.label` for hard masks, in milliseconds.

    Args:
        partition: the partition of N masks.
        probabilities: float32 (N, C); 0 in the rows of masks that do not take part.
        class_count: K; the columns from K on are distractors.
        image_size: (H, W).
        resampling: how the scores are resized to the image's size.
    """
    winners = _winners(partition, probabilities)
    if resampling == "bilinear" and partition.size != image_size:
        columns, shares = _blend(partition, probabilities, winners, image_size)
    else:
        columns = resize_nearest(partition.spread(winners.columns), image_size)
        shares = resize_nearest(partition.spread(share(winners.best, winners.total)), image_size)
    if probabilities.shape[1] > class_count:
        columns[columns >= class_count] = UNLABELLED
    return LabelMap(columns, shares)


class _Winners(NamedTuple):
    """For each cell its best column (int32, -1 without a score), that score, and the sum of all (float32)."""

    columns: np.ndarray
    best: np.ndarray
    total: np.ndarray


def cell_scores(
    partition: MaskPartition, cells: slice | np.ndarray, probabilities: np.ndarray
) -> torch.Tensor:
    """Return the scores of some cells: float32 (len(cells), C).

    Torch multiplies, because NumPy's threads keep the processor busy after their work is done.
    """
    return torch.from_numpy(partition.unpack(cells)).float() @ torch.from_numpy(probabilities)


def _winners(partition: MaskPartition, probabilities: np.ndarray) -> _Winners:
    columns = np.empty(len(partition), dtype=np.int32)
    best, total = np.empty((2, len(partition)), dtype=np.float32)
    for part in blocks(len(partition), floats_each=2 * sum(probabilities.shape)):
        scores = cell_scores(partition, part, probabilities)
        best[part], columns[part] = scores.max(dim=1)
        total[part] = scores.sum(dim=1)
    columns[best <= 0] = UNLABELLED
    return _Winners(columns, best, total)


def _blend(
    partition: MaskPartition, probabilities: np.ndarray, winners: _Winners, image_size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best columns, int32 (H, W), and their shares, float32 (H, W), of bilinearly resized scores.

    Each pixel blends the scores of four source pixels. A column that wins in all four wins in every blend.
    Therefore only pixels whose source pixels have different winners are blended in full.
    """
    rows, columns = (Taps.along(*axis, "bilinear") for axis in zip(partition.size, image_size, strict=True))
    agreed = _agreed(partition.spread(winners.columns))
    best_columns = agreed.take(columns.first, axis=1).take(rows.first, axis=0)
    height, width = image_size
    best, total = (
        cv2.resize(partition.spread(of_cells), (width, height), interpolation=cv2.INTER_LINEAR)
        for of_cells in (winners.best, winners.total)
    )
    shares = share(best, total)
    mixed = np.flatnonzero(best_columns == _MIXED)
    for part in blocks(len(mixed), floats_each=4 * sum(probabilities.shape)):
        y, x = np.unravel_index(mixed[part], image_size)
        scores = _blended_scores(partition, probabilities, rows[y], columns[x])
        best, column = (found.numpy() for found in scores.max(dim=1))
        best_columns[y, x] = np.where(best > 0, column, UNLABELLED)
        shares[y, x] = share(best, scores.sum(dim=1).numpy())
    return best_columns, shares


def _agreed(columns: np.ndarray) -> np.ndarray:
    """Return at each pixel the column that its 2 × 2 window (to the lower right) has, or :data:`_MIXED`."""
    below = np.concatenate([columns[1:], columns[-1:]])
    equal = columns == below
    equal[:, :-1] &= (columns[:, :-1] == columns[:, 1:]) & (columns[:, :-1] == below[:, 1:])
    return np.where(equal, columns, _MIXED)


def _blended_scores(
    partition: MaskPartition, probabilities: np.ndarray, rows: Taps, columns: Taps
) -> torch.Tensor:
    """Return the blended scores of n pixels, given the taps of each: float32 (n, C)."""
    corners = product((rows.first, rows.second), (columns.first, columns.second))
    weights = product((1 - rows.weight, rows.weight), (1 - columns.weight, columns.weight))
    cells = np.stack([partition.cells[corner] for corner in corners], axis=1)
    is_needed = np.zeros(len(partition), dtype=bool)
    is_needed[cells] = True
    place = np.cumsum(is_needed) - 1
    return F.embedding_bag(  # one weighted sum of four rows for each pixel
        torch.from_numpy(place.take(cells)),
        cell_scores(partition, np.flatnonzero(is_needed), probabilities),
        per_sample_weights=torch.from_numpy(np.stack([v * h for v, h in weights], axis=1)),
        mode="sum",
    )
