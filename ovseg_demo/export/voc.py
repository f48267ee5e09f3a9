"""Masks as in Pascal VOC's task of segmentation: an indexed PNG for each image."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

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
    names = ["unlabelled" if "background" in class_names else "background", *class_names]
    lines = ["# label:color_rgb:parts:actions"]
    for name, (red, green, blue) in zip(names, voc_palette(), strict=False):
        lines.append(f"{name.replace(':', ' ')}:{red},{green},{blue}::")
    yield ExportFile("labelmap.txt", ("\n".join(lines) + "\n").encode("utf-8"))
    yield ExportFile(
        "ImageSets/Segmentation/default.txt", "".join(f"{stem}\n" for stem in stems).encode("utf-8")
    )


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
