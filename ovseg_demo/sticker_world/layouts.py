"""The places of scenes: each layout paints its stuff and returns the zones for things."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ovseg_demo.sticker_world.canvas import Canvas
from ovseg_demo.sticker_world.streams import pick
from ovseg_demo.sticker_world.stuff import STUFF


@dataclass(frozen=True)
class Zone:
    """A part of a scene that things of one place may occupy.

    Attributes:
        place: which things belong here; "any" takes all.
        pose: "standing" (base on the surface), "floating" (in the air), "hanging" (on a wall), "lying" (seen
            from above) or "swimming" (base under water).
        x: (from, to) pixels for the centre of a thing.
        y: (far, near) pixels for its base if it stands or swims, for its centre otherwise.
        size: (far, near) pixels: the side of a middle-sized thing.
    """

    place: str
    pose: str
    x: tuple[float, float]
    y: tuple[float, float]
    size: tuple[float, float]


Layout = Callable[[Canvas, np.random.Generator], tuple[Zone, ...]]
_GROUNDS = ("grass", "sand", "snow", "dirt", "road")
_WALLS = ("wallpaper", "brick wall", "wood", "stone wall", "tiles")


def _below(canvas: Canvas, rng: np.random.Generator, level: float, roughness: float) -> np.ndarray:
    """Return the outline (27, 2) of the area under a smooth random line around ``level``.

    ``level`` is in pixels from the top; the outline is in xy pixels.
    """
    x = np.linspace(0, canvas.width, 25)
    waves = rng.uniform(0.5, 3, size=(3, 1)) * x * 2 * np.pi / canvas.width + rng.uniform(0, 7, size=(3, 1))
    y = level + roughness * canvas.height * (np.sin(waves) * rng.normal(0, 1, size=(3, 1))).sum(axis=0)
    line = np.stack([x, y], axis=1)
    return np.vstack([line, [[canvas.width, canvas.height], [0, canvas.height]]])


def _blob(rng: np.random.Generator, centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    """Return the outline (40, 2), in xy pixels, of a round, slightly irregular patch."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = np.arange(2, 5)[:, None] * angle + rng.uniform(0, 7, size=(3, 1))
    radius = 1 + (np.sin(waves) * rng.normal(0, 0.07, size=(3, 1))).sum(axis=0)
    return np.stack(
        [centre[0] + radii[0] * radius * np.cos(angle), centre[1] + radii[1] * radius * np.sin(angle)], 1
    )


def _ground_zone(canvas: Canvas, horizon: float, place: str = "ground", pose: str = "standing") -> Zone:
    far = horizon + 0.12 * (canvas.height - horizon)
    return Zone(
        place, pose, (0, canvas.width), (far, 0.98 * canvas.height), (72 * canvas.unit, 150 * canvas.unit)
    )


def _sky_zone(canvas: Canvas, horizon: float) -> Zone:
    size = (72 * canvas.unit, 108 * canvas.unit)
    return Zone("sky", "floating", (0, canvas.width), (0.12 * horizon, 0.75 * horizon), size)


def _wall_zone(canvas: Canvas, top: float, bottom: float) -> Zone:
    size = (84 * canvas.unit, 112 * canvas.unit)
    return Zone("wall", "hanging", (0.06 * canvas.width, 0.94 * canvas.width), (top, bottom), size)


def paint_landscape(canvas: Canvas, rng: np.random.Generator) -> tuple[Zone, ...]:
    """Open land under the sky, often with a hedge or a wall along the horizon or a pond."""
    horizon = canvas.height * rng.uniform(0.3, 0.55)
    ground = pick(rng, _GROUNDS)
    canvas.paint_stuff("night sky" if rng.random() < 0.22 else "sky", rng, scale=rng.uniform(0.8, 1.4))
    if rng.random() < 0.35:
        top = horizon - canvas.height * rng.uniform(0.08, 0.2)
        border = pick(rng, ("hedge", "hedge", "stone wall", "brick wall"))
        roughness = 0.006 if border == "hedge" else 0
        canvas.paint_stuff(
            border, rng, outline=_below(canvas, rng, top, roughness), scale=rng.uniform(0.35, 0.5)
        )
    hills = 0.012 if ground in ("grass", "sand", "snow") else 0.003
    outline = _below(canvas, rng, horizon, hills)
    canvas.paint_stuff(ground, rng, outline=outline, scale=0.8, foreshortening=rng.uniform(2, 3.5))
    zones = (_ground_zone(canvas, horizon), _sky_zone(canvas, horizon))
    return (*zones, _paint_pond(canvas, rng, horizon)) if rng.random() < 0.3 else zones


def _paint_pond(canvas: Canvas, rng: np.random.Generator, horizon: float) -> Zone:
    depth = canvas.height - horizon
    x, y = canvas.width * rng.uniform(0.2, 0.8), horizon + depth * rng.uniform(0.4, 0.75)
    radii = canvas.width * rng.uniform(0.2, 0.34), depth * rng.uniform(0.16, 0.28)
    canvas.paint_stuff("water", rng, outline=_blob(rng, (x, y), radii), scale=0.5)
    size = (64 * canvas.unit, 92 * canvas.unit)
    across = (x - 0.65 * radii[0], x + 0.65 * radii[0])
    return Zone("water", "swimming", across, (y - 0.3 * radii[1], y + 0.6 * radii[1]), size)


def paint_seaside(canvas: Canvas, rng: np.random.Generator) -> tuple[Zone, ...]:
    """Paint sky, sea and, mostly, a beach; return the zones for things."""
    horizon = canvas.height * rng.uniform(0.22, 0.4)
    shore = canvas.height * rng.uniform(0.62, 0.85)
    canvas.paint_stuff("night sky" if rng.random() < 0.12 else "sky", rng, scale=rng.uniform(0.8, 1.4))
    sea = _below(canvas, rng, horizon, 0)
    canvas.paint_stuff("water", rng, outline=sea, scale=0.8, foreshortening=rng.uniform(2, 3))
    zones = [_sky_zone(canvas, horizon)]
    if rng.random() < 0.75:
        land = "sand" if rng.random() < 0.75 else pick(rng, ("grass", "dirt", "snow"))
        canvas.paint_stuff(land, rng, outline=_below(canvas, rng, shore, 0.02), scale=0.8, foreshortening=1.6)
        near = (112 * canvas.unit, 142 * canvas.unit)
        y = (shore + 0.07 * canvas.height, 0.98 * canvas.height)
        zones.append(Zone("ground", "standing", (0, canvas.width), y, near))
    else:
        shore = canvas.height
    y = (horizon + 0.1 * canvas.height, shore - 0.03 * canvas.height)
    zones.append(Zone("water", "swimming", (0, canvas.width), y, (66 * canvas.unit, 124 * canvas.unit)))
    return tuple(zones)


def paint_street(canvas: Canvas, rng: np.random.Generator) -> tuple[Zone, ...]:
    """Paint a road along a wall, a hedge or a meadow; return the zones for things."""
    curb = canvas.height * rng.uniform(0.55, 0.72)
    horizon = canvas.height * rng.uniform(0.25, 0.42)
    canvas.paint_stuff("night sky" if rng.random() < 0.2 else "sky", rng, scale=rng.uniform(0.8, 1.4))
    behind = pick(rng, ("brick wall", "hedge", "stone wall", "grass"))
    foreshortening = 2.0 if behind == "grass" else 1.0
    canvas.paint_stuff(
        behind, rng, outline=_below(canvas, rng, horizon, 0.004), scale=0.55, foreshortening=foreshortening
    )
    verge = curb - canvas.height * rng.uniform(0.05, 0.12)
    canvas.paint_stuff(
        pick(rng, ("grass", "tiles", "dirt")),
        rng,
        outline=_below(canvas, rng, verge, 0),
        scale=0.45,
        foreshortening=1.5,
    )
    canvas.paint_stuff("road", rng, outline=_below(canvas, rng, curb, 0), scale=0.9, foreshortening=1.8)
    y = (verge + 0.02 * canvas.height, 0.98 * canvas.height)
    standing = Zone("ground", "standing", (0, canvas.width), y, (96 * canvas.unit, 142 * canvas.unit))
    return standing, _sky_zone(canvas, horizon)


def paint_underwater(canvas: Canvas, rng: np.random.Generator) -> tuple[Zone, ...]:
    """Paint water with a sandy bottom; return the zone for things."""
    canvas.paint_stuff("water", rng, scale=rng.uniform(0.8, 1.3))
    bottom = canvas.height * rng.uniform(0.75, 0.95)
    canvas.paint_stuff(pick(rng, ("sand", "sand", "dirt")), rng, outline=_below(canvas, rng, bottom, 0.02))
    size = (84 * canvas.unit, 124 * canvas.unit)
    across = (0.05 * canvas.width, 0.95 * canvas.width)
    return (Zone("water", "floating", across, (0.12 * canvas.height, bottom - 0.08 * canvas.height), size),)


def paint_room(canvas: Canvas, rng: np.random.Generator) -> tuple[Zone, ...]:
    """Paint a wall and a floor, sometimes with a carpet on it; return the zones for things."""
    edge = canvas.height * rng.uniform(0.48, 0.66)
    wall = pick(rng, ("wallpaper", "wallpaper", "wallpaper", "brick wall", "wood", "stone wall", "tiles"))
    floor = pick(rng, tuple(name for name in ("wood", "tiles", "carpet") if name != wall))
    canvas.paint_stuff(wall, rng, scale=rng.uniform(0.4, 0.8))
    canvas.paint_stuff(
        floor, rng, outline=_below(canvas, rng, edge, 0), scale=0.8, foreshortening=rng.uniform(1.6, 2.4)
    )
    if floor != "carpet" and rng.random() < 0.5:
        _paint_rug(canvas, rng, edge)
    y = (edge + 0.05 * canvas.height, 0.97 * canvas.height)
    standing = Zone("room", "standing", (0, canvas.width), y, (100 * canvas.unit, 138 * canvas.unit))
    return standing, _wall_zone(canvas, 0.14 * canvas.height, edge - 0.16 * canvas.height)


def _paint_rug(canvas: Canvas, rng: np.random.Generator, edge: float) -> None:
    depth = canvas.height - edge
    x, top, bottom = (
        canvas.width * rng.uniform(0.3, 0.7),
        edge + 0.3 * depth,
        edge + rng.uniform(0.75, 0.95) * depth,
    )
    half, spread = canvas.width * rng.uniform(0.2, 0.32), 1.25
    if rng.random() < 0.4:
        outline = _blob(rng, (x, (top + bottom) / 2), (half, (bottom - top) / 2))
    else:
        outline = np.array(
            [[x - half, top], [x + half, top], [x + spread * half, bottom], [x - spread * half, bottom]]
        )
    canvas.paint_stuff("carpet", rng, outline=outline, scale=0.5, foreshortening=1.3)


def paint_table(canvas: Canvas, rng: np.random.Generator) -> tuple[Zone, ...]:
    """Paint a table top before a wall or a garden; return the zones for things."""
    edge = canvas.height * rng.uniform(0.3, 0.52)
    behind = pick(rng, (*_WALLS, "wallpaper", "hedge", "sky"))
    top = pick(
        rng, tuple(name for name in ("tablecloth", "tablecloth", "wood", "wood", "tiles") if name != behind)
    )
    canvas.paint_stuff(behind, rng, scale=rng.uniform(0.45, 0.8))
    canvas.paint_stuff(
        top, rng, outline=_below(canvas, rng, edge, 0), scale=0.8, foreshortening=rng.uniform(1.3, 1.9)
    )
    y = (edge + 0.1 * canvas.height, 0.96 * canvas.height)
    standing = Zone("table", "standing", (0, canvas.width), y, (100 * canvas.unit, 150 * canvas.unit))
    return standing, _wall_zone(
        canvas, 0.12 * canvas.height, max(edge - 0.14 * canvas.height, 0.13 * canvas.height)
    )


def paint_shelf(canvas: Canvas, rng: np.random.Generator) -> tuple[Zone, ...]:
    """Paint two or three boards on a wall; return a zone for things on each."""
    wall = pick(rng, ("wallpaper", "wallpaper", "brick wall", "stone wall", "tiles"))
    canvas.paint_stuff(wall, rng, scale=rng.uniform(0.4, 0.8))
    count = int(rng.integers(2, 4))
    thickness = canvas.height * rng.uniform(0.03, 0.06)
    zones = []
    for index in range(count):
        y = canvas.height * (index + 0.92) / count
        board = np.array([[0, y], [canvas.width, y], [canvas.width, y + thickness], [0, y + thickness]])
        canvas.paint_stuff("wood", rng, outline=board, scale=0.4)
        size = 0.58 * canvas.height / count
        across = (0.04 * canvas.width, 0.96 * canvas.width)
        zones.append(Zone("table", "standing", across, (y + 0.3 * thickness,) * 2, (0.85 * size, size)))
    return tuple(zones)


def paint_flat_lay(canvas: Canvas, rng: np.random.Generator) -> tuple[Zone, ...]:
    """Paint one to three surfaces seen from above; return the zone, on which all things may lie."""
    canvas.paint_stuff(pick(rng, STUFF).name, rng, scale=rng.uniform(0.5, 1))
    for _ in range(int(rng.integers(0, 3))):
        outline = random_outline(canvas, rng)
        canvas.paint_stuff(pick(rng, STUFF).name, rng, outline=outline, scale=rng.uniform(0.4, 0.8))
    x, y = (0.03 * canvas.width, 0.97 * canvas.width), (0.05 * canvas.height, 0.95 * canvas.height)
    return (Zone("any", "lying", x, y, (112 * canvas.unit, 112 * canvas.unit)),)


def random_outline(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Return the outline (n, 2), in xy pixels, of a blob, or of one side of a straight or wavy line."""
    width, height = canvas.width, canvas.height
    if rng.random() < 0.5:
        centre = width * rng.uniform(0.1, 0.9), height * rng.uniform(0.1, 0.9)
        return _blob(rng, centre, (width * rng.uniform(0.2, 0.4), height * rng.uniform(0.2, 0.4)))
    outline = _below(canvas, rng, height * rng.uniform(0.35, 0.7), rng.choice([0, 0.02]))
    outline[:25, 1] += (outline[:25, 0] - width / 2) * rng.normal(0, 0.25)
    return outline


LAYOUTS: tuple[tuple[Layout, frozenset[str], float], ...] = (
    (paint_landscape, frozenset({"ground", "sky"}), 3.0),
    (paint_seaside, frozenset({"ground", "sky", "water"}), 1.0),
    (paint_street, frozenset({"ground"}), 1.2),
    (paint_underwater, frozenset({"water"}), 1.0),
    (paint_room, frozenset({"room", "wall"}), 2.0),
    (paint_table, frozenset({"table"}), 2.0),
    (paint_shelf, frozenset({"table"}), 1.2),
    (paint_flat_lay, frozenset({"ground", "sky", "water", "room", "wall", "table"}), 1.0),
)
"""(Layout, the places whose things it always has a zone for, its weight among the layouts that fit)."""
