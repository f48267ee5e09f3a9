"""Paint a drawing in another colour and keep its shading."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from ovseg_demo.sticker_world.stickers import load_sticker

PAINTS: dict[str, tuple[int, int, int]] = {
    "red": (212, 34, 36),
    "orange": (246, 132, 16),
    "yellow": (250, 214, 36),
    "green": (52, 156, 58),
    "blue": (36, 96, 222),
    "purple": (134, 54, 186),
    "pink": (250, 132, 188),
    "brown": (122, 74, 40),
    "black": (50, 50, 55),
    "white": (244, 244, 242),
}
"""RGB of each colour at the middle brightness of a drawing."""

_PALE_CHROMA = 24  # of 255; below it a pixel counts as grey
_COLOURED_SHARE = 0.25  # a drawing with fewer coloured pixels is painted all over

_GREY = np.full((3, 3), 1 / 3)  # projects a colour onto the grey axis
_ACROSS_GREY = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / 3**0.5  # turns by a right angle about it


def paint_sticker(code: int, octave: int, colour: str, rng: np.random.Generator) -> np.ndarray:
    """Return a drawing painted in a colour: uint8 RGBA, premultiplied, as from :func:`load_sticker`.

    Coloured parts take the new hue at their own brightness; white, grey and black parts (windows, eyes,
    tyres) stay, unless the drawing is grey as a whole (an elephant), which is painted all over.
    """
    sticker = load_sticker(code, octave)
    brightness, weight, middle = _plan(code, octave)
    paint = np.array(PAINTS[colour], dtype=np.float32) * rng.uniform(0.95, 1.05, size=3)
    painted = cv2.LUT(cv2.merge([brightness] * 3), _shades(paint, middle, colour)[None])
    alpha = cv2.merge([sticker[..., 3]] * 3)
    painted = cv2.multiply(painted, alpha, scale=1 / 255)
    weight = cv2.merge([weight] * 3)
    kept = cv2.multiply(sticker[..., :3], 255 - weight, scale=1 / 255)
    result = sticker.copy()
    result[..., :3] = cv2.add(kept, cv2.multiply(painted, weight, scale=1 / 255))
    return result


def turn_hue(angle: float, saturation: float = 1.0) -> np.ndarray:
    """Return the matrix (3, 3) that turns RGB about the grey axis and scales the distance from it.

    The angle is in radians.
    """
    return _GREY + saturation * (np.cos(angle) * (np.eye(3) - _GREY) + np.sin(angle) * _ACROSS_GREY)


@cache
def _plan(code: int, octave: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return brightness and weight of the paint, uint8 (h, w) each, and the painted part's mid brightness."""
    sticker = load_sticker(code, octave)
    alpha = sticker[..., 3]
    straight = cv2.divide(sticker[..., :3], cv2.merge([alpha] * 3), scale=255)
    brightness = cv2.cvtColor(straight, cv2.COLOR_RGB2GRAY)
    chroma = straight.max(axis=2).astype(np.int16) - straight.min(axis=2)
    weight = np.clip((chroma - _PALE_CHROMA) * 6, 0, 255).astype(np.uint8)
    opaque = alpha > 127
    if (weight[opaque] > 127).mean() < _COLOURED_SHARE:
        weight = np.full_like(brightness, 255)
    middle = float(np.clip(np.median(brightness[opaque & (weight > 127)]), 70, 235))
    return brightness, weight, middle


def _shades(paint: np.ndarray, middle: float, colour: str) -> np.ndarray:
    """Return colours by brightness, uint8 (256, 3): ``paint`` at ``middle``, darker below, brighter above."""
    level = np.arange(256, dtype=np.float32)[:, None]
    darkest = 0.3 if colour == "white" else 0.12
    lightest = 0.35 if colour == "black" else 0.7
    shadow = darkest + (1 - darkest) * np.minimum(level / middle, 1)
    light = lightest * np.clip((level - middle) / (255 - middle), 0, 1)
    return np.clip(paint * shadow + (255 - paint * shadow) * light, 0, 255).astype(np.uint8)
