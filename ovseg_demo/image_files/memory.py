"""The memory that decoding takes, as far as the header of a file says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.image_files.tiff import TILE_LENGTH, TILE_WIDTH

MAX_DECODE_BYTES = 640 * 2**20
"""Limit of the memory that the decoding of one image may take."""

_WHOLE_FRAMES = {"WEBP": 20, "AVIF": 16, "HEIF": 12, "TIFF": 8, "GIF": 4}
"""Bytes a pixel of decoders that keep several copies of an image: measured, and rounded up."""

_STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # others: 4 bytes a pixel
_COEFFICIENT = 2  # bytes; a progressive JPEG's are all in memory at once


class MemoryBudget:
    """Bytes that threads share; a thread waits until those that it needs are free.

    Args:
        total: bytes. A thread that needs more gets all of them.
    """

    def __init__(self, total: int):
        self.total = total
        self._left = total
        self._changed = threading.Condition()

    @contextmanager
    def take(self, nbytes: int) -> Iterator[None]:
        """Hold so many bytes."""
        held = min(nbytes, self.total)
        with self._changed:
            self._changed.wait_for(lambda: held <= self._left)
            self._left -= held
        try:
            yield
        finally:
            with self._changed:
                self._left += held
                self._changed.notify_all()


def decoding_bytes(image: Image.Image) -> int:
    """Return the bytes that the decoding of an opened image takes at its peak.

    :meth:`PIL.Image.Image.draft` may have reduced the image's size.
    """
    width, height = image.size
    stored = _STORED.get(image.mode, 4)
    if image.format in ("JPEG", "MPO"):
        full = image.decoderconfig[0] if image.decoderconfig else 1
        bands = len(image.getbands())
        coefficients = _COEFFICIENT * bands * full**2 if image.info.get("progressive") else 0
        return width * height * (stored + coefficients)
    per_pixel = max(stored, _WHOLE_FRAMES.get(image.format, 0))
    return width * height * per_pixel + _tile_bytes(image)


def check_memory(name: str, image: Image.Image, output_pixels: int, max_bytes: int) -> int:
    """Return the bytes that the decoding of an image takes, its output included.

    Args:
        name: of the image, for messages.
        image: opened, and not decoded.
        output_pixels: pixels of the RGB array that is made of it.
        max_bytes: limit of the result.

    Raises:
        ImageError: it takes more.
    """
    needed = decoding_bytes(image) + 3 * output_pixels
    if needed > max_bytes:
        width, height = image.size
        raise ImageError(
            f"{name} ({width}×{height}) takes {needed / 2**20:,.0f} MB of memory to decode, and "
            f"{max_bytes / 2**20:,.0f} MB are allowed; scale it down, or save it as JPEG."
        )
    return needed


def _tile_bytes(image: Image.Image) -> int:
    """Return the size of a TIFF's tile, which may be larger than its image."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(TILE_WIDTH, 0)) * int(tags.get(TILE_LENGTH, 0)) * 8
