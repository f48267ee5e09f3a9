"""The label map as a PNG that holds the class of every pixel exactly."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ovseg_demo.errors import ImageError
from ovseg_demo.export.sized import SizedSegmentation
from ovseg_demo.visualization.palette import BLACK, class_colors

FIRST_ID = 1
"""The number of the first class in every file; 0 is "unlabelled"."""

MAX_PALETTE_CLASSES = 255
"""An 8-bit image has room for so many classes besides "unlabelled"."""


def write(sized: SizedSegmentation) -> bytes:
    """Return PNG bytes of a segmentation's label map; see :func:`encode_label_map`."""
    return encode_label_map(sized.label_map, sized.class_names)


def encode_label_map(label_map: np.ndarray, class_names: Sequence[str]) -> bytes:
    """Return PNG bytes of a label map: a pixel's value is its class index + 1, and 0 where it is unlabelled.

    Up to 255 classes give an 8-bit indexed image whose palette holds the classes' colours. More classes give
    a 16-bit grey image, which cannot have a palette. In both, the text field "classes" is a JSON list of the
    class names.

    Args:
        label_map: int32 (H, W), class indices, or −1.
        class_names: K names.
    """
    values = label_map + FIRST_ID
    text = PngInfo()
    text.add_itxt("classes", json.dumps(list(class_names), ensure_ascii=False))
    buffer = io.BytesIO()
    if len(class_names) <= MAX_PALETTE_CLASSES:
        image = Image.fromarray(values.astype(np.uint8)).convert("P")
        image.putpalette(np.vstack([[BLACK], class_colors(class_names)]).astype(np.uint8).tobytes())
        image.save(buffer, "PNG", bits=8, pnginfo=text)
    else:
        Image.fromarray(values.astype(np.uint16)).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def decode_label_map(source: bytes | str | Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the label map, int32 (H, W), and the class names that :func:`encode_label_map` wrote.

    Args:
        source: the bytes of the PNG, or the path of its file.

    Raises:
        ImageError: the PNG names no classes.
    """
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=["PNG"]) as image:
        values = np.asarray(image)
        texts = image.text
    if "classes" not in texts:
        raise ImageError('The PNG has no text "classes"; give a label map that this program wrote.')
    names = json.loads(texts["classes"])
    return values.astype(np.int32) - FIRST_ID, tuple(names)
