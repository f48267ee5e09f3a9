"""A segmentation at the size of its file, which may be larger than the image that was segmented."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np

from ovseg_demo.classification.resampling import resize_nearest
from ovseg_demo.classification.score_maps import UNLABELLED
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.images import load_image
from ovseg_demo.progress import WRITING

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation

T = TypeVar("T")

MODEL, USER = "model", "user"
"""Who named a pixel."""

_BLOCK = 2**22  # pixels that are looked at together


@dataclass(frozen=True, eq=False)
class SizedSegmentation:
    """A segmentation at the size of an export.

    Its memory grows with the pixels and not with the classes: one label map, made when it is first read.

    Attributes:
        segmentation: the segmentation at the size of the image that was segmented.
        size: (H, W) of the export.
        options: what was chosen about the export.
    """

    segmentation: Segmentation
    size: tuple[int, int]
    options: ExportOptions

    @classmethod
    def of(cls, segmentation: Segmentation, options: ExportOptions) -> SizedSegmentation:
        """Return a segmentation at the upright size of ``options.source``, or at its own without one."""
        source = options.source
        size = segmentation.label_map.shape if source is None else source.upright_size[::-1]
        return cls(segmentation, size, options)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the K classes."""
        return self.segmentation.class_names

    @property
    def scale(self) -> float:
        """The length of the exported image's longer side divided by that of the segmented image."""
        return max(self.size) / max(self.segmentation.label_map.shape)

    @cached_property
    def label_map(self) -> np.ndarray:
        """The label map by nearest neighbour: int32 (H, W), class indices, or −1."""
        return resize_nearest(self.segmentation.label_map, self.size)

    @cached_property
    def areas(self) -> np.ndarray:
        """The number of pixels of each class: int64 (K,)."""
        counts = np.zeros(len(self.class_names) + 1, np.int64)
        rows = max(1, _BLOCK // self.size[1])
        for start in range(0, self.size[0], rows):
            values = self.label_map[start : start + rows].ravel() + 1
            counts += np.bincount(values, minlength=len(counts))
        return counts[1:]

    def by_source(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield :data:`MODEL` and the label map of what it named, then the same of :data:`USER`, if any."""
        if not self.segmentation.corrections:
            yield MODEL, self.label_map
            return
        corrected = resize_nearest(self.segmentation.corrected, self.size)
        yield MODEL, np.where(corrected, UNLABELLED, self.label_map)
        yield USER, np.where(corrected, self.label_map, UNLABELLED)

    def follow(self, items: Iterable[T], total: int) -> Iterator[T]:
        """Yield items and report after each how many of the total are done.

        Raises:
            Cancelled: ``options.progress`` does not want the file any more.
        """
        for done, item in enumerate(items, start=1):
            yield item
            self.options.progress(WRITING, min(done, total), total)

    def image(self) -> np.ndarray:
        """Return the image: uint8 RGB (H, W, 3).

        The pixels come from ``options.file`` if the export is larger than the segmented image.
        Without a file, the segmented image is enlarged.

        Raises:
            ImageError: the file cannot be read any more.
        """
        if self.segmentation.image.shape[:2] == self.size:
            return self.segmentation.image
        if self.options.file is not None:
            return load_image(self.options.file)
        return cv2.resize(self.segmentation.image, self.size[::-1], interpolation=cv2.INTER_CUBIC)

    def kept_masks(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name of the best class, and bool (H, W), of each mask that takes part in the map.

        Each mask is enlarged from its own resolution.
        """
        for index in np.flatnonzero(self.segmentation.kept):
            name = self.class_names[self.segmentation.probabilities[index].argmax()]
            yield name, resize_nearest(self.segmentation.proposals.unpack(index), self.size)
