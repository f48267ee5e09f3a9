"""Soft shadows under and beside stickers."""

from __future__ import annotations

import cv2
import numpy as np

from ovseg_demo.sticker_world.canvas import Canvas


def drop_shadow(
    canvas: Canvas, alpha: np.ndarray, left: int, top: int, offset: tuple[float, float], strength: float
) -> None:
    """Draw the shadow of a thing that lies on a surface or hangs before it: its blurred, shifted outline."""
    blur = max(1.0, 0.03 * max(alpha.shape))
    shadow, border = _soften(alpha, blur, strength)
    canvas.darken(shadow, left - border + round(offset[0]), top - border + round(offset[1]))


def ground_shadow(
    canvas: Canvas, alpha: np.ndarray, left: int, top: int, lean: float, strength: float
) -> None:
    """Draw the shadow of a standing thing: its outline, flat on the ground behind its base.

    Args:
        canvas: the canvas to darken.
        alpha: uint8 (h, w), the outline.
        left: of the thing, in canvas pixels.
        top: of the thing, in canvas pixels.
        lean: sideways shift of the shadow's far end in heights of the thing.
        strength: 0 to 1.
    """
    height, width = alpha.shape
    flat_height = max(3, round(0.24 * height))
    shift = lean * height
    pad = max(0, round(-shift))
    to_shadow = np.array([[1, -shift / height, shift + pad], [0, flat_height / height, 0]])
    flat = cv2.warpAffine(alpha, to_shadow, (width + round(abs(shift)), flat_height))
    shadow, border = _soften(flat, max(1.0, 0.02 * max(height, width)), strength)
    base = top + height + round(0.04 * height)
    canvas.darken(shadow, left - pad - border, base - flat_height - border)


def _soften(alpha: np.ndarray, blur: float, strength: float) -> tuple[np.ndarray, int]:
    """Return a blurred, weakened outline, uint8, with a border on all sides; and the border's width.

    The width is in pixels.
    """
    border = int(np.ceil(2 * blur))
    padded = cv2.copyMakeBorder(alpha, border, border, border, border, cv2.BORDER_CONSTANT)
    window = (border | 1, border | 1)
    soft = cv2.blur(
        cv2.blur(padded, window), window
    )  # two box filters: nearly Gaussian, at any width for the same price
    return cv2.convertScaleAbs(soft, alpha=strength), border
