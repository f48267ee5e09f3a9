"""Labels for training YOLO models for segmentation.

A line for each connected part of a class: the index of the class, and the part's border as x and y divided by
width and height. A hole is joined to the outer border by a cut.

Readers round or cut off the coordinates to whole pixels and then fill the polygon, its border included. The
border therefore passes through the outermost pixels of the part, 0.1 or 0.4 pixels after the index of the
pixel, so that both kinds of readers find the exact mask.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ovseg_demo.export.files import ExportFile
from ovseg_demo.export.polygons import Ring, trace_polygons
from ovseg_demo.export.sized import SizedSegmentation

_FROM_LEFT, _FROM_RIGHT = 0.1, -0.6  # pixels from a left or upper edge, and from a right or lower one


def write(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield the file of labels, in the folder ``labels``; it is empty if no class was found."""
    size = np.array(sized.size[::-1])
    lines = []
    for polygon in trace_polygons(sized.label_map):
        points = _through_pixels(polygon.cut_open()) / size
        lines.append(f"{polygon.label} {' '.join(f'{value:.6f}' for value in points.flat)}\n")
    yield ExportFile(f"labels/{sized.options.file_stem}.txt", "".join(lines).encode("ascii"))


def write_dataset(class_names: Sequence[str], stems: Iterable[str]) -> Iterator[ExportFile]:
    """Yield ``data.yaml``: the names of the classes, and the folder ``images`` beside ``labels``."""
    names = "".join(f"  {index}: {_quote(name)}\n" for index, name in enumerate(class_names))
    yield ExportFile("data.yaml", f"train: images\nval: images\nnames:\n{names}".encode())


def _quote(name: str) -> str:
    """Return a name in quotes as YAML reads it; unlike JSON, YAML does not join two escapes to one letter."""
    return f'"{"".join(char if ord(char) > 0xFFFF else json.dumps(char)[1:-1] for char in name)}"'


def _through_pixels(ring: Ring) -> np.ndarray:
    inset = np.select([ring.inward > 0, ring.inward < 0], [_FROM_LEFT, _FROM_RIGHT])
    return ring.points + inset
