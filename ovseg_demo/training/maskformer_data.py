"""Labelled images for the stage "maskformer": Sticker World, and COCO-Stuff in its official layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Protocol, TypedDict

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.datasets import find_folder, read_image, read_label_image
from ovseg_demo.proposals.normalization import PIXEL_MEAN
from ovseg_demo.sticker_world import BASE_CLASSES, CLASS_NAMES, render_scene
from ovseg_demo.training.maskformer_losses import IGNORED
from ovseg_demo.training.presets.types import ImageSizes
from ovseg_demo.training.records import SCENES_PER_SEED, shuffled
from ovseg_demo.vocabularies.class_lists import load_vocabulary

LABEL_STRIDE = 4
"""Labels have the resolution of the mask features."""

VALIDATION_SEED = 600_000
"""Seed of the first validation scene; none is in the benchmark."""

SCENE_SIZE = (640, 480)
_VIEWS = 4
"""Consecutive training images of one scene: drawing it takes longer than training on it with a GPU."""

_REMOVED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
"""Ids from COCO's 1 to 182 of things that are not annotated (hat, shoe, desk, …)."""

_COCO_IMAGES = ("images", ".")
_COCO_LABELS = (
    "annotations/stuffthingmaps",
    "stuffthingmaps",
    "stuffthingmaps_trainval2017",
    "annotations",
)


class TrainingImage(TypedDict):
    """One sample.

    Attributes:
        image: uint8 RGB (3, H, W); padding has the mean colour.
        labels: int64 (H / 4, W / 4), index of the class; -1 where unknown and outside the image.
    """

    image: Tensor
    labels: Tensor


class LabelledImages(Protocol):
    """A data set to train on.

    Attributes:
        class_names: K names, in the order of the labels.
    """

    class_names: tuple[str, ...]

    def training(self, sizes: ImageSizes, seed: int) -> Dataset:
        """Return an endless stream of :class:`TrainingImage`.

        ``[i]`` depends on i and the arguments alone.
        """

    def validation(self, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return images that training does not use: uint8 RGB (H, W, 3) and labels int (H, W).

        Labels from K on are classes that training does not use.
        """


@dataclass(frozen=True)
class LabelledScenes:
    """Scenes with base nouns and stuff; a :class:`LabelledImages`."""

    class_names: tuple[str, ...] = BASE_CLASSES

    def training(self, sizes: ImageSizes, seed: int) -> Dataset:
        """See :class:`LabelledImages`."""
        return _SceneImages(sizes, seed)

    def validation(self, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """See :class:`LabelledImages`; novel nouns are the unknown classes."""
        scenes = [render_scene(VALIDATION_SEED + i, "validation", SCENE_SIZE) for i in range(count)]
        return [(scene.image, _base_labels(scene.label_map)) for scene in scenes]


class _SceneImages(Dataset):
    def __init__(self, sizes: ImageSizes, seed: int):
        self.sizes, self.seed = sizes, seed
        self._draw = lru_cache(maxsize=1)(render_scene)

    def __getitem__(self, index: int) -> TrainingImage:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, index])
        scene = self._draw(self.seed * SCENES_PER_SEED + index // _VIEWS, "segmentation", SCENE_SIZE)
        short_side = int(rng.integers(self.sizes.shortest, self.sizes.longest + 1))
        size = (round(short_side * SCENE_SIZE[0] / SCENE_SIZE[1]), short_side)
        image, labels = resize(scene.image, _base_labels(scene.label_map), size)
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return crop(image, labels, self.sizes.crop, rng)


@dataclass(frozen=True)
class CocoStuffImages:
    """COCO-Stuff with 171 classes; a :class:`LabelledImages`.

    Attributes:
        root: folder with ``images/train2017/*.jpg`` and ``annotations/stuffthingmaps/train2017/*.png`` (or
            ``stuffthingmaps_trainval2017/train2017``, as the archive unpacks), and ``val2017`` beside them.
    """

    root: Path

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the training ids."""
        return load_vocabulary("coco-stuff-171").class_names

    def training(self, sizes: ImageSizes, seed: int) -> Dataset:
        """See :class:`LabelledImages`."""
        return _CocoImages(self.files("train2017"), sizes, seed)

    def validation(self, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """See :class:`LabelledImages`."""
        return [read_coco_pair(*pair) for pair in self.files("val2017")[:count]]

    def files(self, part: str) -> list[tuple[Path, Path]]:
        """Return the image and the label file of every labelled image of "train2017" or "val2017".

        Raises:
            DatasetError: a folder is missing or holds no label file.
        """
        images = find_folder(self.root, _COCO_IMAGES, part) / part
        labels = find_folder(self.root, _COCO_LABELS, part) / part
        found = [(images / f"{path.stem}.jpg", path) for path in sorted(labels.glob("*.png"))]
        if not found:
            raise DatasetError(f'"{labels}" holds no label images (*.png); unpack COCO-Stuff\'s into it.')
        return found


class _CocoImages(Dataset):
    def __init__(self, files: Sequence[tuple[Path, Path]], sizes: ImageSizes, seed: int):
        self.files, self.sizes, self.seed = files, sizes, seed

    def __getitem__(self, index: int) -> TrainingImage:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, index])
        image, labels = read_coco_pair(*self.files[shuffled(self.seed, index, len(self.files))])
        short_side = int(rng.integers(self.sizes.shortest, self.sizes.longest + 1))
        scale = short_side / min(labels.shape)
        height, width = (max(1, round(side * scale)) for side in labels.shape)
        image, labels = resize(image, labels, (width, height))
        image = vary_colours(image, rng)
        if rng.random() < 0.5:
            image, labels = image[:, ::-1], labels[:, ::-1]
        return crop(image, labels, self.sizes.crop, rng)


def open_images(root: Path | None) -> LabelledImages:
    """Return COCO-Stuff in a folder, or Sticker World if there is none."""
    return LabelledScenes() if root is None else CocoStuffImages(Path(root))


def read_coco_pair(image_path: Path, label_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return an image, uint8 RGB (H, W, 3), and its training ids, int32 (H, W).

    Raises:
        DatasetError: a file is missing or damaged, or the two differ in size.
    """
    image, labels = read_image(image_path), coco_training_ids(read_label_image(label_path))
    if image.shape[:2] != labels.shape:
        raise DatasetError(
            f'"{image_path.name}" has {image.shape[1]}×{image.shape[0]} pixels, but its labels '
            f"{labels.shape[1]}×{labels.shape[0]}; one of the two files is not the data set's own."
        )
    return image, labels


def coco_training_ids(values: np.ndarray) -> np.ndarray:
    """Return the training ids 0 … 170 of a COCO-Stuff label image, else -1: int32 (H, W).

    The image's values are official ids less one.
    """
    table = np.full(256, IGNORED, dtype=np.int32)
    used = [number for number in range(1, 183) if number not in _REMOVED_IDS]
    table[np.array(used) - 1] = np.arange(len(used))
    return table[values]


def resize(image: np.ndarray, labels: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Resize an image, by Pillow's bilinear filter as in inference, and its labels, to (width, height)."""
    if image.shape[1::-1] == size:
        return image, labels
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    return resized, cv2.resize(labels.astype(np.int32), size, interpolation=cv2.INTER_NEAREST_EXACT)


def crop(
    image: np.ndarray, labels: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> TrainingImage:
    """Return a random crop of (width, height); a smaller image is padded at the bottom and right."""
    width, height = size
    top = int(rng.integers(max(0, labels.shape[0] - height) + 1))
    left = int(rng.integers(max(0, labels.shape[1] - width) + 1))
    part = np.s_[top : top + height, left : left + width]
    padded = np.full((height, width, 3), np.round(PIXEL_MEAN), dtype=np.uint8)
    known = np.full((height, width), IGNORED, dtype=np.int64)
    inside = np.s_[: labels[part].shape[0], : labels[part].shape[1]]
    padded[inside], known[inside] = image[part], labels[part]
    centres = np.s_[LABEL_STRIDE // 2 :: LABEL_STRIDE]
    return TrainingImage(
        image=torch.from_numpy(padded).permute(2, 0, 1),
        labels=torch.from_numpy(known[centres, centres].copy()),
    )


def vary_colours(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Vary brightness, contrast, saturation and hue at random, after SSD (Liu et al. 2016)."""
    varied = image.astype(np.float32)
    if rng.random() < 0.5:
        varied += rng.uniform(-32, 32)
    if rng.random() < 0.5:
        varied *= rng.uniform(0.5, 1.5)
    hsv = cv2.cvtColor(varied.clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float32)
    if rng.random() < 0.5:
        hsv[..., 1] *= rng.uniform(0.5, 1.5)
    if rng.random() < 0.5:
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-18, 18)) % 180
    return cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)


def _base_labels(label_map: np.ndarray) -> np.ndarray:
    """Map indices into ``CLASS_NAMES`` to indices into ``BASE_CLASSES``; novel nouns come after those."""
    return _base_table()[label_map]


@cache
def _base_table() -> np.ndarray:
    order = [*BASE_CLASSES, *(name for name in CLASS_NAMES if name not in set(BASE_CLASSES))]
    return np.array([order.index(name) for name in CLASS_NAMES], dtype=np.int64)
