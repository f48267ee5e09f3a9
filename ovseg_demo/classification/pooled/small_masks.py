"""Masks that are smaller than a cell of a pooled classifier's grid: they are read as crops."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np

from ovseg_demo.classification.clip.crops import Crops
from ovseg_demo.classification.clip.reader import RegionReader
from ovseg_demo.classification.types import MOST_SMALL_CROPS, RegionEmbeddings
from ovseg_demo.progress import EMBEDDING_REGIONS, ProgressCallback, RegionsCallback
from ovseg_demo.proposals.types import Proposals


class SmallMasksAsCrops:
    """A :class:`.RegionReader` that pools, and reads a crop for each mask that no cell of the grid sees.

    A crop costs the tower as much as a twentieth to a tenth of the pass of the whole image. At most
    :data:`.types.MOST_SMALL_CROPS` masks are cropped, the largest; others have their nearest cell.

    Args:
        pooled: reads all masks in one pass of the image.
        crops: reads a mask as a crop, with the same tower.
    """

    def __init__(self, pooled: RegionReader, crops: Crops):
        self.pooled = pooled
        self._crops = crops

    @property
    def settings(self) -> Hashable:
        """See :attr:`.RegionReader.settings`."""
        return self.pooled.settings, self._crops.settings, MOST_SMALL_CROPS

    def fallbacks(self) -> Iterator[tuple[str, Self]]:
        """Yield the variants of the pooling reader, with one crop at a time."""
        _, one_at_a_time = next(self._crops.fallbacks())
        for fallback, pooled in self.pooled.fallbacks():
            variant = copy(self)
            variant.pooled, variant._crops = pooled, one_at_a_time
            yield fallback, variant

    def embed(
        self, proposals: Proposals, progress: ProgressCallback, on_regions: RegionsCallback | None
    ) -> RegionEmbeddings:
        """See :meth:`.RegionReader.embed`; the vectors come all at once."""
        found = self.pooled.embed(proposals, progress, on_regions)
        if not found.small:
            return found
        small = np.array(found.small)
        largest = small[np.argsort(-proposals.areas[small], kind="stable")[:MOST_SMALL_CROPS]]

        def report(*_: object) -> None:
            progress(EMBEDDING_REGIONS, len(proposals), len(proposals))

        vectors = found.vectors.copy()
        vectors[largest] = self._crops.embed(proposals.take(largest), report, None).vectors
        return replace(found, vectors=vectors)
