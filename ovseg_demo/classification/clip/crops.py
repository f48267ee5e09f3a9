"""One crop for each mask, for any CLIP of open_clip: the kind of region that OVSeg classifies."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from copy import copy
from typing import Self

import numpy as np
import torch
from torch import nn
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
        visual: the image tower.
        size: side of its square input, in pixels.
        width: D, of the embeddings.
        mean: of the tower's training images, RGB values in [0, 1].
        std: their standard deviation.
        runtime: the device and precision of the tower.
    """

    def __init__(
        self,
        visual: nn.Module,
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
        distinct, place = np.unique(find_originals(proposals), return_inverse=True)
        vectors = np.zeros((len(distinct), self._width), np.float32)
        order = np.argsort(-proposals.areas[distinct], kind="stable")
        done = 0
        progress(EMBEDDING_REGIONS, done, len(distinct))
        for regions, _ in iterate_regions(
            proposals, self._size, self._batch, self._runtime.device, distinct[order], *self._pixels
        ):
            with self._runtime.autocast():
                features = self._visual(regions).float()
            vectors[order[done : done + len(features)]] = F.normalize(features, dim=-1).cpu().numpy()
            done += len(features)
            if on_regions is not None:
                on_regions(vectors[place])
            progress(EMBEDDING_REGIONS, done, len(distinct))
        return RegionEmbeddings(vectors[place])
