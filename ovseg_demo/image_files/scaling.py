"""Scaling of whole images."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image


def resize_longer_side(image: np.ndarray, side: int) -> np.ndarray:
    """Return the image scaled to a longer side of ``side`` pixels; the other is truncated to an integer.

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


def resize_shortest_edge(image: np.ndarray, min_size: int, max_size: int) -> np.ndarray:
    """Return uint8 RGB (H, W, 3) resized with Pillow's bilinear filter; the aspect ratio is kept.

    The shorter side becomes ``min_size``, or less if the longer side would otherwise exceed ``max_size``.
    Sides are rounded half up and are at least one pixel long.
    """
    height, width = image.shape[:2]
    scale = min_size / min(height, width)
    new_height, new_width = height * scale, width * scale
    if max(new_height, new_width) > max_size:
        scale = max_size / max(new_height, new_width)
        new_height, new_width = new_height * scale, new_width * scale
    size = max(1, int(new_width + 0.5)), max(1, int(new_height + 0.5))
    return np.array(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
