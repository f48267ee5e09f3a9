"""Visitors' images: loaded once, kept while there is room, loaded again when needed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.images import load_image, resize_longer_side
from ovseg_demo.runtime.caching import ByteCache
from ovseg_demo.ui.settings import PageSettings

DISPLAY_SIDE = 1600
"""Pixels that the longer side of what the browser shows has at most."""


@dataclass(frozen=True)
class UploadedImage:
    """An image that a visitor chose.

    Attributes:
        number: tells it from the visitor's earlier ones.
        path: of its file.
        width: in pixels, of the image as it is segmented.
        height: the same.
        original_size: (width, height) of the file's image, where that is larger.
    """

    number: int
    path: str
    width: int
    height: int
    original_size: tuple[int, int] | None = None


class ImageStore:
    """Loads images as :class:`PageSettings` allows; safe to use from many threads."""

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self._cache = ByteCache(settings.kept_images)

    def open(self, path: str, number: int) -> UploadedImage:
        """Load an image for the first time.

        Raises:
            ImageError: it cannot be used.
        """
        pixels, original_size = self._load(path)
        height, width = pixels.shape[:2]
        return UploadedImage(number, path, width, height, original_size)

    def pixels(self, image: UploadedImage) -> np.ndarray:
        """The image's pixels: uint8 RGB (height, width, 3).

        Raises:
            ImageError: they were dropped to make room, and the file has been deleted since.
        """
        pixels = self._cache.get(image.path)
        if pixels is not None:
            return pixels
        if not Path(image.path).is_file():
            raise ImageError("The image is no longer here, as some time has passed; choose it again.")
        return self._load(image.path)[0]

    def _load(self, path: str) -> tuple[np.ndarray, tuple[int, int] | None]:
        pixels, original_size = read_image(path, self._settings)
        self._cache.put(path, pixels)
        return pixels, original_size


def read_image(path: str, settings: PageSettings) -> tuple[np.ndarray, tuple[int, int] | None]:
    """The pixels of a visitor's file, uint8 RGB (height, width, 3), scaled down to the limit.

    Returns:
        The pixels, and the (width, height) before they were scaled down, if they were.

    Raises:
        ImageError: the image cannot be used.
    """
    pixels = load_image(path, max_pixels=settings.max_pixels)
    if max(pixels.shape) <= settings.max_side:
        return pixels, None
    original_size = pixels.shape[1], pixels.shape[0]
    return resize_longer_side(pixels, settings.max_side), original_size


def display_jpeg(pixels: np.ndarray) -> bytes:
    """An image as the browser shows it: at most :data:`DISPLAY_SIDE` pixels a side."""
    if max(pixels.shape) > DISPLAY_SIDE:
        pixels = resize_longer_side(pixels, DISPLAY_SIDE)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, subsampling=0)
    return buffer.getvalue()
