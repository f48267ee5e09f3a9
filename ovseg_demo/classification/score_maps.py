"""Score maps and their label maps; their memory does not grow with classes × pixels.

The score of a class at a pixel is the sum of the class's probabilities over all masks, each weighted by how
much of the pixel the mask covers. The label of a pixel is the class with the highest score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ovseg_demo.classification.resampling import Resampling, Taps, resample_rows
from ovseg_demo.proposals.types import MaskQueries, Proposals

UNLABELLED = -1
BLOCK_BYTES = 32 * 2**20
"""Approximate size of the scores of one block of pixels."""


class LabelMap(NamedTuple):
    """The best class of each pixel of an image.

    Attributes:
        labels: int32 (H, W), the index of a class, or :data:`UNLABELLED` where no mask lies or a distractor
            has the highest score.
        shares: float32 (H, W) in [0, 1], the highest score divided by the sum of the pixel's scores; 0 where
            no mask lies.
    """

    labels: np.ndarray
    shares: np.ndarray

    def leave_out(self, least: np.ndarray) -> LabelMap:
        """Return the map without the labels of pixels whose share is below their class's least one.

        Args:
            least: float (K,) in [0, 1], for each class.
        """
        if not least.any():
            return self
        by_label = np.append(least, 0).astype(np.float32)  # the last entry is that of UNLABELLED
        return self._replace(labels=np.where(self.shares < by_label[self.labels], UNLABELLED, self.labels))

    def summarise(self, class_count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of pixels of each class, int64 (K,), and their mean share, float32 (K,).

        The mean share of a class without pixels is 0.
        """
        labels, shares = self.labels.ravel(), self.shares.ravel()
        # Neighbours in a row are mostly equal, so runs are counted instead of pixels.
        starts = np.flatnonzero(np.concatenate([[True], labels[1:] != labels[:-1]]))
        runs, count = labels[starts] + 1, class_count + 1
        areas = np.bincount(runs, np.diff(starts, append=labels.size), count)[1:].astype(np.int64)
        sums = np.bincount(runs, np.add.reduceat(shares, starts, dtype=np.float64), count)[1:]
        return areas, (sums / np.maximum(areas, 1)).astype(np.float32)


class Masks(Protocol):
    """M masks at the source size (h, w) of a score map.

    Attributes:
        size: (h, w).
        indices: int64 (M,), the index of each mask among the proposals or queries.
    """

    size: tuple[int, int]
    indices: np.ndarray

    def rows(self, start: int, stop: int, which: slice = slice(None)) -> torch.Tensor:
        """Return some rows of some masks: float32 (masks, stop - start, w) in [0, 1]."""
        ...


@dataclass(frozen=True, eq=False)
class HardMasks:
    """The binary masks of the kept proposals, for :class:`ovseg_demo.classification.rules.GranularityRule`.

    Attributes:
        proposals: N masks.
        indices: int64 (M,), the proposals that take part.
    """

    proposals: Proposals
    indices: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the masks."""
        return self.proposals.working_size

    def rows(self, start: int, stop: int, which: slice = slice(None)) -> torch.Tensor:
        """Return rows as :meth:`Masks.rows` does; the values are 0 and 1."""
        packed = self.proposals.packed_masks[self.indices[which], start:stop]
        return torch.from_numpy(np.unpackbits(packed, axis=-1, count=self.size[1])).float()


@dataclass(frozen=True, eq=False)
class SoftMasks:
    """The soft masks of all queries, for :class:`ovseg_demo.classification.rules.EnsembleRule`.

    Attributes:
        queries: the queries, whose low-resolution logits span the padded input.
        size: (h, w) of the input before padding.
    """

    queries: MaskQueries
    size: tuple[int, int]

    @property
    def indices(self) -> np.ndarray:
        """The indices of the queries."""
        return np.arange(len(self.queries.mask_logits))

    def rows(self, start: int, stop: int, which: slice = slice(None)) -> torch.Tensor:
        """Return rows as :meth:`Masks.rows` does: the sigmoid of the resized and cropped logits."""
        logits = torch.from_numpy(self.queries.mask_logits[which])
        padded_height, padded_width = self.queries.padded_size
        rows = Taps.along(logits.shape[1], padded_height, "bilinear")[start:stop]
        upsampled = resample_rows(lambda top, bottom: logits[:, top:bottom], rows, padded_width, "bilinear")
        return upsampled[..., : self.size[1]].sigmoid()


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """The scores of each pixel of an image in C columns: K classes, then the distractors.

    Attributes:
        masks: the M masks that take part.
        probabilities: float32 (M, C).
        class_count: K.
        image_size: (H, W), to which the scores are resampled.
        resampling: how the scores are resampled.
    """

    masks: Masks
    probabilities: np.ndarray
    class_count: int
    image_size: tuple[int, int]
    resampling: Resampling

    def strips(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the map in strips from top to bottom: first row, and scores float32 (C, rows, W)."""
        probabilities = torch.from_numpy(self.probabilities).T.contiguous()

        def score_rows(start: int, stop: int) -> torch.Tensor:
            return torch.tensordot(probabilities, self.masks.rows(start, stop), dims=1)

        for part in self._row_blocks(floats_a_pixel=4 * sum(probabilities.shape)):
            yield part.start, resample_rows(score_rows, self._rows[part], self.image_size[1], self.resampling)

    def label(self) -> LabelMap:
        """Return the class with the highest score of each pixel.

        Of equal scores the first wins. A pixel without a positive score is unlabelled.
        """
        labels = np.full(self.image_size, UNLABELLED, dtype=np.int32)
        shares = np.zeros(self.image_size, dtype=np.float32)
        for start, scores in self.strips():
            best, columns = scores.max(dim=0)
            columns[(best <= 0) | (columns >= self.class_count)] = UNLABELLED
            rows = slice(start, start + scores.shape[1])
            labels[rows] = columns.numpy()
            shares[rows] = share(best.numpy(), scores.sum(dim=0).numpy())
        return LabelMap(labels, shares)

    def mask_weights(self, x: int, y: int) -> np.ndarray:
        """Return the part of the pixel (``x``, ``y``) that each mask covers: float32 (M,) in [0, 1]."""
        if not len(self.masks.indices):
            return np.zeros(0, np.float32)
        row = resample_rows(self.masks.rows, self._rows[y : y + 1], self.image_size[1], self.resampling)
        return row[:, 0, x].numpy()

    def mask(self, index: int) -> np.ndarray:
        """Return one mask at the image's size: bool (H, W), true where it covers more than half a pixel."""

        def read(start: int, stop: int) -> torch.Tensor:
            return self.masks.rows(start, stop, slice(index, index + 1))

        strips = [
            resample_rows(read, self._rows[part], self.image_size[1], self.resampling)[0] > 0.5
            for part in self._row_blocks(floats_a_pixel=8)
        ]
        return torch.cat(strips).numpy()

    @property
    def _rows(self) -> Taps:
        return Taps.along(self.masks.size[0], self.image_size[0], self.resampling)

    def _row_blocks(self, floats_a_pixel: int) -> Iterator[slice]:
        width = max(self.masks.size[1], self.image_size[1])
        return blocks(self.image_size[0], floats_each=width * floats_a_pixel)


def blocks(count: int, floats_each: int) -> Iterator[slice]:
    """Yield slices that divide ``range(count)``; the items of one take about :data:`BLOCK_BYTES`."""
    length = max(1, BLOCK_BYTES // (4 * floats_each))
    return (slice(start, min(start + length, count)) for start in range(0, count, length))


def share(best: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return ``best / total``, or 0 where both are 0."""
    shares = np.maximum(total, np.finfo(np.float32).tiny)
    return np.divide(best, shares, out=shares)  # in place, as new memory costs more than the division
