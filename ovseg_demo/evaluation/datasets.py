"""Benchmarks: a vocabulary and labelled images, read from the official files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.metrics import IGNORED
from ovseg_demo.image_files.formats import open_image
from ovseg_demo.image_files.orientation import read_orientation, turn_upright
from ovseg_demo.images import load_image
from ovseg_demo.vocabulary import Vocabulary

_OPPOSITE = {6: 8, 8: 6}
"""The EXIF orientation that takes another one back; all others take back themselves."""


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image with its ground truth.

    Attributes:
        image: uint8 RGB (H, W, 3).
        labels: int32 (H, W), index of the class, or ``IGNORED``.
        segments: int32 (H, W), index of the segment, or ``IGNORED``. A segment is one object, or all pixels
            of a class if the data set does not separate objects.
        segment_classes: int32 (S,), the class of each segment; each has at least one pixel.
    """

    image: np.ndarray
    labels: np.ndarray
    segments: np.ndarray
    segment_classes: np.ndarray

    @classmethod
    def from_labels(cls, image: np.ndarray, labels: np.ndarray) -> LabelledImage:
        """Return an image whose segments are its classes."""
        classes, segments = np.unique(labels, return_inverse=True)
        has_ignored = int(len(classes) > 0 and classes[0] == IGNORED)
        segments = segments.reshape(labels.shape).astype(np.int32) - has_ignored
        return cls(image, labels, segments, classes[has_ignored:].astype(np.int32))


class Dataset(Protocol):
    """Labelled images by key.

    Attributes:
        name: as on the command line.
        vocabulary: its K classes, in the order of the labels.
        novel_classes: indices of classes that the segmentation training of the model left out; empty if the
            data set defines none.
        keys: of the images, in order.
    """

    name: str
    vocabulary: Vocabulary
    novel_classes: tuple[int, ...]
    keys: tuple[str, ...]

    def load(self, key: str) -> LabelledImage:
        """Read one image.

        Raises:
            DatasetError: a file is missing or damaged, or holds what it should not.
        """
        ...


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """A data set in files; a :class:`Dataset`.

    Attributes:
        name, vocabulary, keys: see :class:`Dataset`.
        image_path: of a key.
        read_labels: of a key: int32 (H, W), class indices or ``IGNORED``.
        max_short_side: images whose shorter side has more pixels are scaled down to this many.
        may_be_upright: labels may belong to the upright image, not to the stored pixels; their size tells.
    """

    name: str
    vocabulary: Vocabulary
    keys: tuple[str, ...]
    image_path: Callable[[str], Path]
    read_labels: Callable[[str], np.ndarray]
    max_short_side: int | None = None
    may_be_upright: bool = False
    novel_classes: tuple[int, ...] = ()

    def load(self, key: str) -> LabelledImage:
        """See :class:`Dataset`."""
        path = self.image_path(key)
        labels = self.read_labels(key)
        image = _read_own_image(path, labels.shape) if self.may_be_upright else read_image(path)
        if image.shape[:2] != labels.shape:
            raise DatasetError(
                f'"{path.name}" has {image.shape[1]}×{image.shape[0]} pixels, but its labels '
                f"{labels.shape[1]}×{labels.shape[0]}; one of the two files is not the data set's own."
            )
        if labels.max(initial=IGNORED) >= len(self.vocabulary.classes):
            raise DatasetError(
                f'The labels of "{path.name}" hold class {labels.max()}, but {self.name} ends at '
                f"{len(self.vocabulary.classes) - 1}; check that they are the labels of that data set."
            )
        if self.max_short_side is not None:
            image, labels = _shrink(image, labels, self.max_short_side)
        return LabelledImage.from_labels(image, labels)


def find_folder(root: Path, candidates: Sequence[str], needed: str) -> Path:
    """Return the first of some folders below ``root`` that holds ``needed``.

    Raises:
        DatasetError: none does.
    """
    for candidate in candidates:
        if (root / candidate / needed).exists():
            return root / candidate
    places = " or ".join(f'"{root / candidate / needed}"' for candidate in candidates)
    raise DatasetError(f"The data set was not found: there is no {places}; name its folder with --root.")


def _read_own_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels that a model gets of an image: as they are stored, or upright if the labels are.

    Args:
        path: of the image, in any format that the program reads.
        size: (height, width) of its labels.

    Raises:
        ImageError: the image cannot be read.
    """
    upright = load_image(path)
    orientation = read_orientation(open_image(f'"{path.name}"', path))
    stored = turn_upright(upright, _OPPOSITE.get(orientation, orientation))
    return upright if stored.shape[:2] != size == upright.shape[:2] else stored


def read_image(path: Path) -> np.ndarray:
    """Return the stored pixels, uint8 RGB (H, W, 3), without EXIF rotation, as the labels refer to them.

    Raises:
        DatasetError: there is no such image.
    """
    return np.array(_open(path).convert("RGB"))


def read_label_image(path: Path) -> np.ndarray:
    """Return a label image's values, of one channel of 8 or 16 bits, or palette indices: int32 (H, W).

    Raises:
        DatasetError: there is no such file, or it has several channels or numbers with fractions.
    """
    values = np.asarray(_open(path))
    if values.dtype.kind == "f":
        raise DatasetError(f'"{path.name}" has numbers with fractions, not labels; save whole numbers.')
    if values.ndim != 2:
        raise DatasetError(
            f'"{path.name}" has {values.shape[2]} channels, not one label a pixel; use the original file.'
        )
    return values.astype(np.int32)


def shift_labels(values: np.ndarray, *ignored: int) -> np.ndarray:
    """Return the labels of values that count classes from 1: value − 1, or -1 for 0 and ``ignored``; int32.

    Pixels with -1 do not count.
    """
    return np.where(np.isin(values, ignored), IGNORED, values - 1).astype(np.int32)


def read_lines(path: Path) -> tuple[str, ...]:
    """Return the first word of each line of a list of images.

    Raises:
        DatasetError: there is no such list, or it is empty.
    """
    if not path.is_file():
        raise DatasetError(f'The list "{path}" is missing; unpack the data set completely.')
    keys = tuple(line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    if not keys:
        raise DatasetError(f'The list "{path}" is empty; unpack the data set again.')
    return keys


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise DatasetError(f'"{path}" is missing; unpack the data set completely.')
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f'"{path}" cannot be read ({error}); unpack the data set again.') from error
    return image


def _shrink(image: np.ndarray, labels: np.ndarray, short_side: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = labels.shape
    scale = short_side / min(height, width)
    if scale >= 1:
        return image, labels
    size = (round(width * scale), round(height * scale))
    return (
        cv2.resize(image, size, interpolation=cv2.INTER_LINEAR),
        cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST),
    )
