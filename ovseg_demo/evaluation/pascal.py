"""PASCAL VOC 2012 with 20 classes, and PASCAL Context (on VOC 2010's images) with 59 or 459.

    VOCdevkit/
      VOC2012/  JPEGImages/*.jpg SegmentationClass/*.png ImageSets/Segmentation/val.txt
      VOC2010/  JPEGImages/*.jpg trainval/*.mat          ImageSets/SegmentationContext/val.txt or Main/val.txt

``trainval`` is PASCAL Context's own archive of label maps, unpacked into VOC 2010's folder. It has 459
classes; the 59 of the smaller benchmark are those of the same names. The official validation images are the
5,105 of VOC 2010's ``Main/val.txt``; the list ``SegmentationContext/val.txt``, one image shorter and in
wide use, is preferred where it is there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.datasets import (
    IGNORED,
    ImageFiles,
    find_folder,
    read_label_image,
    read_lines,
    shift_labels,
)
from ovseg_demo.vocabularies.class_lists import load_vocabulary

_LISTS = ("ImageSets/SegmentationContext/val.txt", "ImageSets/Main/val.txt")


def open_voc_20(root: Path) -> ImageFiles:
    """Return PASCAL VOC 2012's 1,449 validation images; background and void (0 and 255) do not count.

    Args:
        root: ``VOC2012``, ``VOCdevkit``, or the folder with ``VOCdevkit`` in it.

    Raises:
        DatasetError: files are missing.
    """
    folder = find_folder(root, ("VOCdevkit/VOC2012", "VOC2012", "."), "SegmentationClass")

    def read_labels(key: str) -> np.ndarray:
        return shift_labels(read_label_image(folder / "SegmentationClass" / f"{key}.png"), 0, 255)

    return ImageFiles(
        name="pascal-voc-20",
        vocabulary=load_vocabulary("pascal-voc-20"),
        keys=read_lines(folder / "ImageSets/Segmentation/val.txt"),
        image_path=lambda key: folder / "JPEGImages" / f"{key}.jpg",
        read_labels=read_labels,
    )


def open_context_59(root: Path) -> ImageFiles:
    """Return PASCAL Context with the 59 frequent classes; no others count.

    Arguments as :func:`open_context_459`.
    """
    return _open_context(root, "pascal-context-59")


def open_context_459(root: Path) -> ImageFiles:
    """Return PASCAL Context with all classes; 0 in the label maps does not count.

    Args:
        root: ``VOC2010``, ``VOCdevkit``, or the folder with ``VOCdevkit`` in it.

    Raises:
        DatasetError: files are missing.
    """
    return _open_context(root, "pascal-context-459")


def _open_context(root: Path, name: str) -> ImageFiles:
    folder = find_folder(root, ("VOCdevkit/VOC2010", "VOC2010", "."), "trainval")
    lists = [folder / path for path in _LISTS if (folder / path).is_file()]
    if not lists:
        raise DatasetError(
            f'Neither of the lists {" and ".join(_LISTS)} is in "{folder}"; unpack VOC 2010 there as well.'
        )
    class_of_value = _class_of_value(name)

    def read_labels(key: str) -> np.ndarray:
        values = _read_label_map(folder / "trainval" / f"{key}.mat")
        if values.max(initial=0) >= len(class_of_value):
            raise DatasetError(f'"{key}.mat" holds the label {values.max()}, but PASCAL Context ends at 459.')
        return class_of_value[values]

    return ImageFiles(
        name=name,
        vocabulary=load_vocabulary(name),
        keys=read_lines(lists[0]),
        image_path=lambda key: folder / "JPEGImages" / f"{key}.jpg",
        read_labels=read_labels,
    )


def _class_of_value(name: str) -> np.ndarray:
    """Return the class index of each value in a label map: int32 (460,), -1 for values that do not count."""
    index = {entry.name: i for i, entry in enumerate(load_vocabulary(name).classes)}
    everything = load_vocabulary("pascal-context-459").class_names
    return np.array([IGNORED, *(index.get(name, IGNORED) for name in everything)], dtype=np.int32)


def _read_label_map(path: Path) -> np.ndarray:
    if not path.is_file():
        raise DatasetError(f'"{path}" is missing; unpack PASCAL Context\'s trainval archive completely.')
    try:
        return loadmat(path, variable_names=["LabelMap"])["LabelMap"]
    except (OSError, ValueError, KeyError, MatReadError) as error:
        raise DatasetError(f'"{path}" holds no label map ({error}); unpack the archive again.') from error
