"""Random pieces of the stuff classes' surfaces, cut from seamless tiles that are painted once."""

from __future__ import annotations

import math
import zlib
from functools import cache

import cv2
import numpy as np

from ovseg_demo.sticker_world.colours import turn_hue
from ovseg_demo.sticker_world.painters import PAINTERS

VARIANTS = 6
"""Number of tiles of each stuff class."""

_LAST_OCTAVE = 2


@cache
def load_tile(stuff_name: str, variant: int, octave: int = 0) -> np.ndarray:
    """Return a seamless tile of a stuff class: read-only uint8 RGB.

    Its side is ``TILE``, halved ``octave`` times.
    """
    if octave:
        larger = load_tile(stuff_name, variant, octave - 1)
        side = larger.shape[0] // 2
        tile = cv2.resize(larger, (side, side), interpolation=cv2.INTER_AREA)
    else:
        rng = np.random.default_rng([zlib.crc32(stuff_name.encode()), variant])
        tile = np.clip(PAINTERS[stuff_name](rng, variant), 0, 255).astype(np.uint8)
    tile.flags.writeable = False
    return tile


def cut_texture(
    stuff_name: str,
    size: tuple[int, int],
    scale: float,
    rng: np.random.Generator,
    foreshortening: float = 1.0,
) -> np.ndarray:
    """Return a random piece of a surface.

    Args:
        stuff_name: one of the stuff classes.
        size: (width, height) in pixels.
        scale: pixels of the piece per pixel of the tile.
        rng: chooses variant, place, direction and tint.
        foreshortening: 1 for a surface seen frontally; above 1 the top edge is that many times farther away
            than the bottom edge, as on the ground before the viewer.

    Returns:
        uint8 RGB (height, width, 3).
    """
    octave = min(max(math.floor(-math.log2(scale)), 0), _LAST_OCTAVE)
    tile = load_tile(stuff_name, int(rng.integers(VARIANTS)), octave)
    step = 1 / (scale * 2**octave)  # tile pixels per piece pixel
    offset = rng.uniform(0, tile.shape[0], size=2)
    flip = -step if rng.random() < 0.5 else step
    to_tile = np.array([[flip, 0, offset[0]], [0, step, offset[1]], [0, 0, 1]])
    if foreshortening > 1:
        to_tile = to_tile @ _ground_plane(size, foreshortening)
    piece = _sample(tile, to_tile, size)
    return cv2.transform(piece, _random_tint(stuff_name, rng))


def _ground_plane(size: tuple[int, int], foreshortening: float) -> np.ndarray:
    """Return the homography (3, 3) from the image to a plane that recedes towards the top.

    The bottom keeps its scale.
    """
    width, height = size
    nearness = (1 - 1 / foreshortening) / height  # the divisor runs from 1/foreshortening at the top to 1
    stretch = 1.6  # the ground is seen at a low angle
    return np.array([[1, 0, -width / 2], [0, stretch, -stretch * height], [0, nearness, 1 / foreshortening]])


def _sample(tile: np.ndarray, to_tile: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(tile, to_tile, size, flags=flags, borderMode=cv2.BORDER_WRAP)


_TURNS = {"wallpaper": np.pi, "tablecloth": np.pi, "carpet": np.pi, "tiles": 0.4}
"""How far (radians) the hue of a class may turn; natural surfaces keep theirs."""


def _random_tint(stuff_name: str, rng: np.random.Generator) -> np.ndarray:
    """Return a random colour matrix, float32 (3, 4).

    It turns the hue within the class's range, and changes contrast and brightness a little.
    """
    angle = rng.uniform(-1, 1) * _TURNS.get(stuff_name, 0.06)
    gain = rng.uniform(0.85, 1.1) * rng.uniform(0.96, 1.04, size=(3, 1))
    return np.hstack([gain * turn_hue(angle), np.full((3, 1), rng.normal(0, 5))]).astype(np.float32)
