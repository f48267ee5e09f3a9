"""Photographs with masks for Segment Anything: labels of four sources, and cut-and-paste scenes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypedDict, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ovseg_demo.training.photos.cutouts import paste_cutouts
from ovseg_demo.training.photos.sources import (
    Photograph,
    Region,
    Split,
    read_bsds500,
    read_camvid,
    read_ccp,
    read_coco,
    read_imagenet_sample,
)
from ovseg_demo.training.photos.stamps import Stamp, read_stamps
from ovseg_demo.training.sam_samples import MASK_PIXELS

_Item = TypeVar("_Item")

SHARES = {"bsds500": 0.30, "coco": 0.35, "ccp": 0.07, "camvid": 0.05, "paste": 0.23}
"""How often each source is drawn; "paste": things cut out of some photographs and put on another."""

STAMP_SHARE = 0.4
"""How many of the pasted things are stamps, if there are any."""

LONG_SIDES = (300.0, 820.0)
"""Longer side in pixels to which photographs are resized, log-uniform, before a square is cut out."""

_SMALLEST = 20
"""Mask pixels (a quarter of the image's, along each side) under which a region is not asked for."""
_SIZE_POWER = 0.3
"""A mask is asked for in proportion to its area to this power."""


class MaskSample(TypedDict):
    """One sample.

    Attributes:
        image: uint8 (3, S, S), RGB; zeros beyond the photograph, at the bottom and right.
        corner: int64 (2,), row and column of the first cell within the network's full input.
        masks: bool (P, G, G), the masks that the points ask for; G = S / 4.
        points: float32 (P, 2), x and y in mask pixels.
        valid: bool (G, G), where the photograph is.
        regions: int64 (G, G), a partition for the auxiliary loss on pixel pairs; -1 where nothing is known.
    """

    image: Tensor
    corner: Tensor
    masks: Tensor
    points: Tensor
    valid: Tensor
    regions: Tensor


@dataclass(frozen=True)
class _Scene:
    image: np.ndarray
    masks: list[np.ndarray]  # bool (H, W), may overlap
    partition: np.ndarray  # int32 (H, W), -1 where unknown


class MaskSamples(Dataset):
    """An endless stream of samples; ``[i]`` depends on ``i`` and the arguments alone.

    Args:
        root: folder of labelled photographs; see :mod:`.sources`.
        side: S in pixels, a multiple of 32.
        grid: cells along a side of the network's full input.
        prompts: P.
        seed: of the stream.
        split: "train", or "val" for BSDS500 and COCO in turns, whole and unchanged.
        stamps: folder of cut-out things, which are pasted, too; ``None`` for none.
    """

    def __init__(
        self,
        root: Path,
        *,
        side: int,
        grid: int,
        prompts: int,
        seed: int = 0,
        split: Split = "train",
        stamps: Path | None = None,
    ):
        self.root, self.side, self.grid, self.prompts = Path(root), side, grid, prompts
        self.seed, self.split, self.stamps = seed, split, stamps

    @cached_property
    def _photographs(self) -> dict[str, list[Photograph]]:
        found = {"bsds500": read_bsds500(self.root, self.split), "coco": read_coco(self.root, self.split)}
        if self.split == "train":
            found |= {"camvid": read_camvid(self.root, "train"), "ccp": read_ccp(self.root)}
            found["imagenet"] = read_imagenet_sample(self.root)
        found["coco"] = [photograph for photograph in found["coco"] if photograph.annotations]
        return found

    @cached_property
    def _cut_outs(self) -> list[StampDonor]:
        return [StampDonor(stamp) for stamp in read_stamps(self.stamps)] if self.stamps else []

    def __getitem__(self, index: int) -> MaskSample:
        rng = np.random.default_rng([self.seed, index, self.split == "val"])
        if self.split == "val":
            source = ("bsds500", "coco")[index % 2]
            photographs = self._photographs[source]
            for number in range(index // 2, index // 2 + len(photographs)):
                scene = _labelled_scene(photographs[number % len(photographs)], rng)
                try:
                    return self._sample(scene, rng, long_side=self.side, vary=False)
                except _NoRegionError:
                    continue  # all of its regions are too small: take the next one
            raise ValueError(f"No photograph of {source} has a region of {_SMALLEST} mask pixels.")
        while True:  # a cut may hold no region that is large enough
            scene = self._draw(rng)
            long_side = float(np.exp(rng.uniform(*np.log(LONG_SIDES))))
            try:
                return self._sample(scene, rng, long_side, vary=True)
            except _NoRegionError:
                continue

    def _draw(self, rng: np.random.Generator) -> _Scene:
        source = rng.choice(list(SHARES), p=list(SHARES.values()))
        if source != "paste":
            return _labelled_scene(_any(self._photographs[source], rng), rng)
        background = _any(self._photographs["imagenet" if rng.random() < 0.7 else "bsds500"], rng).image()
        donors = [self._donor(rng) for _ in range(rng.integers(1, 4))]
        pasted = paste_cutouts(background, donors, rng)
        return _Scene(pasted.image, pasted.masks, pasted.partition)

    def _donor(self, rng: np.random.Generator) -> Photograph | StampDonor:
        if self._cut_outs and rng.random() < STAMP_SHARE:
            return _any(self._cut_outs, rng)
        return _any(self._photographs["coco" if rng.random() < 0.7 else "ccp"], rng)

    def _sample(self, scene: _Scene, rng: np.random.Generator, long_side: float, vary: bool) -> MaskSample:
        height, width = scene.image.shape[:2]
        scale = long_side / max(height, width)
        size = (max(32, round(width * scale)), max(32, round(height * scale)))
        flip = vary and rng.random() < 0.5
        rooms = [max(0, length - self.side) for length in size]
        left, top = (int(rng.integers(room + 1)) // 16 * 16 for room in rooms)
        image = cv2.resize(scene.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        image = image[top : top + self.side, left : left + self.side]
        if vary:
            image = vary_tone_and_colour(image, rng)
        rows, columns = (-(-length // MASK_PIXELS) for length in image.shape[:2])
        mask_size = tuple(-(-length // MASK_PIXELS) for length in size)
        y, x = (slice(first // MASK_PIXELS, first // MASK_PIXELS + self.side // MASK_PIXELS)
                for first in (top, left))  # fmt: skip
        cut = [
            cv2.resize(mask.astype(np.uint8) * 255, mask_size, interpolation=cv2.INTER_AREA)[y, x] > 127
            for mask in scene.masks
        ]
        cut = [mask for mask in cut if np.count_nonzero(mask) >= _SMALLEST]
        if not cut:
            raise _NoRegionError
        masks = np.stack(cut)
        regions = cv2.resize(scene.partition, mask_size, interpolation=cv2.INTER_NEAREST)[y, x]
        if flip:
            image, masks, regions = image[:, ::-1], masks[..., ::-1], regions[:, ::-1]
        chosen, points = _choose(masks, self.prompts, rng)
        grid = self.side // MASK_PIXELS
        corner = [min(first // 16, self.grid - self.side // 16) for first in (top, left)]
        valid = np.zeros((grid, grid), bool)
        valid[:rows, :columns] = True
        return MaskSample(
            image=torch.from_numpy(_pad(image, self.side, 0)).permute(2, 0, 1).contiguous(),
            corner=torch.tensor(corner),
            masks=torch.from_numpy(np.stack([_pad(mask, grid, False) for mask in masks[chosen]])),
            points=torch.from_numpy(points),
            valid=torch.from_numpy(valid),
            regions=torch.from_numpy(_pad(regions, grid, -1).astype(np.int64)),
        )


@dataclass(frozen=True)
class StampDonor:
    """A stamp as a donor for :func:`.cutouts.paste_cutouts`."""

    stamp: Stamp
    source: str = "stamp"

    def image(self) -> np.ndarray:
        """Return the stamp's pixels: RGB uint8 (H, W, 3)."""
        return np.ascontiguousarray(self.stamp.pixels()[..., :3])

    def regions(self) -> list[Region]:
        """Return what can be seen of it, under its noun."""
        return [Region(self.stamp.pixels()[..., 3] > 127, self.stamp.noun)]


class _NoRegionError(Exception):
    pass


def _labelled_scene(photograph: Photograph, rng: np.random.Generator) -> _Scene:
    image = photograph.image()
    partitions = photograph.partitions()
    if partitions:
        partition = partitions[rng.integers(len(partitions))]
        masks = [layer == label for layer in partitions for label in np.unique(layer)]
        return _Scene(image, masks, partition.astype(np.int32))
    regions = photograph.regions()
    partition = np.full(image.shape[:2], -1, np.int32)
    if photograph.source == "coco":
        masks = [region.mask for region in regions]
    else:
        masks = [part for region in regions for part in connected_parts(region.mask)]
    by_size = sorted(range(len(masks)), key=lambda index: -np.count_nonzero(masks[index]))
    for index in by_size:
        partition[masks[index]] = index
    if photograph.source == "ccp" and regions:
        person = np.logical_or.reduce([region.mask for region in regions])
        masks += [person] * max(1, len(masks) // 3)  # asked for as often as a third of its parts
    return _Scene(image, masks, partition)


def connected_parts(mask: np.ndarray, smallest: int = 100) -> list[np.ndarray]:
    """Return the connected parts of a bool mask that have at least so many pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return [labels == part for part in range(1, count) if stats[part, cv2.CC_STAT_AREA] >= smallest]


def _choose(masks: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of random masks, int64 (P,), and a random point, float32 (P, 2), in each."""
    areas = masks.sum(axis=(1, 2)).astype(float) ** _SIZE_POWER
    chosen = rng.choice(len(masks), size=count, p=areas / areas.sum())
    points = np.empty((count, 2), np.float32)
    for point, index in zip(points, chosen, strict=True):
        rows, columns = np.nonzero(masks[index])
        pixel = rng.integers(len(rows))
        point[:] = columns[pixel] + rng.random(), rows[pixel] + rng.random()
    return chosen, points


def vary_tone_and_colour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image, RGB uint8, with another contrast, brightness and colour; sometimes in grey."""
    contrast, brightness = rng.uniform(0.75, 1.3), rng.uniform(-25, 25)
    colour = rng.uniform(0.9, 1.1, size=3)
    varied = (image.astype(np.float32) - 115) * contrast * colour + 115 + brightness
    if rng.random() < 0.05:
        varied = np.repeat(varied.mean(axis=2, keepdims=True), 3, axis=2)
    return varied.clip(0, 255).astype(np.uint8)


def _pad(array: np.ndarray, side: int, value: float) -> np.ndarray:
    rows, columns = (side - length for length in array.shape[:2])
    around = ((0, rows), (0, columns), *[(0, 0)] * (array.ndim - 2))
    return np.pad(array, around, constant_values=value)


def _any(items: list[_Item], rng: np.random.Generator) -> _Item:
    return items[rng.integers(len(items))]
