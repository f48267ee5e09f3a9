"""Tasks that Label Studio imports, with the regions as predictions of a model.

A task names its image by an address. The address written here is that of Label Studio's local storage:
``/data/local-files/?d=`` and the name of the image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from ovseg_demo.export.files import ExportFile, to_json, write_json_list
from ovseg_demo.export.polygons import trace_polygons
from ovseg_demo.export.run_lengths import class_brushes
from ovseg_demo.export.simplification import simplify
from ovseg_demo.export.sized import SizedSegmentation
from ovseg_demo.visualization.palette import class_colors, hex_color

POLYGON_TOLERANCE = 1.0
"""How far a polygon may be from the border of its part, in pixels of the image that was segmented: people
cannot edit a point for each pixel."""

_BRUSH, _POLYGON = "brushlabels", "polygonlabels"
_TAGS = {_BRUSH: "BrushLabels", _POLYGON: "PolygonLabels"}


def write_brushes(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield a task with an exact mask for each class that was found."""
    brushes = class_brushes(sized.label_map, len(sized.class_names))
    regions = [
        _region(sized, _BRUSH, index, str(index + 1), {"format": "rle", "rle": brush})
        for index, brush in enumerate(sized.follow(brushes, len(sized.class_names)))
        if sized.areas[index]
    ]
    yield _task(sized, regions)


def write_polygons(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield a task with a polygon for each connected part of a class, a hole joined to its outer ring."""
    percent = 100 / np.array(sized.size[::-1])
    regions = []
    for number, polygon in enumerate(trace_polygons(sized.label_map), start=1):
        ring = simplify(polygon, POLYGON_TOLERANCE * sized.scale).cut_open()
        value = {"points": (ring.points * percent).tolist(), "closed": True}
        regions.append(_region(sized, _POLYGON, polygon.label, str(number), value))
    yield _task(sized, regions)


def write_brush_dataset(class_names: Sequence[str], stems: Iterable[str]) -> Iterator[ExportFile]:
    """Yield the labelling configuration of a project whose regions are brushes."""
    yield _configuration(_BRUSH, class_names)


def write_polygon_dataset(class_names: Sequence[str], stems: Iterable[str]) -> Iterator[ExportFile]:
    """Yield the labelling configuration of a project whose regions are polygons."""
    yield _configuration(_POLYGON, class_names)


def merge_tasks(class_names: Sequence[str], paths: Sequence[Path], file: TextIO) -> None:
    """Write the tasks of all images as one list, which Label Studio imports at once."""
    write_json_list(file, (task for path in paths for task in json.loads(path.read_bytes())))


def _task(sized: SizedSegmentation, regions: Sequence[dict[str, Any]]) -> ExportFile:
    options = sized.options
    prediction = {"model_version": str(options.settings.get("model") or "ovseg-demo"), "result": regions}
    address = f"/data/local-files/?d={quote(options.image_name)}"
    task = {"data": {"image": address}, "predictions": [prediction]}
    return ExportFile(f"{options.file_stem}.json", to_json([task], indent=None))


def _region(
    sized: SizedSegmentation, kind: str, label: int, identity: str, value: dict[str, Any]
) -> dict[str, Any]:
    height, width = sized.size
    return {
        "id": identity,
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": float(sized.segmentation.scores[label]),
        "value": {**value, kind: [sized.class_names[label]]},
    }


def _configuration(kind: str, class_names: Sequence[str]) -> ExportFile:
    tag = _TAGS[kind]
    labels = "".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(hex_color(color))}/>\n"
        for name, color in zip(class_names, class_colors(class_names), strict=True)
    )
    text = (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <{tag} name="label" toName="image">\n{labels}  </{tag}>\n</View>\n'
    )
    return ExportFile("label_config.xml", text.encode("utf-8"))
