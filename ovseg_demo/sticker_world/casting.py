"""Choose the things of a scene, their appearance and their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ovseg_demo.sticker_world.classes import UNSEEN_PAIRS, colours_of, nouns_of
from ovseg_demo.sticker_world.layouts import Zone
from ovseg_demo.sticker_world.nouns import Noun
from ovseg_demo.sticker_world.stickers import sticker_aspect
from ovseg_demo.sticker_world.streams import pick

_SIZE_FACTORS = {1: 0.6, 2: 0.78, 3: 1.0, 4: 1.22, 5: 1.5}
_COLOURED_SHARE = 0.66  # share of the paintable things that are painted: half of all things
_UNSEEN_SHARE = 0.3  # share of the painted validation things with an unseen colour
_TRIES = 10
_MAX_OVERLAP = 0.45  # of the smaller of two boxes


@dataclass(frozen=True)
class Appearance:
    """How a noun appears: one of its drawings, a colour or ``None``, and its name in captions."""

    noun: Noun
    drawing: int
    colour: str | None
    name_used: str


@dataclass(frozen=True)
class Role:
    """An appearance at a place; (x, y) as in :class:`Zone`, size in pixels as in :func:`draw_sticker`."""

    appearance: Appearance
    zone: Zone
    x: float
    y: float
    size: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The approximate box, xyxy in pixels."""
        aspect = sticker_aspect(self.appearance.drawing) ** 0.5
        width, height = self.size * aspect, self.size / aspect
        bottom = self.y if self.zone.pose in ("standing", "swimming") else self.y + height / 2
        return self.x - width / 2, bottom - height, self.x + width / 2, bottom


def choose_appearance(
    noun: Noun, split: str, rng: np.random.Generator, colour: str | None = None
) -> Appearance:
    """Choose a noun's drawing, a colour that the split allows, and a name; ``colour`` fixes the colour."""
    drawing = pick(rng, noun.drawings)
    if colour is None and rng.random() < _COLOURED_SHARE:
        colour = _choose_colour(noun, split, rng)
    name_used = noun.name if rng.random() < 0.75 else pick(rng, noun.names)
    return Appearance(noun, drawing, colour, name_used)


def _choose_colour(noun: Noun, split: str, rng: np.random.Generator) -> str | None:
    colours = colours_of(noun, split)
    unseen = tuple(colour for colour in colours if (colour, noun.name) in UNSEEN_PAIRS)
    if unseen and rng.random() < _UNSEEN_SHARE:
        colours = unseen
    return pick(rng, colours) if colours else None


def cast(
    anchor: Noun, zones: tuple[Zone, ...], count: int, split: str, rng: np.random.Generator
) -> list[Role]:
    """Return up to ``count`` roles for a scene, including the anchor's, from back to front.

    A role that finds no free place is left out.
    """
    roles: list[Role] = []
    appearance = choose_appearance(anchor, split, rng)
    for _ in range(count):
        role = _find_place(appearance, zones, roles, rng)
        if role is not None:
            roles.append(role)
        if rng.random() >= 0.2:  # else one more of the same
            appearance = choose_appearance(_choose_noun(zones, split, rng), split, rng)
    return sorted(roles, key=lambda role: (role.zone.pose not in ("hanging", "floating"), role.y))


def _fits(noun: Noun, zone: Zone) -> bool:
    return zone.place == "any" or zone.place in noun.places


def _choose_noun(zones: tuple[Zone, ...], split: str, rng: np.random.Generator) -> Noun:
    fitting = [noun for noun in nouns_of(split) if any(_fits(noun, zone) for zone in zones)]
    return pick(rng, fitting)


def _find_place(
    appearance: Appearance, zones: tuple[Zone, ...], others: list[Role], rng: np.random.Generator
) -> Role | None:
    fitting = [zone for zone in zones if _fits(appearance.noun, zone)]
    if not fitting:
        return None
    for _ in range(_TRIES):
        role = _place(appearance, pick(rng, fitting), rng)
        if all(_overlap(role.box, other.box) < _MAX_OVERLAP for other in others):
            return role
    return None


def _place(appearance: Appearance, zone: Zone, rng: np.random.Generator) -> Role:
    nearness = rng.random()
    x = rng.uniform(*zone.x)
    y = zone.y[0] + nearness * (zone.y[1] - zone.y[0])
    middle = zone.size[0] + nearness * (zone.size[1] - zone.size[0])
    factor = _SIZE_FACTORS[appearance.noun.size]
    if zone.place not in ("ground", "sky", "water"):
        factor **= 0.55  # things close to the viewer differ less in size
    return Role(appearance, zone, x, y, middle * factor * rng.uniform(0.82, 1.18))


def _overlap(first: tuple, second: tuple) -> float:
    """Return the shared area of two boxes as a share, from 0 to 1, of the smaller one."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / min(areas)
