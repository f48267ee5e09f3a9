"""Annotations that CVAT imports as "COCO 1.0", and the labels for its constructor.

The masks are run lengths of COCO's crowds: CVAT makes masks for its brush of them, with holes and all parts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from pycocotools import mask as coco_mask

from ovseg_demo.export.files import ExportFile, to_json, write_json_list
from ovseg_demo.export.label_map import FIRST_ID
from ovseg_demo.export.run_lengths import class_rles
from ovseg_demo.export.sized import SizedSegmentation
from ovseg_demo.visualization.palette import class_colors, hex_color

_MAX_BYTES = 200  # of a stem in a file's name, which may have 255


def write(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield the COCO data set of one image, in the folder ``annotations``."""
    height, width = sized.size
    annotations = []
    for index, rle in enumerate(class_rles(sized.label_map, len(sized.class_names))):
        if not sized.areas[index]:
            continue
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": 1,
                "category_id": index + FIRST_ID,
                "segmentation": rle,
                "area": int(sized.areas[index]),
                "bbox": coco_mask.toBbox(rle).tolist(),
                "iscrowd": 1,
            }
        )
    record = {
        "info": {},
        "licenses": [],
        "images": [{"id": 1, "width": width, "height": height, "file_name": sized.options.image_name}],
        "categories": _categories(sized.class_names),
        "annotations": annotations,
    }
    subset = _flat(sized.options.file_stem)
    yield ExportFile(f"annotations/instances_{subset}.json", to_json(record))


def write_dataset(class_names: Sequence[str], stems: Iterable[str]) -> Iterator[ExportFile]:
    """Yield ``labels.json``, which the tab "Raw" of CVAT's constructor of labels takes."""
    labels = [
        {"name": name, "color": hex_color(color), "attributes": []}
        for name, color in zip(class_names, class_colors(class_names), strict=True)
    ]
    yield ExportFile("labels.json", to_json(labels))


def merge_images(class_names: Sequence[str], paths: Sequence[Path], file: TextIO) -> None:
    """Write the images of a data set as one COCO data set, which CVAT imports as one JSON file.

    The images' files are read twice, and one at a time: the result may be larger than the memory.
    """
    file.write('{"info": {}, "licenses": [], "categories": ')
    write_json_list(file, _categories(class_names))
    file.write(', "images": ')
    write_json_list(file, (record["images"][0] | {"id": number} for number, record in _read(paths)))
    file.write(', "annotations": ')
    write_json_list(file, _merged_annotations(class_names, paths))
    file.write("}\n")


def _merged_annotations(class_names: Sequence[str], paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    ids = {category["name"].casefold(): category["id"] for category in _categories(class_names)}
    numbers = count(1)
    for image, record in _read(paths):
        names = {category["id"]: category["name"].casefold() for category in record["categories"]}
        for annotation in record["annotations"]:
            category = ids[names[annotation["category_id"]]]
            yield annotation | {"id": next(numbers), "image_id": image, "category_id": category}


def _read(paths: Sequence[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each image and its record."""
    return ((number, json.loads(path.read_bytes())) for number, path in enumerate(paths, start=1))


def _flat(stem: str) -> str:
    """Return a stem as one part of a path; a stem with folders gets a hash, which tells a/b from a-b."""
    if "/" not in stem:
        return stem
    content = stem.encode("utf-8", "surrogatepass")
    start = stem.replace("/", "-").encode("utf-8", "replace")[:_MAX_BYTES].decode("utf-8", "ignore")
    return f"{start}-{hashlib.sha256(content).hexdigest()[:12]}"


def _categories(class_names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"id": index + FIRST_ID, "name": name, "supercategory": ""} for index, name in enumerate(class_names)
    ]
