"""Scaling of whole images."""

from __future__ import annotations

import cv2
import numpy as np


def resize_longer_side(image: np.ndarray, side: int) -> np.ndarray:
    """The image scaled so that its longer side has ``side`` pixels; the other is truncated to an integer.

    The interpolation is OpenCV's bilinear one. The published demo scales images for Segment Anything like
    this.

    Args:
        image: uint8 (H, W) or (H, W, C).
        side: pixels of the longer side of the result.

    Returns:
        uint8 with ``max(h, w) == side``; the image itself where it has that size already.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    if longer == side:
        return image
    new_size = max(1, width * side // longer), max(1, height * side // longer)
    return cv2.resize(image, new_size, interpolation=cv2.INTER_LINEAR)
