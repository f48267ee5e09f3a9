"""The pixels of each class, or of each of its connected parts, on a transparent ground."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from ovseg_demo.export.files import ExportFile, to_json
from ovseg_demo.export.names import slug
from ovseg_demo.export.run_lengths import class_rles
from ovseg_demo.export.sized import SizedSegmentation
from ovseg_demo.progress import WRITING

MAX_PARTS = 1000
"""At most so many parts of an image are written, the largest."""

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


Cut = tuple[int, Box, np.ndarray]
"""The index of a class, a box, and the mask in it: bool (height, width)."""


def write_classes(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield a PNG for each class that was found, cut to its box, and a list of them."""
    cuts = ((index, box, _crop(sized.label_map, box) == index) for index, box in _class_boxes(sized))
    return _write(sized, sized.follow(cuts, np.count_nonzero(sized.areas)), left_out=0)


def write_parts(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield a PNG for each connected part, cut to its box, and a list of them.

    Pixels that touch at a corner are connected, too. Of more than :data:`MAX_PARTS` parts the largest are
    written, and the list says how many were left out.
    """
    areas = []
    for index, _, _, statistics in _components(sized):
        sized.options.progress(WRITING, 0, 1)  # their number is not known yet
        for number, area in enumerate(statistics[1:, cv2.CC_STAT_AREA].tolist(), start=1):
            areas.append((area, index, number))
    kept = {part[1:] for part in sorted(areas, reverse=True)[:MAX_PARTS]}
    cuts = sized.follow(_part_cuts(sized, kept), len(kept))
    return _write(sized, cuts, left_out=len(areas) - len(kept))


def _part_cuts(sized: SizedSegmentation, kept: set[tuple[int, int]]) -> Iterator[Cut]:
    for index, (left, top, _, _), components, statistics in _components(sized):
        for number, (x, y, width, height, _) in enumerate(statistics.tolist()):
            if (index, number) in kept:
                mask = _crop(components, (x, y, width, height)) == number
                yield index, (left + x, top + y, width, height), mask


def _components(sized: SizedSegmentation) -> Iterator[tuple[int, Box, np.ndarray, np.ndarray]]:
    """Yield each class that was found: index, box, numbers of the connected parts, and their statistics."""
    for index, box in _class_boxes(sized):
        mask = (_crop(sized.label_map, box) == index).astype(np.uint8)
        _, components, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        yield index, box, components, statistics


def _class_boxes(sized: SizedSegmentation) -> list[tuple[int, Box]]:
    """Return the index and the box of each class that was found."""
    rles = class_rles(sized.label_map, len(sized.class_names))
    boxes = [tuple(int(side) for side in coco_mask.toBbox(rle)) for rle in rles]
    return [(index, box) for index, box in enumerate(boxes) if sized.areas[index]]


def _write(sized: SizedSegmentation, cuts: Iterator[Cut], left_out: int) -> Iterator[ExportFile]:
    image, folder = sized.image(), sized.options.file_stem
    listed: list[dict[str, Any]] = []
    for number, (index, box, mask) in enumerate(cuts, start=1):
        name = f"{number:04d}-{slug(sized.class_names[index])}.png"
        pixels = cv2.cvtColor(_crop(image, box), cv2.COLOR_RGB2BGRA)
        pixels = cv2.bitwise_and(pixels, pixels, mask=mask.view(np.uint8))
        _, content = cv2.imencode(".png", pixels)  # three times as fast as Pillow
        yield ExportFile(f"{folder}/{name}", content.tobytes())
        listed.append({"file": name, "class": sized.class_names[index], "box": list(box)})
    height, width = sized.size
    record = {"size": [width, height], "left_out": left_out, "cut_outs": listed}
    yield ExportFile(f"{folder}/cut-outs.json", to_json(record))


def _crop(array: np.ndarray, box: Box) -> np.ndarray:
    left, top, width, height = box
    return array[top : top + height, left : left + width]
