"""The surfaces of the stuff classes: formulas that paint seamless tiles."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

TILE = 512
"""Side of a tile in pixels; opposite edges fit together."""

Painter = Callable[[np.random.Generator, int], np.ndarray]


def _noise(rng: np.random.Generator, roughness: float, stretch: tuple[float, float] = (1, 1)) -> np.ndarray:
    """Return seamless fractal noise: float32 (TILE, TILE), mean 0, deviation 1.

    Args:
        rng: the source.
        roughness: exponent of the amplitude's fall with frequency; 0 is white noise, 2 is clouds.
        stretch: (x, y) factors by which blobs are longer than they are wide.
    """
    fy = np.fft.fftfreq(TILE)[:, None] * TILE * stretch[1]
    fx = np.fft.rfftfreq(TILE)[None] * TILE * stretch[0]
    frequency = np.hypot(fx, fy)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((TILE, TILE))) * frequency**-roughness
    noise = np.fft.irfft2(spectrum, s=(TILE, TILE)).astype(np.float32)
    return noise / noise.std()


def _blend(low: tuple, high: tuple, amount: np.ndarray) -> np.ndarray:
    """Return colours from ``low`` (amount 0) to ``high`` (amount 1): float32 (TILE, TILE, 3)."""
    amount = np.clip(amount, 0, 1)[..., None].astype(np.float32)
    return np.float32(low) * (1 - amount) + np.float32(high) * amount


def _speckle(rng: np.random.Generator, strength: float) -> np.ndarray:
    return (_blur(_noise(rng, 0.2), 0.7) * strength)[..., None]


def _blur(field: np.ndarray, deviation: float) -> np.ndarray:
    """Blur a field by a Gaussian, across the tile's edges."""
    reach = math.ceil(4 * deviation)
    padded = cv2.copyMakeBorder(field, reach, reach, reach, reach, cv2.BORDER_WRAP)
    return cv2.GaussianBlur(padded, (0, 0), deviation)[reach:-reach, reach:-reach]


def _grid(period_x: int, period_y: int) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row position within a pattern that repeats: float32 (TILE, TILE) each, in [0, 1)."""
    y, x = np.mgrid[:TILE, :TILE].astype(np.float32) + 0.5
    return (x / period_x) % 1, (y / period_y) % 1


def _nth(options: list, variant: int) -> tuple:
    return options[variant % len(options)]


# Painters: each takes a stream and a variant and makes float colours (TILE, TILE, 3), roughly 0–255.


def _paint_sky(rng: np.random.Generator, variant: int) -> np.ndarray:
    kinds = [
        ((96, 164, 232), (140, 194, 242), 0.0), ((92, 158, 228), (250, 252, 255), -0.5),
        ((120, 184, 238), (248, 250, 252), 0.2), ((250, 176, 128), (252, 222, 170), 0.0),
        ((158, 176, 196), (214, 222, 230), 0.3), ((72, 140, 224), (238, 246, 255), -1.0),
    ]  # fmt: skip
    base, cloud, cover = _nth(kinds, variant)
    return _blend(base, cloud, _noise(rng, 1.9, (1.5, 0.7)) * 0.5 + cover)


def _paint_night_sky(rng: np.random.Generator, variant: int) -> np.ndarray:
    base, glow = _nth(
        [((10, 14, 40), (30, 38, 84)), ((14, 12, 48), (52, 34, 92)), ((6, 14, 34), (20, 50, 88))], variant
    )
    sky = _blend(base, glow, _noise(rng, 1.8) * 0.35 + 0.4)
    stars = np.zeros((TILE, TILE), np.float32)
    count = int(rng.integers(90, 220))
    stars[tuple(rng.integers(1, TILE - 1, size=(2, count)))] = rng.uniform(0.5, 6, count)
    halo = _blur(stars, 0.9) * 2.2 + _blur(stars, 2.5)
    return sky + np.clip(halo, 0, 1.2)[..., None] * np.float32((215, 215, 190))


def _paint_grass(rng: np.random.Generator, variant: int) -> np.ndarray:
    low, high = _nth(
        [((44, 98, 28), (128, 186, 62)), ((58, 110, 36), (156, 196, 84)), ((34, 86, 40), (98, 160, 70))],
        variant,
    )
    blades = _noise(rng, 0.7, (0.45, 2.2)) * 0.22
    return _blend(low, high, 0.5 + blades + _noise(rng, 1.5) * 0.13)


def _paint_water(rng: np.random.Generator, variant: int) -> np.ndarray:
    low, high = _nth(
        [((16, 84, 140), (84, 168, 206)), ((12, 96, 128), (96, 190, 200)), ((22, 62, 118), (76, 130, 190))],
        variant,
    )
    waves = _noise(rng, 1.35, (1.9, 0.4))
    crests = 1 - np.minimum(np.abs(_noise(rng, 1.4, (1.7, 0.45))) * 2.2, 1)
    return _blend(low, high, 0.4 + waves * 0.2) + (crests**3 * 46)[..., None]


def _paint_sand(rng: np.random.Generator, variant: int) -> np.ndarray:
    low, high = _nth(
        [
            ((204, 168, 112), (242, 216, 166)),
            ((214, 186, 140), (248, 230, 192)),
            ((196, 150, 96), (232, 198, 142)),
        ],
        variant,
    )
    ripples = np.sin((_grid(TILE, TILE)[1] * 18 + _noise(rng, 2.0) * 0.5) * 2 * np.pi) * 0.12 * (variant % 2)
    return _blend(low, high, 0.5 + _noise(rng, 1.4) * 0.18 + ripples) + _speckle(rng, 9)


def _paint_snow(rng: np.random.Generator, variant: int) -> np.ndarray:
    soft = _blend((196, 214, 236), (250, 252, 255), 0.65 + _noise(rng, 1.9) * 0.24)
    return soft + _speckle(rng, 3)


def _paint_dirt(rng: np.random.Generator, variant: int) -> np.ndarray:
    low, high = _nth(
        [((70, 46, 28), (140, 100, 66)), ((84, 60, 42), (150, 116, 84)), ((62, 40, 30), (120, 80, 56))],
        variant,
    )
    soil = _blend(low, high, 0.45 + _noise(rng, 1.1) * 0.26) + _speckle(rng, 9)
    for _ in range(70):  # pebbles
        centre = rng.integers(0, TILE, 2)
        radius = int(rng.integers(2, 6))
        colour = np.float64(high) * rng.uniform(0.8, 1.25)
        _wrapped(cv2.ellipse, soil, centre, (radius + 1, radius), rng.uniform(0, 180), colour)
    return soil


def _paint_road(rng: np.random.Generator, variant: int) -> np.ndarray:
    tone = _nth([78, 96, 112], variant)
    asphalt = np.full((TILE, TILE, 3), tone, np.float32) + np.float32((0, 1, 4))
    return asphalt + _speckle(rng, 12) + (_noise(rng, 1.6) * 6)[..., None]


def _paint_brick_wall(rng: np.random.Generator, variant: int) -> np.ndarray:
    tones = [
        ((168, 72, 52), (200, 190, 178)), ((146, 60, 46), (150, 140, 130)), ((186, 98, 66), (222, 212, 198)),
        ((128, 66, 54), (182, 174, 164)), ((196, 132, 92), (226, 220, 208)), ((158, 84, 70), (110, 100, 96)),
    ]  # fmt: skip
    brick, mortar = _nth(tones, variant)
    rows, columns = (16, 8) if variant % 2 else (12, 6)
    y, x = np.mgrid[:TILE, :TILE].astype(np.float32) + 0.5
    row = np.floor(y * rows / TILE).astype(int)
    shifted = x * columns / TILE + 0.5 * (row % 2)
    column = np.floor(shifted).astype(int) % columns
    tint = rng.normal(0, 15, size=(rows, columns, 1)) + rng.normal(0, 4, size=(rows, columns, 3))
    bricks = np.float32(brick) + tint[row, column] + _speckle(rng, 7) + (_noise(rng, 1.2) * 6)[..., None]
    gap = 2.5 * rows / TILE
    down, across = (y * rows / TILE) % 1, shifted % 1
    joint = (down < gap) | (down > 1 - gap) | (across < gap / 2) | (across > 1 - gap / 2)
    lit = np.where((down < 2.2 * gap) & ~joint, 14, 0)[..., None]
    return np.where(joint[..., None], np.float32(mortar) + _speckle(rng, 8), bricks + lit)


def _paint_stone_wall(rng: np.random.Generator, variant: int) -> np.ndarray:
    tone = _nth([(150, 148, 142), (168, 158, 142), (124, 128, 132)], variant)
    nearest, second, owner = _cells(rng, 64 if variant % 2 else 42)
    seam = np.clip((second - nearest) / 5 - 0.5, 0, 1)
    shades = rng.normal(0, 17, size=(owner.max() + 1, 1)) + rng.normal(0, 4, size=(owner.max() + 1, 3))
    bulge = np.clip((second - nearest) / 40, 0, 1) * 22
    stones = np.float32(tone) + shades[owner] + bulge[..., None] + (_noise(rng, 1.0) * 9)[..., None]
    return stones * seam[..., None] + np.float32((74, 70, 64)) * (1 - seam[..., None])


def _cells(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return seamless Voronoi cells of random points: distances to the nearest two, and the nearest's index.

    All are (TILE, TILE), the distances float32 and the index int16. Computed on every second pixel, which is
    enough for stones and four times as fast.
    """
    y, x = np.mgrid[:TILE:2, :TILE:2].astype(np.float32)
    bend_x, bend_y = _noise(rng, 1.8)[::2, ::2] * 5, _noise(rng, 1.8)[::2, ::2] * 5
    nearest = np.full(x.shape, np.inf, np.float32)
    second = nearest.copy()
    owner = np.zeros(x.shape, np.int16)
    for index, (px, py) in enumerate(_spread_points(rng, count)):
        dx, dy = (x + bend_x - px) % TILE, (y + bend_y - py) % TILE
        distance = np.hypot(np.minimum(dx, TILE - dx), 1.3 * np.minimum(dy, TILE - dy))
        closer = distance < nearest
        second = np.minimum(second, np.where(closer, nearest, distance))
        owner[closer] = index
        nearest = np.minimum(nearest, distance)
    size = (TILE, TILE)
    return (
        cv2.resize(nearest, size),
        cv2.resize(second, size),
        cv2.resize(owner, size, interpolation=cv2.INTER_NEAREST),
    )


def _spread_points(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Return points (x, y) with large distances on the torus: each is the best of twelve candidates."""
    points = [rng.uniform(0, TILE, 2)]
    while len(points) < count:
        candidates = rng.uniform(0, TILE, (12, 2))
        gaps = np.abs(candidates[:, None] - np.array(points)[None])
        gaps = np.minimum(gaps, TILE - gaps)
        points.append(candidates[np.hypot(gaps[..., 0], gaps[..., 1]).min(axis=1).argmax()])
    return points


def _paint_wood(rng: np.random.Generator, variant: int) -> np.ndarray:
    tones = [
        ((134, 84, 44), (196, 140, 86)), ((168, 118, 70), (222, 178, 122)), ((88, 54, 34), (142, 94, 58)),
        ((180, 136, 88), (232, 196, 146)), ((112, 66, 38), (172, 108, 62)),
        ((150, 128, 104), (200, 182, 158)),
    ]  # fmt: skip
    low, high = _nth(tones, variant)
    planks = 6 if variant % 2 else 8
    row = np.minimum(np.arange(TILE) * planks // TILE, planks - 1)
    down = (np.arange(TILE)[:, None] * planks / TILE) % 1
    grain = _noise(rng, 1.0, (3.0, 0.12))
    for index in range(planks):  # every plank has its own part of the grain
        grain[row == index] = np.roll(grain[row == index], int(rng.integers(TILE)), axis=1)
    shade = rng.normal(0, 0.13, planks)[row][:, None]
    boards = _blend(low, high, 0.5 + grain * 0.17 + shade)
    gap = (down < 2.2 * planks / TILE) | np.zeros((TILE, TILE), bool)
    ends = rng.integers(0, TILE, planks)[row][:, None]
    gap |= np.abs(np.arange(TILE)[None] - ends) < 1.2
    return np.where(gap[..., None], boards * 0.45, boards)


def _paint_wallpaper(rng: np.random.Generator, variant: int) -> np.ndarray:
    ground, motif = np.float32((232, 222, 206)), np.float32((196, 158, 152))
    x, y = _grid(64, 64)
    if variant == 0:
        pattern = (x < 0.5).astype(np.float32)
    elif variant == 1:
        pattern = (np.hypot(x - 0.5, y - 0.5) < 0.2).astype(np.float32)
    elif variant == 2:
        pattern = (np.abs(x - 0.5) + np.abs(y - 0.5) < 0.3).astype(np.float32)
    elif variant == 3:
        angle, radius = np.arctan2(y - 0.5, x - 0.5), np.hypot(x - 0.5, y - 0.5)
        pattern = (radius < 0.2 + 0.12 * np.cos(5 * angle)).astype(np.float32)
    elif variant == 4:
        thin = _grid(32, 32)[0]
        pattern = (np.abs(thin - 0.5) < 0.12) * 0.8 + (np.abs(x - 0.5) < 0.04) * 0.2
    else:
        wave = np.abs((y + 0.18 * np.sin(2 * np.pi * x)) % 0.5 - 0.25)
        pattern = (wave < 0.06).astype(np.float32)
    pattern = _blur(np.float32(pattern), 0.8)[..., None]
    return ground * (1 - pattern) + motif * pattern + _speckle(rng, 2.5)


def _paint_tiles(rng: np.random.Generator, variant: int) -> np.ndarray:
    kinds = [
        ((228, 230, 228), (228, 230, 228), 8), ((236, 232, 222), (92, 104, 112), 8),
        ((206, 222, 226), (180, 204, 212), 8), ((214, 160, 124), (200, 142, 106), 4),
        ((238, 238, 236), (60, 62, 66), 4), ((190, 202, 192), (224, 228, 220), 8),
    ]  # fmt: skip
    light, dark, count = _nth(kinds, variant)
    x, y = _grid(TILE // count, TILE // count)
    column, row = (np.arange(TILE) * count // TILE)[None], (np.arange(TILE) * count // TILE)[:, None]
    checks = ((column + row) % 2).astype(np.float32)
    shade = rng.normal(0, 5, size=(count, count))[row, column][..., None]
    faces = _blend(light, dark, checks) + shade + (_noise(rng, 1.6) * 4)[..., None]
    gap = 2.0 * count / TILE
    grout = (x < gap) | (x > 1 - gap) | (y < gap) | (y > 1 - gap)
    glint = np.where((x + y < 0.35), 8, 0)[..., None]
    return np.where(grout[..., None], np.float32((166, 164, 158)), faces + glint)


def _paint_carpet(rng: np.random.Generator, variant: int) -> np.ndarray:
    deep, bright = np.float32((132, 34, 40)), np.float32((214, 172, 104))
    accent = np.float32((40, 52, 96))
    x, y = _grid(128, 128)
    ring = np.abs(x - 0.5) + np.abs(y - 0.5)
    if variant % 3 == 0:
        bands = np.floor(ring * 8)
    elif variant % 3 == 1:
        bands = np.floor((y * 8 + np.abs(x * 4 % 1 - 0.5) * 3) % 8)
    else:
        bands = np.floor(np.maximum(np.abs(x - 0.5), np.abs(y - 0.5)) * 8 + (ring < 0.22) * 2)
    palette = np.stack([deep, bright, deep * 0.8, accent, deep, deep * 1.15, bright * 0.85, accent * 1.2])
    weave = (_grid(4, 4)[0] < 0.5) ^ (_grid(4, 4)[1] < 0.5)
    return palette[bands.astype(int) % 8] * np.where(weave, 1.06, 0.9)[..., None] + _speckle(rng, 10)


def _paint_hedge(rng: np.random.Generator, variant: int) -> np.ndarray:
    tone = _nth([(52, 112, 44), (70, 128, 48), (36, 92, 48)], variant)
    leaves = np.full((TILE, TILE, 3), np.float32(tone) * 0.35, np.float32)
    for depth in np.linspace(0.5, 1.25, 1500):
        centre = rng.integers(0, TILE, 2)
        length = int(rng.integers(9, 17))
        colour = np.float64(tone) * depth * rng.uniform(0.85, 1.2) + rng.normal(0, 4, 3)
        _wrapped(cv2.ellipse, leaves, centre, (length, length // 2), rng.uniform(0, 180), colour)
    return leaves


def _wrapped(
    draw: Callable, canvas: np.ndarray, centre: np.ndarray, axes: tuple, angle: float, colour: np.ndarray
) -> None:
    """Draw an ellipse at every place where it meets the tile, so that opposite edges fit together."""
    reach = max(axes) + 1
    for dx in (-TILE, 0, TILE):
        for dy in (-TILE, 0, TILE):
            x, y = int(centre[0] + dx), int(centre[1] + dy)
            if -reach < x < TILE + reach and -reach < y < TILE + reach:
                draw(canvas, (x, y), axes, angle, 0, 360, colour.tolist(), -1)


def _paint_tablecloth(rng: np.random.Generator, variant: int) -> np.ndarray:
    colour = np.float32((206, 52, 56))
    period = _nth([64, 32, 128], variant)
    x, y = _grid(period, period)
    if variant < 3:
        amount = ((x < 0.5).astype(np.float32) + (y < 0.5)) / 2
    else:
        amount = np.maximum((np.abs(x - 0.5) < 0.3) * 0.45, 0) + np.maximum((np.abs(y - 0.5) < 0.3) * 0.45, 0)
        amount = np.maximum(amount, np.maximum(np.abs(x - 0.5) < 0.04, np.abs(y - 0.5) < 0.04) * 0.95)
    cloth = np.float32((246, 244, 240)) * (1 - amount[..., None]) + colour * amount[..., None]
    threads = np.where((_grid(2, 2)[0] < 0.5) ^ (_grid(2, 2)[1] < 0.5), 1.02, 0.97)[..., None]
    return cloth * threads + _speckle(rng, 4) + (_noise(rng, 1.9) * 4)[..., None]


PAINTERS: dict[str, Painter] = {
    "sky": _paint_sky,
    "night sky": _paint_night_sky,
    "grass": _paint_grass,
    "water": _paint_water,
    "sand": _paint_sand,
    "snow": _paint_snow,
    "dirt": _paint_dirt,
    "road": _paint_road,
    "brick wall": _paint_brick_wall,
    "stone wall": _paint_stone_wall,
    "wood": _paint_wood,
    "wallpaper": _paint_wallpaper,
    "tiles": _paint_tiles,
    "carpet": _paint_carpet,
    "hedge": _paint_hedge,
    "tablecloth": _paint_tablecloth,
}
"""A painter for every stuff class: ``painter(rng, variant)`` makes float (TILE, TILE, 3), about 0 to 255."""
