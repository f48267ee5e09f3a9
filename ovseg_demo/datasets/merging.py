"""The journal of a data set as one COCO file, written line by line so that its size does not matter."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ovseg_demo.datasets.job import FOLDER
from ovseg_demo.datasets.journal import Journal
from ovseg_demo.export.label_map import FIRST_ID
from ovseg_demo.runtime.disk import replace_text


def write_annotations(journal: Journal, path: Path) -> int:
    """Write all finished images as one COCO data set and return their number; an older file is replaced.

    Images are in the order of their file names. Ids count from 1 in that order, so the same images give the
    same file, in whatever order and in however many runs they were finished. Classes of the same name are one
    category. Where all images have the same class names, a category's id is its value in the label maps.

    Args:
        journal: the finished images.
        path: of the file.

    Raises:
        OSError: it cannot be written; an older file stays as it was.
    """
    images = _order(journal)
    categories, settings, licenses = _collect(journal, images)
    replace_text(path, lambda file: _write(file, journal, images, categories, settings, licenses))
    return len(images)


class FormatFiles(NamedTuple):
    """What the images have that have files of a format, in the order of :func:`write_annotations`.

    Attributes:
        class_names: of all these images.
        stems: of the files of each image.
        names: of the files of all images, relative to the data set's folder.
    """

    class_names: list[str]
    stems: list[str]
    names: list[str]


def read_format(journal: Journal, format_: str) -> FormatFiles:
    """Return what the images have that have files of a format."""
    images = _order(journal)
    having = [image for image in images if format_ in journal.find(image).formats]
    categories, _, _ = _collect(journal, having)
    with closing(journal.read(having)) as lines:
        found = FormatFiles([entry["name"] for entry in categories.values()], [], [])
        for line in lines:
            found.stems.append(line["stem"])
            found.names.extend(name for name in line["files"] if name.startswith(f"{format_}/"))
    return found


def _order(journal: Journal) -> dict[str, str]:
    """Return the file name of each image by its id, in order; of two images they differ, if inputs allow."""
    names = {image: (line["file_name"], line["given"], line["key"]) for image, line in journal.lines()}
    count = Counter(file_name for file_name, _, _ in names.values())
    chosen = {
        image: (file_name if count[file_name] == 1 else given, key)
        for image, (file_name, given, key) in names.items()
    }
    return {image: chosen[image][0] for image in sorted(chosen, key=chosen.get)}


def _collect(
    journal: Journal, images: Iterable[str]
) -> tuple[dict[str, dict[str, Any]], list[str], dict[str, int]]:
    """Return the categories by name, the ids of settings, and the id of each licence; in order of use."""
    settings = dict.fromkeys(journal.find(image).settings for image in images)
    categories: dict[str, dict[str, Any]] = {}
    for identity in dict.fromkeys(journal.find(image).classes for image in images):
        for entry in journal.details[identity]["categories"]:
            known = categories.setdefault(
                entry["name"].casefold(),
                {"id": len(categories) + FIRST_ID, "name": entry["name"], "synonyms": []},
            )
            known["synonyms"] += [name for name in entry["synonyms"] if name not in known["synonyms"]]
    licenses = sorted({line["license"] for _, line in journal.lines() if line["license"]})
    return categories, list(settings), {name: number for number, name in enumerate(licenses, start=1)}


def _write(
    file: TextIO,
    journal: Journal,
    images: Mapping[str, str],
    categories: Mapping[str, Mapping[str, Any]],
    settings: list[str],
    licenses: Mapping[str, int],
) -> None:
    numbers = {identity: number for number, identity in enumerate(settings)}
    info = {
        "description": "Open-vocabulary semantic segmentation",
        "settings": [journal.details[identity]["settings"] for identity in settings],
    }
    file.write(f'{{\n"info": {_json(info)},\n')
    _write_list(file, "licenses", ({"id": i, "name": name, "url": ""} for name, i in licenses.items()))
    with closing(journal.read(list(images))) as lines:
        entries = (
            _image(number, line, name, numbers[line["settings"]], licenses)
            for number, (line, name) in enumerate(zip(lines, images.values(), strict=True), start=1)
        )
        _write_list(file, "images", entries)
    _write_list(file, "categories", categories.values())
    with closing(journal.read(list(images))) as lines:
        _write_list(file, "annotations", _annotations(lines, categories), end="\n}\n")


def _image(
    number: int, line: Mapping[str, Any], name: str, settings: int, licenses: Mapping[str, int]
) -> dict[str, Any]:
    image = {"id": number, "file_name": name, "width": line["width"], "height": line["height"]}
    if line["license"]:
        image["license"] = licenses[line["license"]]
    image |= {
        "folder": f"{FOLDER}/{line['key']}",
        "source": line["source"],
        "sha256": line["sha256"],
        "settings": settings,
    }
    return image | {key: line[key] for key in ("notes", "ignored_names") if line[key]}


def _annotations(
    lines: Iterable[Mapping[str, Any]], categories: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    number = 0
    for image, line in enumerate(lines, start=1):
        for annotation in line["annotations"]:
            number += 1
            yield {
                "id": number,
                "image_id": image,
                "category_id": categories[annotation["name"].casefold()]["id"],
                "segmentation": annotation["segmentation"],
                "area": annotation["area"],
                "bbox": annotation["bbox"],
                "iscrowd": 0,
                "score": annotation["score"],
            }


def _write_list(file: TextIO, name: str, values: Iterable[Mapping[str, Any]], end: str = ",\n") -> None:
    file.write(f'"{name}": [')
    separator = "\n"
    for value in values:
        file.write(separator + _json(value))
        separator = ",\n"
    file.write(f"\n]{end}")


_json: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
