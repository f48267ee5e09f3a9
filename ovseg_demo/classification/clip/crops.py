"""One crop for each mask, for any CLIP of open_clip: the kind of region that OVSeg classifies."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from copy import copy
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.duplicates import find_originals
from ovseg_demo.classification.regions import iterate_regions
from ovseg_demo.classification.types import RegionEmbeddings
from ovseg_demo.progress import EMBEDDING_REGIONS, ProgressCallback, RegionsCallback
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime

_CROPS_AT_ONCE = {"cpu": 4}
_CROPS_AT_ONCE_ELSEWHERE = 64


class Crops:
    """A :class:`.RegionReader` that runs the whole image tower on each masked crop.

    Args:
        visual: the image tower; it gives the features (B, D) of crops (B, 3, S, S).
        size: side of its square input, in pixels.
        width: D, of the embeddings.
        mean: of the tower's training images, RGB values in [0, 1].
        std: their standard deviation.
        runtime: the device and precision of the tower.
    """

    def __init__(
        self,
        visual: Callable[[Tensor], Tensor],
        size: int,
        width: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        runtime: Runtime,
    ):
        self._visual = visual
        self._size = size
        self._width = width
        self._pixels = mean, std
        self._runtime = runtime
        self._batch = _CROPS_AT_ONCE.get(runtime.device.type, _CROPS_AT_ONCE_ELSEWHERE)

    @property
    def settings(self) -> Hashable:
        """See :attr:`.RegionReader.settings`."""
        return self._size, self._pixels

    def fallbacks(self) -> Iterator[tuple[str, Self]]:
        """Yield a variant that reads one crop at a time."""
        variant = copy(self)
        variant._batch = 1
        yield "one at a time", variant

    @torch.inference_mode()
    def embed(
        self, proposals: Proposals, progress: ProgressCallback, on_regions: RegionsCallback | None
    ) -> RegionEmbeddings:
        """See :meth:`.RegionReader.embed`; the largest regions come first."""

        def encode(regions: Tensor, masks: Tensor) -> Tensor:
            with self._runtime.autocast():
                return self._visual(regions).float()

        distinct, place = distinct_crops(proposals)
        regions = iterate_regions(
            proposals, self._size, self._batch, self._runtime.device, distinct, *self._pixels
        )
        return embed_crops(regions, encode, place, self._width, progress, on_regions)


def distinct_crops(proposals: Proposals) -> tuple[np.ndarray, np.ndarray]:
    """Return which proposals make crops that differ, the largest first, and the place of each one's crop.

    Returns:
        int64 (M,), indices of proposals; and int64 (N,), for each proposal an index of the first array.
    """
    distinct, place = np.unique(find_originals(proposals), return_inverse=True)
    order = np.argsort(-proposals.areas[distinct], kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return distinct[order], rank[place]


def embed_crops(
    batches: Iterable[tuple[Tensor, Tensor]],
    encode: Callable[[Tensor, Tensor], Tensor],
    place: np.ndarray,
    width: int,
    progress: ProgressCallback,
    on_regions: RegionsCallback | None,
) -> RegionEmbeddings:
    """Return the unit-length embeddings of crops.

    Args:
        batches: regions and masks of M crops, from :func:`.regions.iterate_regions`.
        encode: gives the features, float32 (B, D), of a batch.
        place: int64 (N,), the crop of each proposal, from :func:`distinct_crops`.
        width: D.
        progress: called after each batch; it may stop the work by raising an exception.
        on_regions: called after each batch with float32 (N, D), 0 for regions that are not embedded yet.
    """
    count = int(place.max()) + 1 if len(place) else 0
    vectors = np.zeros((count, width), np.float32)
    done = 0
    progress(EMBEDDING_REGIONS, done, count)
    for regions, masks in batches:
        features = F.normalize(encode(regions, masks), dim=-1).cpu().numpy()
        vectors[done : done + len(features)] = features
        done += len(features)
        if on_regions is not None:
            on_regions(vectors[place])
        progress(EMBEDDING_REGIONS, done, count)
    return RegionEmbeddings(vectors[place])
