"""The regions of mask-noun pairs as training samples, cut once and stored on disk."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ovseg_demo.classification.regions import CLIP_MEAN, cut_region
from ovseg_demo.proposals.types import tight_boxes
from ovseg_demo.training.pairs_format import PAIRS_FILE, ImageSource, MaskNounPair, open_source, read_pairs
from ovseg_demo.training.pixels import to_bytes, vary_tone
from ovseg_demo.training.records import open_records, shuffled
from ovseg_demo.training.workers import receive

_CONTEXT = 0.1  # share of a box's side that an unmasked crop adds on each side

_HELD_OUT_PART = 20

_SURE = 1.0  # score of a mask that contains one class only

_VARIED_MASKS = 0.5
_OUTLINE = 5
"""Largest distance in pixels by which an outline moves."""

_CUT_OFF = 0.4
"""Largest share of a region that is cut off."""

BLANK = np.round(255 * np.array(CLIP_MEAN)).astype(np.uint8)
"""The colour outside a mask, uint8 RGB (3,)."""


@dataclass(frozen=True)
class PairRegion:
    """One sample.

    Attributes:
        masked: uint8 RGB (S, S, 3), CLIP's input, with CLIP's mean colour outside the mask.
        unmasked: uint8 RGB (S, S, 3), the same region with its surroundings.
        mask: bool (S, S).
        noun: index into :attr:`PairRegions.nouns`.
    """

    masked: np.ndarray
    unmasked: np.ndarray
    mask: np.ndarray
    noun: int


class PairRegions(Dataset):
    """An endless stream over the pairs of a folder; each pass has a new order, and new tones and outlines.

    Attributes:
        nouns: all nouns of the pairs, sorted.
        held_out: numbers of the last pairs, which the stream leaves out; see :meth:`plain`.
    """

    def __init__(
        self, folder: Path, size: int, seed: int, keep: bool, held_out: int = 0, sure_share: float = 0.0
    ):
        """Read the folder's pairs.

        Args:
            folder: see :mod:`ovseg_demo.training.pairs_format`.
            size: side of the regions, in pixels.
            seed: of the order, the tones and the outlines.
            keep: store the regions in the folder; they take about 6 · size² bytes a pair.
            held_out: number of pairs for validation; at most a twentieth of all is used.
            sure_share: share of the stream that is drawn from pairs with a score of 1, if there are any.
        """
        self.folder, self.size, self.seed, self.keep = Path(folder), size, seed, keep
        self.pairs = read_pairs(folder)
        held_out = min(held_out, len(self.pairs) // _HELD_OUT_PART)
        self.held_out = range(len(self.pairs) - held_out, len(self.pairs))
        self.nouns = sorted({pair.noun for pair in self.pairs})
        self._indices = {noun: index for index, noun in enumerate(self.nouns)}
        sure = [number for number in range(self.held_out.start) if self.pairs[number].score == _SURE]
        self._sure, self._sure_share = sure, sure_share if sure else 0.0

    def __getitem__(self, index: int) -> PairRegion:
        rng = np.random.default_rng([self.seed, index])
        region = self.plain(self._choose(index, rng))
        images = [vary_tone(region.masked, rng), vary_tone(region.unmasked, rng), region.mask]
        if rng.random() < 0.5:
            images = [np.ascontiguousarray(image[:, ::-1]) for image in images]
        masked, unmasked, mask = images
        if rng.random() < _VARIED_MASKS:
            masked, mask = vary_mask(masked, unmasked, mask, rng)
        masked[~mask] = BLANK
        return PairRegion(masked, unmasked, mask, region.noun)

    def _choose(self, index: int, rng: np.random.Generator) -> int:
        """Return the number of the pair of sample ``index``."""
        if self._sure_share and rng.random() < self._sure_share:
            return self._sure[int(rng.integers(len(self._sure)))]
        count = self.held_out.start
        return shuffled(self.seed, index + count, count)  # skips the ordered first pass

    def cut_all(self, workers: int = 0) -> None:
        """Cut the regions that are not stored yet, image by image, so that each image is loaded once.

        Args:
            workers: processes that share the images; 0 means this one.
        """
        if self.keep and not self._records["drawn"].all():
            images = _Images(self)
            loader = DataLoader(images, batch_size=None, sampler=range(len(images)), num_workers=workers)
            deque(receive(loader), 0)

    def plain(self, number: int) -> PairRegion:
        """Return the region of pair ``number`` as the classifier's input, without random changes."""
        record = self._records[number if self.keep else 0]
        if not (self.keep and record["drawn"]):
            self._cut(record, self.pairs[number])
        mask = np.unpackbits(record["mask"], axis=1, count=self.size).view(bool)
        noun = self._indices[self.pairs[number].noun]
        return PairRegion(record["masked"].copy(), record["unmasked"].copy(), mask, noun)

    @cached_property
    def _records(self) -> np.ndarray:
        """The stored records, opened on first use, so that each worker has its own mapping; or one record."""
        side = self.size
        record = np.dtype(
            [
                ("drawn", np.uint8),
                ("masked", np.uint8, (side, side, 3)),
                ("unmasked", np.uint8, (side, side, 3)),
                ("mask", np.uint8, (side, (side + 7) // 8)),
            ]
        )
        if not self.keep:
            return np.zeros(1, record)
        content = hashlib.sha256((self.folder / PAIRS_FILE).read_bytes()).hexdigest()[:12]
        return open_records(self.folder / f"regions-{side}-{content}.bin", record, len(self.pairs))

    def _cut(self, record: np.void, pair: MaskNounPair) -> None:
        image = _load(self._source, pair.image)
        mask = pair.decode_mask()
        box = tight_boxes(mask[None])[0]
        region, inside = cut_region(image, mask, box, self.size)
        context, _ = cut_region(image, np.ones_like(mask), widen(box, mask.shape), self.size)
        record["masked"], record["unmasked"] = to_bytes(region), to_bytes(context)
        record["mask"] = np.packbits(inside[0].bool().numpy(), axis=1)
        record["drawn"] = 1  # last: an interrupted cut is made again

    @cached_property
    def _source(self) -> ImageSource:
        return open_source(self.folder)


class _Images(Dataset):
    """The images of pairs; item ``i`` cuts all regions of image ``i``."""

    def __init__(self, regions: PairRegions):
        self.regions = regions
        pairs = enumerate(regions.pairs)
        self.numbers = [[number for number, _ in of_image] for _, of_image in groupby(pairs, _image_name)]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> int:
        for number in self.numbers[index]:
            self.regions.plain(number)
        return index


def _image_name(numbered: tuple[int, MaskNounPair]) -> str:
    return numbered[1].image


def collate_regions(samples: Sequence[PairRegion]) -> dict[str, Tensor]:
    """Return uint8 ``masked``, ``unmasked`` (B, S, S, 3), bool ``masks`` (B, S, S), int64 ``nouns`` (B,)."""
    return {
        "masked": torch.from_numpy(np.stack([sample.masked for sample in samples])),
        "unmasked": torch.from_numpy(np.stack([sample.unmasked for sample in samples])),
        "masks": torch.from_numpy(np.stack([sample.mask for sample in samples])),
        "nouns": torch.tensor([sample.noun for sample in samples]),
    }


def widen(box: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Return the box (4,) xyxy with some context around it, within an image of (height, width)."""
    x0, y0, x1, y1 = box
    dx, dy = round(_CONTEXT * (x1 - x0)), round(_CONTEXT * (y1 - y0))
    height, width = image_size
    return np.array([max(0, x0 - dx), max(0, y0 - dy), min(width, x1 + dx), min(height, y1 + dy)])


def vary_mask(
    masked: np.ndarray, unmasked: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return a region with an inexact mask, as proposals have: an outline wider or narrower, or a side cut.

    Args:
        masked: uint8 RGB (S, S, 3), the region.
        unmasked: uint8 RGB (S, S, 3), the region with its surroundings: the pixels that a wider mask adds.
        mask: bool (S, S).
        rng: random generator.

    Returns:
        The new region, whose colours outside the mask are arbitrary, and the new mask.
    """
    size = len(mask)
    reach = int(rng.integers(1, _OUTLINE + 1))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    change = cv2.dilate if rng.random() < 0.6 else cv2.erode
    varied = change(mask.astype(np.uint8), kernel).astype(bool)
    if rng.random() < 0.4:
        kept = round(size * (1 - rng.uniform(0, _CUT_OFF)))
        varied = np.rot90(varied, turns := int(rng.integers(4))).copy()
        varied[kept:] = False
        varied = np.rot90(varied, -turns)
    if 2 * varied.sum() < mask.sum():
        return masked, mask
    margin = round(size * _CONTEXT / (1 + 2 * _CONTEXT))  # width of the surroundings in `unmasked`
    around = cv2.resize(unmasked[margin : size - margin, margin : size - margin], (size, size))
    return np.where((varied & ~mask)[..., None], around, masked), varied


@lru_cache(maxsize=8)
def _load(source: ImageSource, image: str) -> np.ndarray:
    """Return the image; pairs of one image are adjacent, so the cache loads each image once."""
    return source.load(image)
