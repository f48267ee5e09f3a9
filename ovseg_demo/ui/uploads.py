"""Visitors' images: what is known of a file, and its pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.image_files.memory import MemoryBudget
from ovseg_demo.images import SourceImage, load_image, read_source, read_upright_size, resize_longer_side
from ovseg_demo.ui.settings import PageSettings

DISPLAY_SIDE = 1600
"""The largest length in pixels of the longer side of an image in the browser."""


@dataclass(frozen=True)
class UploadedImage:
    """An image that a visitor chose.

    Attributes:
        number: identifies it within the session.
        path: of its file.
        width: in pixels, as it is segmented.
        height: in pixels, as it is segmented.
        original_size: (width, height) of the file's image, where that is larger.
        source: what the file's header says of its image, for the record of a result.
        frame: the number of the camera's frame in the browser; ``None`` for an image of a file. A frame has
            no file: its path is empty.
    """

    number: int
    path: str
    width: int
    height: int
    original_size: tuple[int, int] | None = None
    source: SourceImage | None = None
    frame: int | None = None


def open_upload(
    path: str, number: int, settings: PageSettings, budget: MemoryBudget | None = None
) -> tuple[UploadedImage, np.ndarray]:
    """Return what is known of a file's image, and its pixels: uint8 RGB (height, width, 3).

    Args:
        path: of the file.
        number: of the image within its session.
        settings: limits.
        budget: what all visitors' images may take together while they are decoded.

    Raises:
        OvsegError: the image cannot be used, or the file was deleted.
    """
    pixels, original_size = read_image(path, settings, budget)
    height, width = pixels.shape[:2]
    return UploadedImage(number, path, width, height, original_size, read_source(path)), pixels


def read_image(
    path: str, settings: PageSettings, budget: MemoryBudget | None = None
) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Return the pixels of a visitor's file, scaled down to the limit while they are decoded.

    Args:
        path: of the file.
        settings: limits.
        budget: what all visitors' images may take together while they are decoded.

    Returns:
        uint8 RGB (height, width, 3), and the (width, height) before scaling, if it was scaled.

    Raises:
        OvsegError: the image cannot be used, or the file was deleted.
    """
    if not Path(path).is_file():
        raise ImageError("The image is no longer on the server; choose it again.")
    pixels = load_image(
        path,
        max_pixels=settings.max_pixels,
        max_side=settings.max_side,
        max_bytes=settings.decode_memory,
        budget=budget,
    )
    original_size = read_upright_size(path)
    return pixels, original_size if max(original_size) > settings.max_side else None


def display_jpeg(pixels: np.ndarray) -> bytes:
    """Return an image as a JPEG for the browser: at most :data:`DISPLAY_SIDE` pixels a side."""
    if max(pixels.shape) > DISPLAY_SIDE:
        pixels = resize_longer_side(pixels, DISPLAY_SIDE)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()
