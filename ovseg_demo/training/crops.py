"""Captioned images of Sticker World for pre-training: drawn once, stored on disk, used many times.

The data loader's workers draw the images in the first pass over them. Later passes read them, with new crops,
tones and captions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from torch.utils.data import Dataset

from ovseg_demo.sticker_world import (
    CLASS_NAMES,
    COLOURS,
    NOUNS,
    STUFF,
    Crop,
    object_caption,
    render_crop,
    render_scene,
    stuff_caption,
)
from ovseg_demo.training.pixels import vary_tone
from ovseg_demo.training.records import open_records, shuffled

STORED_SIZE = 80
"""Side of a stored image in pixels: a quarter more than the input, to leave room for random crops."""

_CAPTION_BYTES = 240
_SCENE_SHARE = 0.08
_SCENE_SIZE = (256, 192)

RECORD = np.dtype(
    [
        ("drawn", np.uint8),
        ("image", np.uint8, (STORED_SIZE, STORED_SIZE, 3)),
        ("label", np.int16),  # index into CLASS_NAMES; -1 for a whole scene
        ("colour", np.int8),  # index into COLOURS; -1 for natural colours
        ("stuff", np.int8),  # stuff class under the object, as an index after the nouns; -1: none
        ("caption", f"S{_CAPTION_BYTES}"),
    ]
)


@dataclass(frozen=True)
class CaptionedImage:
    """One sample.

    Attributes:
        image: uint8 RGB (S, S, 3).
        caption: a description of it.
        label: its class, an index into ``CLASS_NAMES``, or -1 for a whole scene.
        colour: index into ``COLOURS``, or -1.
        said_colour: the colour that the caption names, or -1.
    """

    image: np.ndarray
    caption: str
    label: int
    colour: int
    said_colour: int


class CaptionedCrops(Dataset):
    """An endless stream over ``count`` images; each pass has new crops, tones, captions and a new order."""

    def __init__(self, file: Path, count: int, size: int, seed: int):
        self.file, self.count, self.size, self.seed = Path(file), count, size, seed

    def __getitem__(self, index: int) -> CaptionedImage:
        record = self._record(shuffled(self.seed, index, self.count))
        rng = np.random.default_rng([self.seed, index])
        caption, said_colour = _write_caption(record, rng)
        image = augment(record["image"], self.size, rng)
        return CaptionedImage(image, caption, int(record["label"]), int(record["colour"]), said_colour)

    @cached_property
    def _records(self) -> np.memmap:
        """Opened on first use, so that each worker has its own mapping."""
        return open_records(self.file, RECORD, self.count)

    def _record(self, number: int) -> np.void:
        record = self._records[number]
        if not record["drawn"]:
            draw_record(record, number)
        return record


def draw_record(record: np.void, number: int) -> None:
    """Draw image ``number`` into a record: mostly one object or one stuff class, sometimes a whole scene."""
    if np.random.default_rng(number).random() < _SCENE_SHARE:
        scene = render_scene(number, "pretraining", _SCENE_SIZE)
        image, label, colour, stuff, caption = scene.image, -1, -1, -1, scene.caption
    else:
        crop = render_crop(number, "pretraining", STORED_SIZE)
        image, caption, thing = crop.image, crop.caption, crop.object
        label = class_of_crop(crop)
        colour = COLOURS.index(thing.colour) if thing and thing.colour else -1
        stuff = CLASS_NAMES.index(thing.stuff_under) - len(NOUNS) if thing else -1
    record["image"] = cv2.resize(image, (STORED_SIZE, STORED_SIZE), interpolation=cv2.INTER_AREA)
    record["label"], record["colour"], record["stuff"] = label, colour, stuff
    record["caption"] = caption.encode()[:_CAPTION_BYTES]
    record["drawn"] = 1  # last: an interrupted drawing is drawn again


def augment(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random crop of uint8 RGB (h, w, 3) in a random tone: uint8 (size, size, 3).

    It is mirrored in half of the cases.
    """
    height, width = image.shape[:2]
    share = rng.uniform(0.75, 1.0, size=2)
    rows, columns = round(height * share[0]), round(width * share[1])
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    cut = image[top : top + rows, left : left + columns]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    filters = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)
    resized = cv2.resize(cut, (size, size), interpolation=filters[int(rng.integers(3))])
    return vary_tone(resized, rng)


def class_of_crop(crop: Crop) -> int:
    """Return the index of a crop's class; for stuff alone, that of the longest stuff name in the caption."""
    if crop.object:
        return crop.object.class_index
    named = [(name, stuff.name) for stuff in STUFF for name in stuff.names if name in crop.caption]
    return CLASS_NAMES.index(max(named, key=lambda pair: len(pair[0]))[1])


def _write_caption(record: np.void, rng: np.random.Generator) -> tuple[str, int]:
    """Return a caption, and the index of the colour that it names or -1."""
    label, colour = int(record["label"]), int(record["colour"])
    if label < 0:
        return record["caption"].decode(), -1
    if label >= len(NOUNS):
        return stuff_caption(CLASS_NAMES[label], rng), -1
    noun = NOUNS[label]
    name = noun.name if rng.random() < 0.75 else noun.names[int(rng.integers(len(noun.names)))]
    thing = SimpleNamespace(name_used=name, colour=None if colour < 0 else COLOURS[colour])
    under = None if record["stuff"] < 0 else CLASS_NAMES[len(NOUNS) + int(record["stuff"])]
    caption = object_caption(thing, under, rng)
    said = colour >= 0 and f"{thing.colour} {name}" in caption
    return caption, colour if said else -1
