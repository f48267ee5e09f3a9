"""TextRegion: the last block's values of a CLIP ViT, summed under each mask (arXiv 2505.23769).

The image is read once as a whole and once in a few tiles, whatever the number of masks; nothing is trained.
``docs/explanation/engines.md`` has the formulas.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.pooled.grid import masks_on_grid, resize, take_nearest_cell
from ovseg_demo.classification.types import RegionEmbeddings
from ovseg_demo.progress import EMBEDDING_REGIONS, ProgressCallback, RegionsCallback
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime, upload

LOGIT_SCALE = 50.0
"""The factor on cosines before the softmax, of CLIP and PE-Core."""

_GLOBAL_PATCH = 0.07
"""A patch is "global", and left out, if its mean cosine with the masks that it lies in exceeds that with the
other masks by less than this."""
_TILES_AT_ONCE = {"cpu": 2}
_TILES_AT_ONCE_ELSEWHERE = 16


class ViT(Protocol):
    """What :class:`TextRegion` needs of an image tower.

    Attributes:
        tile: pixels along a side of the square input.
        share_of_whole: the weight of the whole image's map; a tile's map has the weight 1.
    """

    tile: int
    share_of_whole: float

    def maps(self, pixels: Tensor) -> Tensor:
        """Return a feature for each patch, float32 (B, C, g, g), of normalised pixels (B, 3, S, S)."""
        ...

    def pool(self, weights: Tensor, features: Tensor) -> Tensor:
        """Return region embeddings (N, D) of weights (N, P) of patches with features (C, P)."""
        ...


@dataclass(frozen=True)
class TextRegionSettings:
    """How an image is resized before it is cut into tiles.

    Attributes:
        longest_side: limit of the longer side in pixels.
        shorter_side: pixels to which the shorter side is resized where the limit allows; also up.
    """

    longest_side: int = 2016
    shorter_side: int = 672

    @classmethod
    def of_tiles(cls, side: int) -> Self:
        """Return settings that cut an image into tiles of ``side`` pixels as the default does into 336."""
        return cls(longest_side=6 * side, shorter_side=2 * side)


class Tiles(NamedTuple):
    """The input of the tower.

    Attributes:
        pixels: float32 (1 + rows · columns, 3, S, S): the whole image, then its tiles row by row.
        rows, columns: how many tiles there are.
    """

    pixels: Tensor
    rows: int
    columns: int


class TextRegion:
    """A :class:`.RegionReader` that runs a ViT on the image and its tiles.

    Args:
        tower: the network.
        settings: how the image is cut.
        mean: of the tower's training images, RGB values in [0, 1].
        std: their standard deviation.
        runtime: the device of the tower.
        interpolation: by which tiles are resized to the tower's input: "bicubic", or "bilinear" for PE-Core.
    """

    def __init__(
        self,
        tower: ViT,
        settings: TextRegionSettings,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        runtime: Runtime,
        interpolation: str = "bicubic",
    ):
        self._tower = tower
        self._settings = settings
        self._interpolation = interpolation
        self._device = runtime.device
        self._mean, self._std = (torch.tensor(c, device=runtime.device)[:, None, None] for c in (mean, std))
        self._tiles_at_once = _TILES_AT_ONCE.get(runtime.device.type, _TILES_AT_ONCE_ELSEWHERE)

    @property
    def settings(self) -> Hashable:
        """See :attr:`.RegionReader.settings`."""
        how = self._settings, self._tower.tile, self._interpolation
        return *how, *self._mean.flatten().tolist(), *self._std.flatten().tolist()

    def fallbacks(self) -> Iterator[tuple[str, Self]]:
        """Yield a variant that reads one tile at a time."""
        variant = copy(self)
        variant._tiles_at_once = 1
        yield "one tile at a time", variant

    @torch.inference_mode()
    def embed(
        self, proposals: Proposals, progress: ProgressCallback, on_regions: RegionsCallback | None
    ) -> RegionEmbeddings:
        """See :meth:`.RegionReader.embed`; the vectors come all at once."""
        features = self.merged_map(self.cut(proposals.working_image), progress)
        grid = features.shape[1:]
        weights = masks_on_grid(proposals, lambda masks: resize(masks, grid), self._device)
        scales = tuple(cells / length for cells, length in zip(grid, proposals.working_size, strict=True))
        small = take_nearest_cell(weights, proposals, scales)
        weights, flat = weights.flatten(1), features.flatten(1)
        filtered = weights * (difference_scores(flat, weights) >= _GLOBAL_PATCH)
        weights = torch.where(filtered.any(dim=1, keepdim=True), filtered, weights)
        vectors = F.normalize(self._tower.pool(weights, flat), dim=-1)
        return RegionEmbeddings(vectors.cpu().numpy(), small=small)

    def cut(self, image: np.ndarray) -> Tiles:
        """Return the whole image (uint8, H, W, 3) and its tiles, as the tower reads them."""
        side, height, width = self._tower.tile, *image.shape[:2]
        scale = min(
            self._settings.longest_side / max(height, width), self._settings.shorter_side / min(height, width)
        )
        height, width = (max(1, int(length * scale + 0.5)) for length in (height, width))
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        pixels = upload(resized, self._device).permute(2, 0, 1)[None].float() / 255
        rows, columns = max(height // side, 1), max(width // side, 1)
        tops, lefts = _starts(height, rows), _starts(width, columns)
        parts = [pixels] + [pixels[:, :, y, x] for y in tops for x in lefts]
        squares = [
            F.interpolate(part, (side, side), mode=self._interpolation, align_corners=False, antialias=True)
            for part in parts
        ]
        return Tiles((torch.cat(squares) - self._mean) / self._std, rows, columns)

    def merged_map(self, tiles: Tiles, progress: ProgressCallback) -> Tensor:
        """Return the features of the whole image and of its tiles, put together: float32 (C, G_h, G_w)."""
        maps = []
        for start in range(0, len(tiles.pixels), self._tiles_at_once):
            progress(EMBEDDING_REGIONS, start, len(tiles.pixels))
            maps.append(self._tower.maps(tiles.pixels[start : start + self._tiles_at_once]))
        progress(EMBEDDING_REGIONS, len(tiles.pixels), len(tiles.pixels))
        whole, *parts = torch.cat(maps)
        rows = [
            torch.cat(parts[row * tiles.columns : (row + 1) * tiles.columns], dim=2)
            for row in range(tiles.rows)
        ]
        together = torch.cat(rows, dim=1)
        return self._tower.share_of_whole * resize(whole[None], together.shape[1:])[0] + together


def difference_scores(features: Tensor, weights: Tensor) -> Tensor:
    """Return how much more each patch resembles the masks that it lies in than the others: float32 (P,).

    Resemblance is the mean cosine with the patches of a mask.

    Args:
        features: float32 (C, P).
        weights: float32 (N, P); a patch lies in the masks of which it has a weight.
    """
    unit = F.normalize(features, dim=0)
    inside = (weights > 0).float()
    means = (inside @ unit.T) / (inside.sum(dim=1, keepdim=True) + 1e-9)
    resemblance = means @ unit  # (N, P)
    outside = 1 - inside
    own = (resemblance * inside).sum(dim=0) / (inside.sum(dim=0) + 1e-9)
    others = (resemblance * outside).sum(dim=0) / (outside.sum(dim=0) + 1e-9)
    return own - others


def _starts(length: int, count: int) -> list[slice]:
    """Return slices of equal size that cover a length; the last one may overlap the one before."""
    size = -(-length // count)
    ends = [min((index + 1) * size, length) for index in range(count)]
    return [slice(max(end - size, 0), end) for end in ends]
