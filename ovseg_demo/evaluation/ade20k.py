"""ADE20K: 150 classes of the scene parsing challenge, or 847 classes of the full data set.

The challenge:

    ADEChallengeData2016/  images/validation/*.jpg  annotations/validation/*.png

The full data set, in its releases of 2021 and of 2016:

    ADE20K_2021_17_01/     images/ADE/validation/**/ADE_val_*.jpg, *_seg.png, *.json
    ADE20K_2016_07_26/     images/validation/**/ADE_val_*.jpg, *_seg.png;  index_ade20k.mat

A pixel (R, G, B) of ``*_seg.png`` has the object class number ⌊R / 10⌋ · 256 + G, one of over 3,000. The 847
classes of the benchmark are identified by their complete names, such as "road, route": in 2021 each image's
``.json`` gives the names of its numbers (``name_ndx``), in 2016 ``index_ade20k.mat`` gives all of them,
counted from 1. Pixels of other classes do not count. As is usual for this benchmark, images whose shorter
side exceeds 512 pixels are scaled down to it.

Folders that were converted for other tools are read too: 16-bit labels, 65535 where nothing counts, in
``annotations_detectron2/validation/*.tif``, with the images in ``images_detectron2/validation/*.jpg``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.datasets import (
    IGNORED,
    ImageFiles,
    find_folder,
    read_image,
    read_label_image,
    shift_labels,
)
from ovseg_demo.vocabularies.class_lists import load_vocabulary, split_synonyms

_IGNORED_16_BIT = 65535
_SHORT_SIDE = 512
_RELEASES = ("ADE20K_2021_17_01", "ADE20K_2016_07_26", ".")
_VALIDATION = ("images/ADE/validation", "images/validation")


def open_ade20k_150(root: Path) -> ImageFiles:
    """Return the challenge's 2,000 validation images; 0 in the annotations ("other") does not count.

    Args:
        root: ``ADEChallengeData2016``, or the folder it is in.

    Raises:
        DatasetError: files are missing.
    """
    folder = find_folder(root, ("ADEChallengeData2016", "."), "annotations/validation")

    def read_labels(key: str) -> np.ndarray:
        return shift_labels(read_label_image(folder / "annotations/validation" / f"{key}.png"), 0)

    return ImageFiles(
        name="ade20k-150",
        vocabulary=load_vocabulary("ade20k-150"),
        keys=_stems(folder / "annotations/validation", "*.png"),
        image_path=lambda key: folder / "images/validation" / f"{key}.jpg",
        read_labels=read_labels,
    )


def open_ade20k_847(root: Path) -> ImageFiles:
    """Return the full data set's 2,000 validation images.

    Args:
        root: ``ADE20K_2021_17_01`` or ``ADE20K_2016_07_26``, or the folder it is in.

    Raises:
        DatasetError: files are missing.
    """
    for release in _RELEASES:
        if (root / release / "annotations_detectron2/validation").is_dir():
            return _open_converted(root / release)
    places = [f"{release}/{validation}" for release in _RELEASES for validation in _VALIDATION]
    return _open_full(find_folder(root, places, "."))


def _open_full(validation: Path) -> ImageFiles:
    keys = tuple(
        path.relative_to(validation).with_suffix("").as_posix()
        for path in sorted(validation.rglob("ADE_val_*.jpg"))
    )
    if not keys:
        raise DatasetError(f'There is no ADE_val_*.jpg below "{validation}"; unpack the data set completely.')
    vocabulary = load_vocabulary("ade20k-847")
    index = {names: i for i, names in enumerate(vocabulary.classes)}
    release = validation.parents[2 if validation.parent.name == "ADE" else 1]
    read_names = _names_reader(release)

    def read_labels(key: str) -> np.ndarray:
        numbers = _class_numbers(validation / f"{key}_seg.png")
        names = read_names(validation / f"{key}.json")
        class_of_number = np.full(numbers.max() + 1, IGNORED, dtype=np.int32)
        for number, name in names.items():
            if number < len(class_of_number):
                class_of_number[number] = index.get(split_synonyms(name), IGNORED)
        return class_of_number[numbers]

    return ImageFiles(
        name="ade20k-847",
        vocabulary=vocabulary,
        keys=keys,
        image_path=lambda key: validation / f"{key}.jpg",
        read_labels=read_labels,
        max_short_side=_SHORT_SIDE,
    )


def _open_converted(folder: Path) -> ImageFiles:
    labels, images = (folder / f"{what}_detectron2/validation" for what in ("annotations", "images"))

    def read_labels(key: str) -> np.ndarray:
        values = read_label_image(labels / f"{key}.tif")
        return np.where(values == _IGNORED_16_BIT, IGNORED, values)

    return ImageFiles(
        name="ade20k-847",
        vocabulary=load_vocabulary("ade20k-847"),
        keys=_stems(labels, "*.tif"),
        image_path=lambda key: images / f"{key}.jpg",
        read_labels=read_labels,
        max_short_side=_SHORT_SIDE,
    )


def _class_numbers(path: Path) -> np.ndarray:
    """Return the object classes of a label image by their official numbers: int32 (H, W)."""
    red, green, _ = np.moveaxis(read_image(path).astype(np.int32), -1, 0)
    return red // 10 * 256 + green


def _names_reader(release: Path) -> Callable[[Path], Mapping[int, str]]:
    """Return a function from the path of an image's ``.json`` to the names of the numbers in the image."""
    index = release / "index_ade20k.mat"

    def read(path: Path) -> Mapping[int, str]:
        if path.is_file():
            return _names_in_json(path)
        if index.is_file():
            return _names_in_index(index)
        raise DatasetError(
            f'The names of the labels are missing: "{path}" (release of 2021) or "{index}" (2016); '
            "unpack the data set completely."
        )

    return read


def _names_in_json(path: Path) -> dict[int, str]:
    try:
        objects = json.loads(path.read_text(encoding="utf-8", errors="replace"))["annotation"]["object"]
        objects = (
            [objects] if isinstance(objects, dict) else objects
        )  # Matlab writes a list of one object as the object
        return {int(thing["name_ndx"]): thing["name"] for thing in objects}
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f'"{path}" does not describe an image of ADE20K ({error}); unpack it again.'
        ) from error


@cache
def _names_in_index(path: Path) -> dict[int, str]:
    try:
        index = loadmat(path, squeeze_me=True, struct_as_record=False, variable_names=["index"])["index"]
        names = {number: str(name) for number, name in enumerate(index.objectnames, start=1)}
    except (ValueError, KeyError, AttributeError, NotImplementedError) as error:
        raise DatasetError(f'"{path}" is no index of ADE20K ({error}); unpack it again.') from error
    classes = load_vocabulary("ade20k-847").classes
    missing = sorted(entry.name for entry in set(classes) - {split_synonyms(name) for name in names.values()})
    if missing:
        raise DatasetError(
            f'"{path}" lacks {len(missing)} of the 847 classes, such as "{missing[0]}"; use the release of '
            "2021, which has a file with the names for each image."
        )
    return names


def _stems(folder: Path, pattern: str) -> tuple[str, ...]:
    stems = tuple(path.stem for path in sorted(folder.glob(pattern)))
    if not stems:
        raise DatasetError(f'There are no {pattern} in "{folder}"; unpack the data set completely.')
    return stems
