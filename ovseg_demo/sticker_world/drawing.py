"""Draw a sticker with a random colour, pose, bend, perspective, light and style."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from ovseg_demo.sticker_world.colours import paint_sticker, turn_hue
from ovseg_demo.sticker_world.nouns import Noun
from ovseg_demo.sticker_world.stickers import load_sticker

_LAST_OCTAVE = 2
_MARGIN = 1.12  # room for the parts that bending moves out of the box
_ANCHORS = (np.arange(4, dtype=np.float32) / 3 - 0.5).astype(np.float32)


def draw_sticker(
    noun: Noun, code: int, size: float, colour: str | None, rng: np.random.Generator, any_angle: bool = False
) -> np.ndarray:
    """Return a new random copy of a drawing.

    Args:
        noun: what is drawn; it decides how far the copy may turn.
        code: which of the noun's drawings.
        size: geometric mean of height and width in pixels before turning.
        colour: what it is painted in, or ``None`` for its natural colours.
        rng: the source of all variation.
        any_angle: lay turnable things at any angle.

    Returns:
        uint8 RGBA (h, w, 4) with premultiplied alpha, trimmed to the drawing.
    """
    octave = _choose_octave(code, size)
    source = load_sticker(code, octave) if colour is None else paint_sticker(code, octave, colour, rng)
    if rng.random() < 0.08:
        source = _posterise(source, int(rng.integers(3, 6)))
    copy = _warp(source, size, _choose_angle(noun, any_angle, rng), rng)
    copy = _vary_colours(copy, colour is not None, rng)
    return _trim(_restyle(copy, size, rng))


def _choose_octave(code: int, size: float) -> int:
    height, width = load_sticker(code).shape[:2]
    ratio = (height * width) ** 0.5 / size
    return min(math.floor(math.log2(max(ratio, 1.0))), _LAST_OCTAVE)


def _choose_angle(noun: Noun, any_angle: bool, rng: np.random.Generator) -> float:
    """Return a random angle in radians, clockwise."""
    if noun.turnable and any_angle:
        return rng.uniform(-np.pi, np.pi)
    spread = 0.35 if noun.turnable else 0.1
    return rng.normal(0, spread if rng.random() < 0.7 else spread / 4)


def _warp(source: np.ndarray, size: float, angle: float, rng: np.random.Generator) -> np.ndarray:
    """Flip, stretch, turn, tilt and bend in one resampling.

    The map from target to source is a bicubic Bézier patch. Straight maps are exact in it, and displacing its
    4×4 control points bends the image smoothly.
    """
    height, width = source.shape[:2]
    aspect = (width / height) ** 0.5 * rng.uniform(0.9, 1.1)
    target_width, target_height = size * aspect, size / aspect
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    columns = max(4, round((target_width * cos + target_height * sin) * _MARGIN))
    rows = max(4, round((target_width * sin + target_height * cos) * _MARGIN))
    x, y = np.meshgrid(_ANCHORS * columns, _ANCHORS * rows)  # of the control points, pixels from the centre
    u = (x * np.cos(angle) + y * np.sin(angle)) / target_width
    v = (y * np.cos(angle) - x * np.sin(angle)) / target_height
    keystone_x, keystone_y = rng.normal(0, 0.12, size=2)
    u, v = u * (1 + keystone_x * v), v * (1 + keystone_y * u)
    u, v = np.stack([u, v]) + rng.normal(0, 0.03, size=(2, 4, 4))
    if rng.random() < 0.5:
        u = -u
    across, down = _bernstein(columns), _bernstein(rows)
    map_x = down @ ((u + 0.5) * width - 0.5).astype(np.float32) @ across.T
    map_y = down @ ((v + 0.5) * height - 0.5).astype(np.float32) @ across.T
    enlarged = size > (height * width) ** 0.5
    interpolation = cv2.INTER_CUBIC if enlarged else cv2.INTER_LINEAR
    copy = cv2.remap(source, map_x, map_y, interpolation, borderMode=cv2.BORDER_CONSTANT)
    return _sharpen_border(copy, size / (height * width) ** 0.5) if enlarged else copy


@lru_cache(maxsize=1024)
def _bernstein(count: int) -> np.ndarray:
    """Return the cubic Bernstein basis at ``count`` pixel centres of [0, 1]: float32 (count, 4)."""
    t = (np.arange(count, dtype=np.float32) + 0.5) / count
    s = 1 - t
    basis = np.stack([s**3, 3 * s * s * t, 3 * s * t * t, t**3], axis=1)
    basis.flags.writeable = False
    return basis


def _sharpen_border(copy: np.ndarray, enlargement: float) -> np.ndarray:
    """Narrow a border that was enlarged to its former width; an alpha of one half stays."""
    alpha = copy[..., 3]
    level = np.arange(256, dtype=np.float32)
    steep = cv2.LUT(alpha, np.clip((level - 127.5) * enlargement + 127.5, 0, 255).astype(np.uint8))
    colour = cv2.divide(copy[..., :3], cv2.merge([alpha] * 3), scale=255)
    colour = cv2.multiply(colour, cv2.merge([steep] * 3), scale=1 / 255)
    return cv2.merge([*cv2.split(colour), steep])


def _posterise(sticker: np.ndarray, levels: int) -> np.ndarray:
    table = np.round(np.arange(256) / 255 * levels) * (255 / levels)
    result = sticker.copy()
    result[..., :3] = np.minimum(cv2.LUT(sticker[..., :3], table.astype(np.uint8)), sticker[..., 3:])
    return result


def _vary_colours(copy: np.ndarray, painted: bool, rng: np.random.Generator) -> np.ndarray:
    """Vary hue, saturation, contrast and brightness a little, by one matrix on premultiplied RGBA."""
    hue = rng.normal(0, 0.03 if painted else 0.09)
    saturation = rng.uniform(0.9, 1.1) if painted else rng.uniform(0.8, 1.15)
    gain = rng.uniform(0.92, 1.08) if painted else rng.uniform(0.82, 1.12)
    offset = rng.normal(0, 6)
    matrix = np.zeros((4, 4), dtype=np.float32)
    matrix[:3, :3] = gain * turn_hue(hue, saturation)
    matrix[:3, 3] = offset / 255  # times alpha, so transparent pixels stay transparent
    matrix[3, 3] = 1
    varied = cv2.transform(copy, matrix)
    return cv2.min(varied, cv2.merge([varied[..., 3]] * 4))  # premultiplied colours stay below alpha


def _restyle(copy: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    style = rng.random()
    if style < 0.12:  # a cut-out sticker with its white border
        return _add_outline(copy, max(2, round(size * rng.uniform(0.03, 0.06))), 250)
    if style < 0.2:
        return _add_outline(copy, max(1, round(size * 0.015)), int(rng.integers(0, 60)))
    if style < 0.3:
        return _ink_edges(copy, rng.uniform(0.5, 1.2))
    return copy


def _add_outline(copy: np.ndarray, width: int, grey: int) -> np.ndarray:
    padded = cv2.copyMakeBorder(copy, width, width, width, width, cv2.BORDER_CONSTANT)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    grown = cv2.dilate(padded[..., 3], kernel)
    border = cv2.multiply(cv2.subtract(grown, padded[..., 3]), grey / 255)
    rim = cv2.merge([border, border, border, cv2.subtract(grown, padded[..., 3])])
    return cv2.add(padded, rim)


def _ink_edges(copy: np.ndarray, strength: float) -> np.ndarray:
    """Darken pixels where brightness changes fast, like pen strokes."""
    grey = cv2.cvtColor(copy[..., :3], cv2.COLOR_RGB2GRAY)
    edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    remaining = 255 - cv2.multiply(edges, strength)
    inked = copy.copy()
    inked[..., :3] = cv2.multiply(copy[..., :3], cv2.merge([remaining] * 3), scale=1 / 255)
    return inked


def _trim(copy: np.ndarray) -> np.ndarray:
    x, y, width, height = cv2.boundingRect(cv2.threshold(copy[..., 3], 64, 255, cv2.THRESH_BINARY)[1])
    return copy[y : y + height, x : x + width]
