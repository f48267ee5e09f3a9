"""The EXIF orientation (EXIF 2.3, tag 274): how the stored pixels must be turned to be upright."""

from __future__ import annotations

import numpy as np
from PIL import Image

UPRIGHT = 1
_TAG = 274


def read_orientation(image: Image.Image) -> int:
    """Return the orientation of an opened image, from 1 to 8; 1 where EXIF data are absent or damaged."""
    try:
        value = image.getexif().get(_TAG, UPRIGHT)
    except MemoryError:
        raise
    except Exception:  # damaged EXIF data raise whatever their reader did not expect
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


def exchanges_sides(orientation: int) -> bool:
    """Return whether turning exchanges width and height."""
    return orientation >= 5


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Return an image (H, W, C) turned by its orientation; contiguous."""
    if exchanges_sides(orientation):
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
