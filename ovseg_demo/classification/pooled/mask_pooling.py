"""Mask pooling: the mean of a convolutional tower's last feature map under each mask.

FC-CLIP (arXiv 2308.02487) names masks in this way where their class was not seen in training, and MaskCLIP++
(arXiv 2412.11464) fine-tunes the tower for it. ``docs/explanation/engines.md`` has the formulas.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.pooled.conv_tower import ConvTower
from ovseg_demo.classification.pooled.grid import masks_on_grid, resize, take_nearest_cell
from ovseg_demo.classification.pooled.name_consistency import NameConsistency
from ovseg_demo.classification.types import RegionEmbeddings
from ovseg_demo.image_files.scaling import resize_shortest_edge
from ovseg_demo.progress import EMBEDDING_REGIONS, ProgressCallback, RegionsCallback
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime, upload

STRIDE = 32
"""Pixels along a side of a cell of the last feature map."""

CellWeights = Literal["soft", "binary", "area"]


@dataclass(frozen=True)
class PoolingSettings:
    """How an image is resized, and how a mask weighs the cells of its feature map.

    Attributes:
        weights: "soft" and "binary" read a mask at the four pixels around each cell's centre, by bilinear
            interpolation; "binary" takes the cells above ½. "area" takes the part of a cell that the mask
            covers.
        shorter_side: pixels to which the shorter side is resized.
        longest_side: limit of the longer side, in pixels. Without a ``shorter_side``, the longer side is
            resized to it, and both sides are rounded to whole cells.
        second_shorter_side: pixels to which the shorter side of the resized image is resized once more,
            without antialiasing, unless it is shorter already; ``None`` means that it is not resized again.
    """

    weights: CellWeights = "area"
    shorter_side: int | None = None
    longest_side: int = 896
    second_shorter_side: int | None = None


AREA = PoolingSettings()
FC_CLIP = PoolingSettings("binary", shorter_side=800, longest_side=1333)
"""As FC-CLIP reads its image; its logits are the cosines with the mean over the templates."""
SOFT = PoolingSettings("soft", shorter_side=1024, longest_side=2048, second_shorter_side=512)
"""As MaskCLIP++ reads its image, in the configuration of COCO-Stuff."""


class MaskPooling:
    """A :class:`.RegionReader` that runs a convolutional tower once an image.

    Args:
        tower: the network.
        settings: how image and masks are read.
        mean: of the tower's training images, RGB values in [0, 1].
        std: their standard deviation.
        runtime: the device and precision of the tower.
        consistency: MaskCLIP++'s module that adapts text embeddings to the image, or ``None``.
    """

    def __init__(
        self,
        tower: ConvTower,
        settings: PoolingSettings,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        runtime: Runtime,
        consistency: NameConsistency | None = None,
    ):
        self._tower = tower
        self._settings = settings
        self._runtime = runtime
        self._consistency = consistency
        self._mean, self._std = (255 * torch.tensor(c, device=runtime.device) for c in (mean, std))

    @property
    def settings(self) -> Hashable:
        """See :attr:`.RegionReader.settings`."""
        return self._settings, *self._mean.tolist(), *self._std.tolist()

    def fallbacks(self) -> Iterator[tuple[str, Self]]:
        """Yield a variant that reads a smaller image."""
        variant, own = copy(self), self._settings
        variant._settings = replace(
            own,
            shorter_side=own.shorter_side and own.shorter_side // 2,
            longest_side=own.longest_side // 2,
            second_shorter_side=own.second_shorter_side and own.second_shorter_side // 2,
        )
        yield "half the image's size", variant

    @torch.inference_mode()
    def embed(
        self, proposals: Proposals, progress: ProgressCallback, on_regions: RegionsCallback | None
    ) -> RegionEmbeddings:
        """See :meth:`.RegionReader.embed`; the vectors come all at once."""
        progress(EMBEDDING_REGIONS, 0, len(proposals))
        pixels = self.resize(proposals.working_image)
        size = pixels.shape[-2:]
        features = self.dense_features(pixels)  # (C, h, w)
        weights = masks_on_grid(proposals, lambda masks: self._weigh(masks, size), self._runtime.device)
        scales = tuple(
            length / of_mask / STRIDE for length, of_mask in zip(size, proposals.working_size, strict=True)
        )
        small = take_nearest_cell(weights, proposals, scales)
        pooled = pool(features, weights)
        vectors = F.normalize(self._tower.project(pooled), dim=-1).cpu().numpy()
        adaptation = None
        if self._consistency is not None:
            cells = self._tower.project(features.flatten(1).T)
            adaptation = self._consistency.of_image(cells)
        progress(EMBEDDING_REGIONS, len(proposals), len(proposals))
        return RegionEmbeddings(vectors, adaptation, small)

    def resize(self, image: np.ndarray) -> Tensor:
        """Return a uint8 image (H, W, 3) as the tower reads it, before padding: float32 (3, h, w)."""
        own = self._settings
        if own.shorter_side is None:
            resized = _resize_to_whole_cells(image, own.longest_side)
        else:
            resized = resize_shortest_edge(image, own.shorter_side, own.longest_side)
        pixels = upload(resized, self._runtime.device).permute(2, 0, 1).float()
        pixels = (pixels - self._mean[:, None, None]) / self._std[:, None, None]
        if own.second_shorter_side is None:
            return pixels
        size = pixels.shape[1:]
        shorter = min(own.second_shorter_side, *size)  # an enlarged strip would be many times an image
        target = tuple(length * shorter // min(size) for length in size)
        return resize(pixels[None], target)[0]

    def dense_features(self, pixels: Tensor) -> Tensor:
        """Return the last feature map, float32 (C, h, w), of pixels (3, H, W), padded to whole cells."""
        with self._runtime.autocast():
            return self._tower.dense(pad(pixels)[None])[0].float()

    def _weigh(self, masks: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the weights (n, 1, h, w) of masks, bool (n, 1, H, W); ``size``: the unpadded image."""
        if self._settings.weights == "area":
            cells = tuple(-(-length // STRIDE) for length in size)
            return cell_shares(masks, cells)
        soft = resize_to_cells(masks, size)
        return (soft > 0.5).float() if self._settings.weights == "binary" else soft


def _resize_to_whole_cells(image: np.ndarray, longer_side: int) -> np.ndarray:
    """Return an image whose longer side is near a length, and whose sides are whole cells."""
    scale = longer_side / max(image.shape[:2])
    height, width = (max(1, round(length * scale / STRIDE)) * STRIDE for length in image.shape[:2])
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def cell_shares(masks: Tensor, cells: tuple[int, int]) -> Tensor:
    """Return the part of each cell that a mask covers: float32 (n, 1, h, w) in [0, 1].

    Args:
        masks: bool (n, 1, H, W).
        cells: (h, w), how many cells there are along each side.
    """
    # MPS has no adaptive pooling for sides that the cells do not divide.
    pooled_on = "cpu" if masks.device.type == "mps" else masks.device
    return F.adaptive_avg_pool2d(masks.to(pooled_on).float(), cells).to(masks.device)


def pad(pixels: Tensor) -> Tensor:
    """Return maps (…, H, W) with zeros at the right and the bottom up to whole cells."""
    rows, columns = (-length % STRIDE for length in pixels.shape[-2:])
    return F.pad(pixels, (0, columns, 0, rows))


def resize_to_cells(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``resize(pad(resize(masks, size)), cells)`` from the few pixels that count.

    The second resizing reads the four pixels around each cell's centre, and the first at most four for each.

    Args:
        masks: bool (n, 1, H, W).
        size: of the resized image before padding.

    Returns:
        float32 (n, 1, h, w), the values of the cells, in [0, 1].
    """
    (rows, of_rows), (columns, of_columns) = (
        _pixels_that_count(length, resized, masks.device)
        for length, resized in zip(masks.shape[-2:], size, strict=True)
    )
    values = masks[..., rows, :][..., columns] * of_rows[:, None] * of_columns
    return values.unflatten(-1, (-1, 4)).unflatten(-3, (-1, 4)).sum((-3, -1))


def _pixels_that_count(length: int, resized: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return four positions along an axis of the mask for each cell, and their weights: (4 · cells) each."""
    cells = torch.arange(-(-resized // STRIDE), device=device)
    around_centre = torch.tensor([STRIDE // 2 - 1, STRIDE // 2], device=device)
    pixels = (cells[:, None] * STRIDE + around_centre).flatten()  # of the resized and padded mask
    position = ((pixels + 0.5) * (length / resized) - 0.5).clamp(0, length - 1)
    before = position.long()
    after = (before + 1).clamp(max=length - 1)
    part = position - before
    half = (pixels < resized) / 2  # the padding is zero
    weights = torch.stack(((1 - part) * half, part * half), 1)
    return torch.stack((before, after), 1).flatten(), weights.flatten()


def pool(features: Tensor, weights: Tensor) -> Tensor:
    """Return the means (N, C) of features (C, h, w) with weights (N, h, w)."""
    weights = weights.flatten(1)
    return weights @ features.flatten(1).T / (weights.sum(dim=1, keepdim=True) + 1e-6)
