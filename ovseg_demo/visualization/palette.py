"""The colour of each class: the same for the same name, and different from those of the other classes.

The rule: each name ranks the fourteen *primary* colours by a hash of its own, and the names of a list choose
in turn, each the first colour in its ranking that is still free. So a name keeps its colour on every image
and in every run. Appending names to a list changes no colour of the earlier ones. Only where two names of one
list prefer the same colour does the later one take its next. When the primary colours are used up, further
names choose in the same way among a thousand *secondary* ones. When these are used up, too, all colours are
free again.

Any two primary colours are distinct: their CIEDE2000 difference is at least 19.9 in normal vision, 13.2
and 12.4 to deuteranopes and protanopes, 11.2 to tritanopes (simulated after Machado, Oliveira and Fernandes,
2009), where Okabe and Ito's palette of seven reaches 10.9 at the least. They were found by maximising the
smallest of these differences among colours of middle lightness and chroma, which stand out on most images.
"""

from __future__ import annotations

import colorsys
import hashlib
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np

Color = tuple[int, int, int]
"""RGB, each 0–255."""

BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)

PRIMARY: tuple[Color, ...] = (
    (60, 120, 255),
    (255, 135, 60),
    (60, 165, 135),
    (255, 45, 105),
    (255, 225, 0),
    (105, 60, 195),
    (120, 240, 255),
    (165, 0, 105),
    (180, 240, 165),
    (120, 120, 15),
    (255, 165, 195),
    (30, 180, 255),
    (0, 105, 60),
    (180, 105, 165),
)

SECONDARY_COUNT = 1021


def class_colors(class_names: Sequence[str]) -> np.ndarray:
    """Return a colour for each name of a list.

    Upper and lower case, blanks at the ends and Unicode's ways of writing the same letter make no difference.

    Args:
        class_names: of any number; equal ones get different colours.

    Returns:
        uint8 RGB (K, 3). The first 1,035 differ from each other; then all colours are free again.
    """
    colors: list[Color] = []
    taken: set[Color] = set()
    for name in class_names:
        if len(taken) == len(PRIMARY) + SECONDARY_COUNT:
            taken.clear()
        color = next(color for color in _ranking(name, len(taken) < len(PRIMARY)) if color not in taken)
        colors.append(color)
        taken.add(color)
    return np.array(colors, dtype=np.uint8).reshape(-1, 3)


def distinct_colors(count: int) -> np.ndarray:
    """Return colours for things without names, such as mask proposals: uint8 RGB (count, 3).

    The first 1,035 differ from each other; then they come again.
    """
    return np.resize(np.array(PRIMARY + secondary_colors(), dtype=np.uint8), (count, 3))


def text_color(background: Color) -> Color:
    """Return black or white, whichever contrasts more with a background (by WCAG 2, at least 4.5 : 1)."""
    return BLACK if _contrast(background, BLACK) >= _contrast(background, WHITE) else WHITE


def hex_color(color: Sequence[int]) -> str:
    """Return an RGB colour as ``#rrggbb``."""
    red, green, blue = (int(channel) for channel in color)
    return f"#{red:02x}{green:02x}{blue:02x}"


@cache
def secondary_colors() -> tuple[Color, ...]:
    """Return colours for long lists, none twice: hues a golden angle apart, three shades, three strengths."""
    golden_ratio = (5**0.5 - 1) / 2
    colors: dict[Color, None] = {}
    index = 0
    while len(colors) < SECONDARY_COUNT:
        saturation = (0.9, 0.6, 0.75)[index % 3]
        value = (0.95, 0.6, 0.8)[index // 3 % 3]
        rgb = colorsys.hsv_to_rgb(index * golden_ratio % 1, saturation, value)
        color = tuple(round(channel * 255) for channel in rgb)
        if color not in PRIMARY:
            colors[color] = None
        index += 1
    return tuple(colors)


def _ranking(name: str, primary_is_free: bool) -> Sequence[Color]:
    """Return the colours in a name's own order of preference."""
    key = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    if primary_is_free:
        return sorted(PRIMARY, key=lambda color: _hash(f"{hex_color(color)} {key}"))
    start = _hash(key) % SECONDARY_COUNT
    return secondary_colors()[start:] + secondary_colors()[:start]


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _contrast(first: Color, second: Color) -> float:
    """WCAG 2.1's contrast ratio of two colours, from 1 to 21."""
    darker, lighter = sorted((_luminance(first), _luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: Color) -> float:
    srgb = np.asarray(color) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
