"""Whole scenes: stuff, things, labels and a caption, all from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ovseg_demo.sticker_world.canvas import CLASS_INDEX, NO_OBJECT, Canvas
from ovseg_demo.sticker_world.captions import scene_caption
from ovseg_demo.sticker_world.casting import Role, cast
from ovseg_demo.sticker_world.classes import CLASS_NAMES, nouns_of
from ovseg_demo.sticker_world.drawing import draw_sticker
from ovseg_demo.sticker_world.layouts import LAYOUTS, Layout
from ovseg_demo.sticker_world.lens import apply_lens, apply_light
from ovseg_demo.sticker_world.nouns import NOUNS, Noun
from ovseg_demo.sticker_world.shadows import drop_shadow, ground_shadow
from ovseg_demo.sticker_world.streams import open_stream, pick

BENCHMARK_SEEDS: tuple[int, ...] = tuple(range(900_000, 900_200))
"""Seeds of the 200 validation scenes of the benchmark; do not choose settings on them."""

_MIN_SIDE, _MAX_SIDE = 32, 4096
_MENTIONED_FRACTION, _MENTIONED_SIDE = (
    0.4,
    14,
)  # captions leave out what is mostly hidden or tiny (at 640×480)


@dataclass(frozen=True)
class SceneObject:
    """One thing in a scene.

    Attributes:
        noun: its class name.
        name_used: its name in captions: the class name or a synonym.
        colour: the colour that it is painted in, or ``None`` if it has its natural colours.
        class_index: index of its class in ``CLASS_NAMES``.
        box: tight box xyxy of its visible pixels, exclusive end.
        visible_fraction: visible share of its drawing, in (0, 1]; the rest is covered or outside the image.
        area: its visible pixels.
        stuff_under: the stuff class that it stands on or is in front of.
    """

    noun: str
    name_used: str
    colour: str | None
    class_index: int
    box: tuple[int, int, int, int]
    visible_fraction: float
    area: int
    stuff_under: str


@dataclass(frozen=True, eq=False)
class Scene:
    """One image of Sticker World with perfect labels.

    Attributes:
        image: uint8 RGB (H, W, 3).
        label_map: int16 (H, W), index into ``CLASS_NAMES``; every pixel has a label.
        instance_map: int32 (H, W), index into ``objects``; -1 on stuff.
        objects: from back to front; each has at least one visible pixel.
        stuff: names of the stuff classes that are visible, the largest first.
        caption: plain English; mentions some of the scene's objects and stuff.
    """

    image: np.ndarray
    label_map: np.ndarray
    instance_map: np.ndarray
    objects: tuple[SceneObject, ...]
    stuff: tuple[str, ...]
    caption: str


def render_scene(seed: int, split: str = "validation", size: tuple[int, int] = (640, 480)) -> Scene:
    """Render the scene of a seed: always the same for the same seed, split, size and library versions.

    Args:
        seed: any integer from 0; the same seed gives different scenes in different splits.
        split: "segmentation" (base nouns, no unseen colour-noun pairs), "pretraining" (novel nouns too) or
            "validation" (everything).
        size: (width, height) in pixels.

    Raises:
        ValueError: an unknown split, a negative seed, or a side under 32 or over 4096 pixels.
    """
    rng = open_stream(seed, split, "scene")
    if not all(_MIN_SIDE <= side <= _MAX_SIDE for side in size):
        raise ValueError(
            f"A scene of {size[0]}×{size[1]} pixels: choose sides from {_MIN_SIDE} to {_MAX_SIDE}."
        )
    canvas = Canvas(size)
    anchor = pick(rng, nouns_of(split))
    zones = _choose_layout(anchor, rng)(canvas, rng)
    roles = cast(anchor, zones, int(rng.integers(4, 12)), split, rng)
    stuff_under = [_stuff_at(canvas, role) for role in roles]
    night = CLASS_INDEX["night sky"] in canvas.label_map[0]
    drawn_areas = _paint_roles(canvas, roles, rng)
    objects = _describe_objects(canvas, roles, stuff_under, drawn_areas)
    stuff = _visible_stuff(canvas)
    caption = _write_caption(objects, stuff, canvas.unit, rng)
    image = apply_lens(apply_light(canvas.image, rng, night), rng)
    return Scene(image, canvas.label_map, canvas.instance_map, objects, stuff, caption)


def _choose_layout(anchor: Noun, rng: np.random.Generator) -> Layout:
    fitting = [(layout, weight) for layout, places, weight in LAYOUTS if places & anchor.places]
    weights = np.array([weight for _, weight in fitting])
    return fitting[int(rng.choice(len(fitting), p=weights / weights.sum()))][0]


def _stuff_at(canvas: Canvas, role: Role) -> str:
    """Return the stuff class at the role's base, or at its centre if it does not stand."""
    x = int(np.clip(role.x, 0, canvas.width - 1))
    y = int(np.clip(role.y, 0, canvas.height - 1))
    return CLASS_NAMES[canvas.label_map[y, x]]


def _paint_roles(canvas: Canvas, roles: list[Role], rng: np.random.Generator) -> list[int]:
    """Paint all roles in order; returns how many opaque pixels each drawing has, visible or not."""
    lean = rng.normal(0, 0.35)
    strength = rng.uniform(0.25, 0.55)
    areas = []
    for instance, role in enumerate(roles):
        appearance, pose = role.appearance, role.zone.pose
        copy = draw_sticker(
            appearance.noun,
            appearance.drawing,
            role.size,
            appearance.colour,
            rng,
            any_angle=pose in ("lying", "floating"),
        )
        if pose == "swimming":
            copy = copy[: max(4, int(copy.shape[0] * rng.uniform(0.86, 0.96)))]
        height, width = copy.shape[:2]
        left = round(role.x - width / 2)
        top = round(role.y - height) if pose in ("standing", "swimming") else round(role.y - height / 2)
        alpha = copy[..., 3]
        if pose in ("standing", "swimming"):
            ground_shadow(canvas, alpha, left, top, lean, strength)
        elif pose in ("hanging", "lying"):
            drop_shadow(canvas, alpha, left, top, (0.12 * lean * height, 0.035 * height), strength)
        canvas.paste(copy, left, top, CLASS_INDEX[appearance.noun.name], instance)
        areas.append(int(np.count_nonzero(alpha > 127)))
    return areas


def _describe_objects(
    canvas: Canvas, roles: list[Role], stuff_under: list[str], drawn_areas: list[int]
) -> tuple[SceneObject, ...]:
    """Return records of the roles that can be seen; renumber the instance map to match them."""
    areas = np.bincount(canvas.instance_map.ravel() + 1, minlength=len(roles) + 1)[1:]
    visible = np.flatnonzero(areas)
    if len(visible) < len(roles):
        numbers = np.full(len(roles) + 1, NO_OBJECT, np.int32)  # index -1, stuff, is the last entry
        numbers[visible] = np.arange(len(visible))
        canvas.instance_map = numbers[canvas.instance_map]
    objects = []
    for number, index in enumerate(visible):
        appearance = roles[index].appearance
        x, y, width, height = cv2.boundingRect((canvas.instance_map == number).view(np.uint8))
        objects.append(
            SceneObject(
                noun=appearance.noun.name,
                name_used=appearance.name_used,
                colour=appearance.colour,
                class_index=CLASS_INDEX[appearance.noun.name],
                box=(x, y, x + width, y + height),
                visible_fraction=float(areas[index] / drawn_areas[index]),
                area=int(areas[index]),
                stuff_under=stuff_under[index],
            )
        )
    return tuple(objects)


def _visible_stuff(canvas: Canvas) -> tuple[str, ...]:
    areas = np.bincount(canvas.label_map.ravel(), minlength=len(CLASS_NAMES))[len(NOUNS) :]
    return tuple(
        CLASS_NAMES[len(NOUNS) + index] for index in np.argsort(-areas, kind="stable") if areas[index]
    )


def _write_caption(
    objects: tuple[SceneObject, ...], stuff: tuple[str, ...], unit: float, rng: np.random.Generator
) -> str:
    smallest = (_MENTIONED_SIDE * unit) ** 2
    clear = [
        thing for thing in objects if thing.visible_fraction > _MENTIONED_FRACTION and thing.area > smallest
    ]
    return scene_caption(clear, [thing.stuff_under for thing in clear], stuff, rng)
