"""Any labelled images: a folder of images with a folder of label images, or with a COCO instance file."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.datasets import IGNORED, ImageFiles, read_label_image
from ovseg_demo.images import SUFFIXES
from ovseg_demo.vocabulary import ClassName, Vocabulary

LABEL_SUFFIXES = (".png", ".tif", ".tiff")
"""File name endings of label images."""

_LARGEST_VALUE = 65_535
_NUMBERED = re.compile(r"\s*(\d+)\s*[:,\t]\s*(\S.*)")


def open_labelled_images(images: Path, labels: Path, names: Path | None) -> ImageFiles:
    """Return the images that have labels.

    Args:
        images: their folder.
        labels: a folder of label images with the images' relative paths, such as ``a/1.png`` for
            ``a/1.jpg``, whose values are the classes; or a COCO file with instances.
        names: what the values of label images mean (:func:`read_names`). Other values do not count.

    Raises:
        DatasetError: files are missing or not what they should be.
    """
    if not images.is_dir():
        raise DatasetError(f'"{images}" is no folder; name the folder of the images with --images.')
    if labels.suffix.lower() == ".json":
        if names is not None:
            raise DatasetError(f'"{labels.name}" has names of its own; leave out --names.')
        return _open_coco(images, labels)
    if not labels.is_dir():
        raise DatasetError(f'"{labels}" is neither a folder of label images nor a COCO file (.json).')
    if names is None:
        raise DatasetError("The values of label images need names; give a file of names with --names.")
    return _open_label_images(images, labels, read_names(names))


def read_names(path: Path) -> dict[int, ClassName]:
    """Return the class of each value of label images.

    Args:
        path: a JSON file with an object of values and names, or with a list of names; or a text file with a
            name a line, with its value before it ("7: road") or without. Names without values count from 1,
            as in label maps that ``ovseg segment`` writes. "/" joins synonyms.

    Raises:
        DatasetError: the file cannot be read, or it is not unequivocal.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'The names "{path}" cannot be read as UTF-8 text ({error}).') from error
    pairs = _pairs_in_json(path, text) if path.suffix.lower() == ".json" else _pairs_in_lines(path, text)
    values = [value for value, _ in pairs]
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise DatasetError(f'"{path.name}" has several names for the value {twice[0]}; join them with "/".')
    if not pairs:
        raise DatasetError(f'"{path.name}" has no names.')
    outside = next((value for value in values if not 0 <= value <= _LARGEST_VALUE), None)
    if outside is not None:
        raise DatasetError(
            f'"{path.name}" has a name for the value {outside}; give values from 0 to {_LARGEST_VALUE}, '
            "which label images can hold."
        )
    return {value: _class_name(path, name) for value, name in pairs}


def _pairs_in_lines(path: Path, text: str) -> list[tuple[int, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    numbered = [match.groups() for line in lines if (match := _NUMBERED.fullmatch(line))]
    if numbered and len(numbered) < len(lines):
        raise DatasetError(f'"{path.name}" has values before some names only; give all or none.')
    if numbered:
        return [(int(value), name) for value, name in numbered]
    return list(enumerate(lines, start=1))


def _pairs_in_json(path: Path, text: str) -> list[tuple[int, str]]:
    try:
        content = json.loads(text)
        if isinstance(content, list):
            return list(enumerate(map(str, content), start=1))
        return [(int(value), str(name)) for value, name in content.items()]
    except (ValueError, AttributeError) as error:
        raise DatasetError(
            f'"{path.name}" is neither a JSON list of names nor an object of values and names ({error}).'
        ) from error


def _class_name(path: Path, text: str) -> ClassName:
    names = [name.strip() for name in text.split("/") if name.strip()]
    if not names:
        raise DatasetError(f'"{path.name}" has an empty name.')
    return ClassName(names[0], tuple(names[1:]))


def _open_label_images(images: Path, labels: Path, names: Mapping[int, ClassName]) -> ImageFiles:
    files = {
        path.relative_to(labels).with_suffix("").as_posix(): path
        for path in sorted(labels.rglob("*"))
        if path.suffix.lower() in LABEL_SUFFIXES
    }
    if not files:
        raise DatasetError(f'There are no label images ({", ".join(LABEL_SUFFIXES)}) in "{labels}".')
    found = {key: _find_image(images, key) for key in files}
    class_of_value = {value: index for index, value in enumerate(names)}

    def read_labels(key: str) -> np.ndarray:
        values = read_label_image(files[key])
        table = np.full(max(class_of_value) + 2, IGNORED, np.int32)  # the last row is for all other values
        for value, index in class_of_value.items():
            table[value] = index
        return table[np.where(values < 0, -1, np.minimum(values, len(table) - 1))]

    return _image_files(images, labels, dict(names), tuple(names.values()), found, read_labels)


def _find_image(images: Path, key: str) -> Path:
    for suffix in SUFFIXES:
        for path in (images / f"{key}{suffix}", images / f"{key}{suffix.upper()}"):
            if path.is_file():
                return path
    raise DatasetError(
        f'The labels "{key}" have no image in "{images}"; an image has the relative path of its labels.'
    )


def _open_coco(images: Path, file: Path) -> ImageFiles:
    """Return the images of a COCO file.

    Of overlapping instances the smaller one counts; pixels without an instance do not count.
    """
    coco = _read_coco(file)
    categories = sorted(coco.cats.values(), key=lambda category: category["id"])
    index = {category["id"]: number for number, category in enumerate(categories)}
    classes = tuple(
        ClassName(category["name"], tuple(category.get("synonyms", ()))) for category in categories
    )
    by_key = {image["file_name"]: image for _, image in sorted(coco.imgs.items())}

    def read_labels(key: str) -> np.ndarray:
        image = by_key[key]
        labels = np.full((image["height"], image["width"]), IGNORED, np.int32)
        try:
            masks = [
                (index[annotation["category_id"]], coco.annToRLE(annotation))
                for annotation in coco.imgToAnns[image["id"]]
            ]
            for category, rle in sorted(masks, key=lambda item: -int(coco_mask.area(item[1]))):
                labels[coco_mask.decode(rle) > 0] = category
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise DatasetError(
                f'The instances of "{key}" in "{file.name}" are damaged ({type(error).__name__}: {error}).'
            ) from error
        return labels

    found = {key: images / key for key in by_key}
    return _image_files(
        images, file, [category["id"] for category in categories], classes, found, read_labels
    )


def _read_coco(file: Path) -> COCO:
    try:
        with redirect_stdout(io.StringIO()):
            coco = COCO(str(file))
    except (OSError, ValueError, KeyError, AssertionError, TypeError) as error:
        raise DatasetError(f'"{file}" is no COCO file ({error}).') from error
    if not coco.cats or not coco.imgs:
        raise DatasetError(f'"{file.name}" has no categories or no images.')
    for what, entries, needed in (
        ("image", coco.imgs, ("file_name", "height", "width")),
        ("category", coco.cats, ("name",)),
    ):
        for name in needed:
            if any(name not in entry for entry in entries.values()):
                raise DatasetError(
                    f'"{file.name}" is no whole COCO file: it has {what} entries without "{name}".'
                )
    return coco


def _image_files(
    images: Path,
    labels: Path,
    values: Any,
    classes: tuple[ClassName, ...],
    found: Mapping[str, Path],
    read_labels: Callable[[str], np.ndarray],
) -> ImageFiles:
    identity = repr((str(images.resolve()), str(labels.resolve()), values, classes))
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return ImageFiles(
        name=f"{labels.stem}-{digest[:8]}",  # it tells interrupted runs apart
        vocabulary=Vocabulary(classes),
        keys=tuple(found),
        image_path=found.__getitem__,
        read_labels=read_labels,
        may_be_upright=True,
    )
