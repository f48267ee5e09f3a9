"""Single crops with captions, rendered without a whole scene, for contrastive training."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ovseg_demo.sticker_world.canvas import CLASS_INDEX, Canvas
from ovseg_demo.sticker_world.captions import object_caption, stuff_caption
from ovseg_demo.sticker_world.casting import Appearance, choose_appearance
from ovseg_demo.sticker_world.classes import CLASS_NAMES, find_noun, nouns_of
from ovseg_demo.sticker_world.drawing import draw_sticker
from ovseg_demo.sticker_world.layouts import random_outline
from ovseg_demo.sticker_world.lens import apply_lens, apply_light
from ovseg_demo.sticker_world.scenes import SceneObject
from ovseg_demo.sticker_world.shadows import drop_shadow, ground_shadow
from ovseg_demo.sticker_world.streams import open_stream, pick
from ovseg_demo.sticker_world.stuff import STUFF

_STUFF_SHARE = 0.12  # share of the crops that are stuff alone
_NEIGHBOUR_SHARE = 0.3  # share of the objects with another one at the border
_MIN_SIDE, _MAX_SIDE = 16, 512
_OBJECT, _NEIGHBOUR = 0, 1


class Crop(NamedTuple):
    """One unmasked crop.

    Attributes:
        image: uint8 RGB (size, size, 3).
        mask: bool (size, size), the object's pixels; all pixels if the crop is stuff alone.
        caption: such as "a photo of a blue mushroom on grass".
        object: the object, with its box in the crop; ``None`` if the crop is stuff alone.
    """

    image: np.ndarray
    mask: np.ndarray
    caption: str
    object: SceneObject | None


def render_crop(
    seed: int,
    split: str = "pretraining",
    size: int = 64,
    *,
    noun: str | None = None,
    colour: str | None = None,
) -> Crop:
    """Render one object on stuff, like a crop of a scene; some crops are stuff alone.

    Half of the crops keep the object's proportions, half stretch a close-fitting box to a square.

    Args:
        seed: any integer from 0; the same seed gives different crops in different splits.
        split: "segmentation", "pretraining" or "validation".
        size: side of the crop in pixels.
        noun: class name of the object; by default a random one.
        colour: paint the noun in this colour; only together with ``noun``.

    Raises:
        ValueError: a bad split, seed or size, or a noun or colour that the split does not hold.
    """
    rng = open_stream(seed, split, "crop")
    if not _MIN_SIDE <= size <= _MAX_SIDE:
        raise ValueError(f"A crop of {size} pixels: choose a size from {_MIN_SIDE} to {_MAX_SIDE}.")
    if colour is not None and noun is None:
        raise ValueError(f'The colour "{colour}" needs a noun to be painted on; give both.')
    if noun is None and rng.random() < _STUFF_SHARE:
        return _render_stuff(size, rng)
    chosen = pick(rng, nouns_of(split)) if noun is None else find_noun(noun, split, colour)
    return _render_object(choose_appearance(chosen, split, rng, colour), split, size, rng)


def _render_stuff(size: int, rng: np.random.Generator) -> Crop:
    canvas = Canvas((size, size), unit=1)
    stuff = pick(rng, STUFF).name
    canvas.paint_stuff(stuff, rng, scale=rng.uniform(0.2, 0.9))
    image = apply_lens(apply_light(canvas.image, rng), rng)
    return Crop(image, np.ones((size, size), bool), stuff_caption(stuff, rng), None)


def _render_object(appearance: Appearance, split: str, size: int, rng: np.random.Generator) -> Crop:
    copy = draw_sticker(
        appearance.noun,
        appearance.drawing,
        size * rng.uniform(0.6, 1.1),
        appearance.colour,
        rng,
        any_angle=rng.random() < 0.4,
    )
    height, width = copy.shape[:2]
    canvas = Canvas(_choose_frame(width, height, rng), unit=1)
    left = round((canvas.width - width) * rng.uniform(0.2, 0.8))
    top = round((canvas.height - height) * rng.uniform(0.2, 0.8))
    canvas.paint_stuff(pick(rng, STUFF).name, rng, scale=rng.uniform(0.2, 0.9))
    if rng.random() < 0.35:
        canvas.paint_stuff(
            pick(rng, STUFF).name, rng, outline=random_outline(canvas, rng), scale=rng.uniform(0.2, 0.9)
        )
    base = np.clip((top + height - 1, left + width // 2), 0, (canvas.height - 1, canvas.width - 1))
    stuff_under = CLASS_NAMES[canvas.label_map[tuple(base)]]
    neighbour = rng.random() < _NEIGHBOUR_SHARE
    in_front = rng.random() < 0.4
    if neighbour and not in_front:
        _add_neighbour(canvas, split, size, rng)
    _cast_shadow(canvas, copy[..., 3], left, top, rng)
    canvas.paste(copy, left, top, CLASS_INDEX[appearance.noun.name], _OBJECT)
    if neighbour and in_front:
        _add_neighbour(canvas, split, size, rng)
    return _finish(canvas, appearance, stuff_under, int(np.count_nonzero(copy[..., 3] > 127)), size, rng)


def _choose_frame(width: int, height: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return (width, height) in pixels of the area of a crop around an object of this size."""
    margins = 1 + rng.uniform(-0.06, 0.35, size=2) * (rng.random() < 0.75)
    frame_width, frame_height = width * margins[0], height * margins[1]
    if rng.random() < 0.5:
        frame_width = frame_height = max(frame_width, frame_height)
    return max(8, round(frame_width)), max(8, round(frame_height))


def _add_neighbour(canvas: Canvas, split: str, size: int, rng: np.random.Generator) -> None:
    """Paste another thing with its centre at or beyond the border."""
    appearance = choose_appearance(pick(rng, nouns_of(split)), split, rng)
    copy = draw_sticker(
        appearance.noun, appearance.drawing, size * rng.uniform(0.4, 0.9), appearance.colour, rng
    )
    angle = rng.uniform(0, 2 * np.pi)
    reach = rng.uniform(0.5, 0.65) / max(abs(np.cos(angle)), abs(np.sin(angle)))
    x, y = canvas.width * (0.5 + reach * np.cos(angle)), canvas.height * (0.5 + reach * np.sin(angle))
    left, top = round(x - copy.shape[1] / 2), round(y - copy.shape[0] / 2)
    canvas.paste(copy, left, top, CLASS_INDEX[appearance.noun.name], _NEIGHBOUR)


def _cast_shadow(canvas: Canvas, alpha: np.ndarray, left: int, top: int, rng: np.random.Generator) -> None:
    kind, lean, strength = rng.random(), rng.normal(0, 0.35), rng.uniform(0.25, 0.55)
    if kind < 0.4:
        ground_shadow(canvas, alpha, left, top, lean, strength)
    elif kind < 0.75:
        drop_shadow(
            canvas, alpha, left, top, (0.12 * lean * alpha.shape[0], 0.035 * alpha.shape[0]), strength
        )


def _finish(
    canvas: Canvas,
    appearance: Appearance,
    stuff_under: str,
    drawn_area: int,
    size: int,
    rng: np.random.Generator,
) -> Crop:
    image = cv2.resize(canvas.image, (size, size), interpolation=cv2.INTER_LINEAR)
    image = apply_lens(apply_light(image, rng), rng)
    seen = (canvas.instance_map == _OBJECT).view(np.uint8)
    visible_fraction = int(np.count_nonzero(seen)) / max(drawn_area, 1)
    mask = cv2.resize(seen, (size, size), interpolation=cv2.INTER_NEAREST)
    x, y, width, height = cv2.boundingRect(mask)
    record = SceneObject(
        noun=appearance.noun.name,
        name_used=appearance.name_used,
        colour=appearance.colour,
        class_index=CLASS_INDEX[appearance.noun.name],
        box=(x, y, x + width, y + height),
        visible_fraction=visible_fraction,
        area=int(np.count_nonzero(mask)),
        stuff_under=stuff_under,
    )
    return Crop(image, mask.view(bool), object_caption(record, stuff_under, rng), record)
