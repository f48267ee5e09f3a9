"""Masks as in Pascal VOC's task of segmentation: an indexed PNG for each image."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count

import numpy as np
from PIL import Image

from ovseg_demo.errors import OvsegError
from ovseg_demo.export.files import ExportFile
from ovseg_demo.export.label_map import FIRST_ID
from ovseg_demo.export.sized import SizedSegmentation

MAX_CLASSES = 254
"""Besides 0 for the background and 255, which VOC's readers leave out."""


def write(sized: SizedSegmentation) -> Iterator[ExportFile]:
    """Yield the PNG: 0 is unlabelled, 1 the first class.

    Raises:
        OvsegError: there are too many classes.
    """
    _check_count(len(sized.class_names))
    image = Image.fromarray((sized.label_map + FIRST_ID).astype(np.uint8)).convert("P")
    image.putpalette(voc_palette().tobytes())
    content = io.BytesIO()
    image.save(content, "PNG", bits=8)
    yield ExportFile(f"SegmentationClass/{sized.options.file_stem}.png", content.getvalue())


def write_dataset(class_names: Sequence[str], stems: Iterable[str]) -> Iterator[ExportFile]:
    """Yield the list of images, and ``labelmap.txt`` with names and colours, which CVAT reads.

    Raises:
        OvsegError: there are too many classes.
    """
    _check_count(len(class_names))
    lines = ["# label:color_rgb:parts:actions"]
    for label, (red, green, blue) in zip(_labels(class_names), voc_palette(), strict=False):
        lines.append(f"{label}:{red},{green},{blue}::")
    yield ExportFile("labelmap.txt", ("\n".join(lines) + "\n").encode("utf-8"))
    yield ExportFile(
        "ImageSets/Segmentation/default.txt", "".join(f"{stem}\n" for stem in stems).encode("utf-8")
    )


def _labels(class_names: Sequence[str]) -> list[str]:
    """Return the background's label and those of the classes, all different.

    Labels have no ":", which ends a label in the file, and no "#" at the start, which begins a comment.
    """
    labels: list[str] = []
    for name in class_names:
        labels.append(_free(name.replace(":", " ").lstrip("# ").rstrip() or "class", labels))
    background = "unlabelled" if "background" in labels else "background"
    return [_free(background, labels), *labels]


def _free(label: str, taken: Sequence[str]) -> str:
    """Return a label, with a number behind it if it is taken."""
    numbered = (f"{label} {number}" for number in count(2))
    return next(one for one in chain([label], numbered) if one not in taken)


def voc_palette() -> np.ndarray:
    """Return the 256 colours of Pascal VOC's masks: uint8 RGB (256, 3).

    The bits of an index go in turn to red, green and blue, from each channel's highest bit down
    (VOCdevkit's ``VOClabelcolormap``).
    """
    index = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for place in range(8):
        colors[:, place % 3] |= ((index >> place & 1) << (7 - place // 3)).astype(np.uint8)
    return colors


def _check_count(classes: int) -> None:
    if classes > MAX_CLASSES:
        raise OvsegError(
            f"Pascal VOC's masks have room for {MAX_CLASSES} classes, and there are {classes}; choose "
            "another format, such as label-map."
        )
