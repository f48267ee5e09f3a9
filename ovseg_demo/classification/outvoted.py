"""Classes that are in no pixel of a map although a mask is surely theirs, and what brings them into it.

A pixel's label is the class with the highest sum over all masks of the pixel that take part
(docs/explanation/method.md). A small mask is outvoted where larger masks over it add up to more. Another
granularity lets other masks take part.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ovseg_demo.classification.labeling import keep_masks
from ovseg_demo.classification.partition import MaskPartition, cell_scores

SURE = 0.9
"""The probability from which on a mask is surely of a class."""

GRANULARITIES = tuple(step / 20 for step in range(21))
"""The granularities that are tried."""

_LEAST_PART = 0.1
"""The part of its best mask that a class must get to be in the map."""

_MOST_CELLS = 512
"""Cells of a mask that are tried, the largest first: the others hold few of its pixels."""


class Outvoted(NamedTuple):
    """A class in no pixel of a map, although a mask is surely of it.

    Attributes:
        index: of the class.
        score: the probability of its best mask, from :data:`SURE` to 1.
        granularity: the one nearest to the map's at which the class is in the map; ``None`` if it is at none,
            or where the granularity is not the reason.
        share: where the class comes first but for a least score, the share of the scores that it has there;
            otherwise 0.
    """

    index: int
    score: float
    granularity: float | None
    share: float


def find_outvoted(
    partition: MaskPartition,
    probabilities: np.ndarray,
    areas: np.ndarray,
    granularity: float,
) -> list[Outvoted]:
    """Return the classes without a pixel that a mask is surely of, the best scores first.

    It takes milliseconds: only the cells of each class's best mask are scored.

    Args:
        partition: the partition of N masks.
        probabilities: float32 (N, C), of K classes, then of the distractors.
        areas: int64 (K,), the pixels of each class in the map.
        granularity: of the map.
    """
    count = len(areas)
    best = probabilities[:, :count].max(axis=0, initial=0)
    missing = np.flatnonzero((areas == 0) & (best >= SURE))
    if not missing.size:
        return []
    sizes = np.bincount(partition.cells.ravel(), minlength=len(partition))
    found = []
    for index in missing[np.argsort(-best[missing], kind="stable")]:
        votes = _Votes(partition, sizes, probabilities, count, int(index))
        share = votes.share(granularity)
        nearest = None if share else votes.nearest(granularity)
        found.append(Outvoted(int(index), float(best[index]), nearest, share))
    return found


class _Votes:
    """The scores in the cells of a class's best mask, at any granularity."""

    def __init__(
        self, partition: MaskPartition, sizes: np.ndarray, probabilities: np.ndarray, count: int, index: int
    ):
        mask = probabilities[:, index].argmax()
        cells = np.flatnonzero(partition.membership[:, mask // 8] >> (7 - mask % 8) & 1)
        self._cells = cells[np.argsort(-sizes[cells], kind="stable")[:_MOST_CELLS]]
        self._sizes = sizes[self._cells]
        self._needed = max(1, _LEAST_PART * sizes[cells].sum())
        self._partition = partition
        self._probabilities = probabilities
        self._count = count
        self._index = index

    def share(self, granularity: float) -> float:
        """Return the highest share that the class has in enough pixels which it wins; 0 without enough."""
        return self._share_of(keep_masks(self._probabilities[:, : self._count], granularity))

    def nearest(self, granularity: float) -> float | None:
        """Return the nearest granularity at which the class wins enough pixels, the lower of two."""
        seen: set[bytes] = set()
        for candidate in sorted(GRANULARITIES, key=lambda one: (abs(one - granularity), one)):
            kept = keep_masks(self._probabilities[:, : self._count], candidate)
            if kept.tobytes() not in seen and self._share_of(kept):
                return candidate
            seen.add(kept.tobytes())
        return None

    def _share_of(self, kept: np.ndarray) -> float:
        scores = cell_scores(self._partition, self._cells, self._probabilities * kept[:, None]).numpy()
        wins = (scores.argmax(axis=1) == self._index) & (scores[:, self._index] > 0)
        shares = scores[wins, self._index] / scores[wins].sum(axis=1)
        order = np.argsort(-shares)
        is_enough = np.cumsum(self._sizes[wins][order]) >= self._needed
        return float(shares[order][is_enough.argmax()]) if is_enough.any() else 0.0
