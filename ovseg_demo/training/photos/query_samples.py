"""Photographs with all of their known masks for MaskFormer: labels, a teacher's masks, and pasted scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ovseg_demo.training.photos.cutouts import paste_cutouts
from ovseg_demo.training.photos.distilled_masks import read_masks
from ovseg_demo.training.photos.mask_samples import StampDonor, connected_parts, vary_tone_and_colour
from ovseg_demo.training.photos.sources import (
    CAMVID_NAMES,
    Photograph,
    Region,
    read_bsds500,
    read_camvid,
    read_ccp,
    read_coco,
    read_coco_names,
    read_imagenet_sample,
    read_named_segments,
)
from ovseg_demo.training.photos.stamps import read_stamps

SHARES = {"coco": 0.40, "bsds500": 0.17, "imagenet": 0.18, "paste": 0.17, "ccp": 0.05, "camvid": 0.03}
"""How often each source is drawn; "paste": things cut out of some photographs and put on another."""

STRIDE = 4
"""Pixels of the image along a side of a mask's pixel."""

UNNAMED, EMPTY = -1, -2
"""Stand for the name of a mask without one, and of a row without a mask."""

_SMALLEST = 10
"""Mask pixels under which a region is not asked for."""

_SMALLEST_CUT = 0.25
"""Share of a photograph's area that is seen at least; every third sample shows as much as fits."""

_DUPLICATE = 0.5
"""IoU from which a mask of the teacher repeats a labelled one."""

_TEACHER_WEIGHT = 0.5
"""Weight of a teacher's mask; a labelled one has 1."""


class QuerySample(TypedDict):
    """One sample.

    Attributes:
        image: uint8 (3, H, W), RGB.
        masks: bool (T, H / 4, W / 4), labelled ones first.
        names: int64 (T,), index into the source's names; -1 without a name, -2 for rows without a mask.
        weights: float32 (T,), how much a mask counts.
        source: int64 (), index into :data:`SHARES`.
    """

    image: Tensor
    masks: Tensor
    names: Tensor
    weights: Tensor
    source: Tensor


@dataclass(frozen=True)
class _Scene:
    image: np.ndarray
    regions: list[Region]
    others: Sequence[np.ndarray] = field(default=())  # bool (h, w) at a size of their own


class QuerySamples(Dataset):
    """An endless stream of samples; ``[i]`` depends on ``i`` and the arguments alone.

    Args:
        root: folder of labelled photographs; see :mod:`.sources`.
        teacher: folder of a teacher's masks; see :mod:`.distilled_masks`.
        side: of square samples in pixels, a multiple of 32; others are higher or wider (:func:`shapes`).
        batch_size: samples of one shape that follow each other.
        masks: T.
        seed: of the stream.
        stamps: folder of cut-out things, which are pasted, too; ``None`` for none.
    """

    def __init__(
        self,
        root: Path,
        teacher: Path,
        *,
        side: int,
        batch_size: int,
        masks: int,
        seed: int = 0,
        stamps: Path | None = None,
    ):
        self.root, self.teacher, self.stamps = Path(root), Path(teacher), stamps
        self.shapes = shapes(side)
        self.batch_size, self.masks, self.seed = batch_size, masks, seed

    @cached_property
    def _photographs(self) -> dict[str, list[Photograph]]:
        return {
            "coco": [photograph for photograph in read_coco(self.root, "train") if photograph.annotations],
            "bsds500": read_bsds500(self.root, "train"),
            "camvid": read_camvid(self.root, "train"),
            "ccp": read_ccp(self.root),
            "imagenet": read_imagenet_sample(self.root),
        }

    @cached_property
    def _cut_outs(self) -> list[StampDonor]:
        return [StampDonor(stamp) for stamp in read_stamps(self.stamps)] if self.stamps else []

    @cached_property
    def names(self) -> list[list[str]]:
        """The names of each source's regions, in the order of :data:`SHARES`."""
        return source_names(self.root)

    @cached_property
    def _segments(self) -> dict[Path, list[Region]]:
        named = read_named_segments(self.root, "train")
        return {photograph.path: regions for photograph, regions in named}

    def __getitem__(self, index: int) -> QuerySample:
        rng = np.random.default_rng([self.seed, index, 7])
        batch_rng = np.random.default_rng([self.seed, index // self.batch_size, 8])
        shape = self.shapes[batch_rng.integers(len(self.shapes))]
        while True:  # a cut may hold no region that is large enough
            source = str(rng.choice(list(SHARES), p=list(SHARES.values())))
            sample = self._sample(self._scene(source, rng), source, shape, rng)
            if sample is not None:
                return sample

    def _scene(self, source: str, rng: np.random.Generator) -> _Scene:
        if source == "paste":
            return self._pasted(rng)
        photographs = self._photographs[source]
        photograph = photographs[rng.integers(len(photographs))]
        image = photograph.image()
        others = read_masks(self.teacher, photograph) if source in ("coco", "bsds500", "imagenet") else ()
        if source == "bsds500":
            partitions = photograph.partitions()
            partition = partitions[rng.integers(len(partitions))]
            segments = [Region(partition == label) for label in np.unique(partition)]
            return _Scene(image, [*self._segments.get(photograph.path, []), *segments], others)
        regions = photograph.regions()
        if source == "ccp" and regions:
            person = Region(np.logical_or.reduce([region.mask for region in regions]))
            return _Scene(image, [person, *regions])
        if source == "camvid":
            regions = [
                Region(part, region.name) for region in regions for part in connected_parts(region.mask)
            ]
        return _Scene(image, regions, others)

    def _pasted(self, rng: np.random.Generator) -> _Scene:
        backgrounds = self._photographs["imagenet" if rng.random() < 0.7 else "bsds500"]
        background = backgrounds[rng.integers(len(backgrounds))].image()
        donors: list[Photograph | StampDonor] = []
        for _ in range(rng.integers(2, 5)):
            items = self._photographs["coco" if rng.random() < 0.7 else "ccp"]
            if self._cut_outs and rng.random() < 0.4:
                items = self._cut_outs
            donors.append(items[rng.integers(len(items))])
        pasted = paste_cutouts(background, donors, rng)
        return _Scene(pasted.image, [Region(mask) for mask in pasted.masks])

    def _sample(
        self, scene: _Scene, source: str, shape: tuple[int, int], rng: np.random.Generator
    ) -> QuerySample | None:
        top, left, bottom, right = _cut(scene.image.shape[:2], shape, rng)
        flip = rng.random() < 0.5
        image = _cut_out(scene.image, (top, left, bottom, right), shape)
        size = (shape[0] // STRIDE, shape[1] // STRIDE)

        def cut(mask: np.ndarray) -> np.ndarray:
            return _cut_out(mask.astype(np.uint8) * 255, (top, left, bottom, right), size) > 127

        names = self.names[list(SHARES).index(source)]
        found: list[tuple[np.ndarray, int, float]] = []
        for region in scene.regions:
            mask = cut(region.mask)
            if np.count_nonzero(mask) >= _SMALLEST and not (
                not region.name and _repeats(mask, [other for other, name, _ in found if name != UNNAMED])
            ):
                found.append((mask, names.index(region.name) if region.name else UNNAMED, 1.0))
        found = [found[number] for number in rng.permutation(len(found))[: self.masks]]
        labelled = [mask for mask, *_ in found]
        for number in rng.permutation(len(scene.others)):
            if len(found) == self.masks:
                break
            mask = cut(scene.others[number])
            if np.count_nonzero(mask) >= _SMALLEST and not _repeats(mask, labelled):
                found.append((mask, UNNAMED, _TEACHER_WEIGHT))
        if not found:
            return None
        masks = np.zeros((self.masks, *size), bool)
        masks[: len(found)] = np.stack([mask for mask, *_ in found])
        if flip:
            image, masks = image[:, ::-1], masks[..., ::-1]
        rows = np.full(self.masks, EMPTY)
        rows[: len(found)] = [name for _, name, _ in found]
        weights = np.zeros(self.masks, np.float32)
        weights[: len(found)] = [weight for *_, weight in found]
        return QuerySample(
            image=torch.from_numpy(vary_tone_and_colour(image, rng)).permute(2, 0, 1).contiguous(),
            masks=torch.from_numpy(masks.copy()),
            names=torch.from_numpy(rows),
            weights=torch.from_numpy(weights),
            source=torch.tensor(list(SHARES).index(source)),
        )


def shapes(side: int) -> tuple[tuple[int, int], ...]:
    """Return the heights and widths in pixels of samples: square, wide and high, of about the same area."""
    shorter, longer = side - 32, side + side // 4 // 32 * 32
    return (side, side), (shorter, longer), (longer, shorter)


def source_names(root: Path) -> list[list[str]]:
    """Return the names of each source's regions, in the order of :data:`SHARES`.

    COCO's photographs and those of BSDS500 have their names and each other's, so that a dog is not grass.
    """
    segments = {region.name for _, regions in read_named_segments(root, "train") for region in regions}
    things = list(dict.fromkeys([*read_coco_names(root), *sorted(segments)]))
    clothes = [name for name in read_ccp(root)[0].label_names if name]
    names = {"coco": things, "bsds500": things, "ccp": clothes, "camvid": list(CAMVID_NAMES)}
    return [names.get(source, []) for source in SHARES]


def _cut(
    size: tuple[int, int], shape: tuple[int, int], rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Return top, left, bottom and right of a random cut in shares of the image's height and width."""
    height, width = size
    aspect = shape[1] / shape[0] * np.exp(rng.uniform(-0.2, 0.2))
    rows = min(height, width / aspect)
    rows *= 1.0 if rng.random() < 1 / 3 else np.sqrt(rng.uniform(_SMALLEST_CUT, 1.0))
    extent = np.array([rows / height, rows * aspect / width])
    top, left = rng.random(2) * (1 - extent)
    return float(top), float(left), float(top + extent[0]), float(left + extent[1])


def _cut_out(pixels: np.ndarray, cut: tuple[float, float, float, float], size: tuple[int, int]) -> np.ndarray:
    """Return a cut of an image or mask, resized to (height, width)."""
    height, width = pixels.shape[:2]
    top, bottom = round(cut[0] * height), round(cut[2] * height)
    left, right = round(cut[1] * width), round(cut[3] * width)
    piece = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    mode = cv2.INTER_AREA if piece.shape[0] > size[0] else cv2.INTER_LINEAR
    return cv2.resize(piece, size[::-1], interpolation=mode)


def _repeats(mask: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    """Return whether one of the other masks has a high IoU with a mask."""
    area = np.count_nonzero(mask)
    for other in others:
        overlap = np.count_nonzero(mask & other)
        if overlap and overlap > _DUPLICATE * (area + np.count_nonzero(other) - overlap):
            return True
    return False
