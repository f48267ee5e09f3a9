"""Scenes and their regions, without classes."""

from __future__ import annotations

from typing import TypedDict

import cv2
import numpy as np
import torch
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor
from torch.utils.data import Dataset

from ovseg_demo.sticker_world import render_scene

SCENE_SIZE = (640, 480)
_ZOOM_SHARE = 0.4
_SMALLEST_ZOOM = 0.45


class RegionScene(TypedDict):
    """One sample: an image at the network's input size.

    Attributes:
        image: uint8 (3, S, S), RGB, padded with zeros at the bottom and right.
        regions: int64 (G, G), number of the region at each pixel of the low-resolution masks; -1 on padding.
    """

    image: Tensor
    regions: Tensor


class RegionScenes(Dataset):
    """An endless stream of scenes of one split; ``[i]`` depends on ``i`` and the arguments alone.

    Args:
        image_size: side S of the network's square input in pixels.
        mask_size: side G of its low-resolution masks.
        seed: of the stream.
        split: of Sticker World.
        first_seed: seed of the first scene.
        zoom: enlarge random parts of some scenes.
    """

    def __init__(
        self,
        image_size: int,
        mask_size: int,
        *,
        seed: int = 0,
        split: str = "segmentation",
        first_seed: int = 0,
        zoom: bool = True,
    ):
        self.image_size, self.mask_size = image_size, mask_size
        self.seed, self.split, self.first_seed, self.zoom = seed, split, first_seed, zoom
        self._resize = ResizeLongestSide(image_size)

    def __getitem__(self, index: int) -> RegionScene:
        rng = np.random.default_rng([self.seed, self.first_seed + index])
        scene = render_scene(self.first_seed + index, split=self.split, size=SCENE_SIZE)
        # Regions are the objects, from 0, then each stuff class in the scene.
        regions = np.where(scene.instance_map >= 0, scene.instance_map, len(scene.objects) + scene.label_map)
        image = scene.image
        if self.zoom and rng.random() < _ZOOM_SHARE:
            image, regions = _zoom(image, regions, rng)
        return self._as_input(image, regions)

    def _as_input(self, image: np.ndarray, regions: np.ndarray) -> RegionScene:
        resized = self._resize.apply_image(image)
        height, width = resized.shape[:2]
        padded = np.zeros((self.image_size, self.image_size, 3), dtype=np.uint8)
        padded[:height, :width] = resized
        grid = np.full((self.mask_size, self.mask_size), -1, dtype=np.int64)
        rows, columns = (round(side * self.mask_size / self.image_size) for side in (height, width))
        grid[:rows, :columns] = cv2.resize(
            regions.astype(np.int32), (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT
        )
        return RegionScene(
            image=torch.from_numpy(padded).permute(2, 0, 1),
            regions=torch.from_numpy(grid),
        )


def _zoom(image: np.ndarray, regions: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a random part of a scene, with another aspect ratio."""
    shares = rng.uniform(_SMALLEST_ZOOM, 1.0, size=2)
    height, width = (int(side * share) for side, share in zip(image.shape[:2], shares, strict=True))
    top = int(rng.integers(image.shape[0] - height + 1))
    left = int(rng.integers(image.shape[1] - width + 1))
    part = np.s_[top : top + height, left : left + width]
    return image[part], regions[part]
