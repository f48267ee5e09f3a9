"""Captions in plain English for scenes and for crops of one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ovseg_demo.sticker_world.nouns import NOUNS
from ovseg_demo.sticker_world.streams import pick
from ovseg_demo.sticker_world.stuff import STUFF, Stuff

TEMPLATES = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    "a photo of a small {}.",
    "a photo of a medium {}.",
    "a photo of a large {}.",
    "This is a photo of a small {}.",
    "This is a photo of a medium {}.",
    "This is a photo of a large {}.",
    "There is a small {} in the scene.",
    "There is a medium {} in the scene.",
    "There is a large {} in the scene.",
)
"""The 14 prompt templates of ViLD, which OVSeg uses too: training captions contain the later prompts."""

_NUMBERS = (
    "",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_IRREGULAR_PLURALS = {
    "mouse": "mice", "sheep": "sheep", "cattle": "cattle", "deer": "deer", "fish": "fish", "knife": "knives",
    "kitchen knife": "kitchen knives", "loaf": "loaves", "scarf": "scarves", "dice": "dice", "die": "dice",
    "luggage": "luggage", "volcano": "volcanoes", "tomato": "tomatoes",
}  # fmt: skip
_PLURAL_OR_MASS = {name for noun in NOUNS if not noun.countable for name in noun.names if " of " not in name}
_PLURAL_OR_MASS -= {"corncob", "ice cream cone", "headset"}
_PLURAL_OR_MASS |= {"luggage", "cattle", "cherries"}
_BARE_STUFF = (
    "{}",
    "{}",
    "a photo of {}",
    "a picture of {}",
    "{} seen from close by",
    "there is {} in the scene",
)
_BARE_OBJECT = (
    "{}",
    "{}",
    "a photo of {}",
    "a picture of {}",
    "there is {} in the scene",
    "a close-up of {}",
)
_SCENE_FRAMES = ("{}", "{}", "{}", "a photo of {}", "a picture of {}", "a scene with {}")
_BESIDE = ("beside", "next to", "near", "with")

_STUFF_BY_NAME: dict[str, Stuff] = {stuff.name: stuff for stuff in STUFF}


class Captioned(Protocol):
    """The parts of an object that captions use: its name in captions and its colour."""

    name_used: str
    colour: str | None


def object_caption(captioned: Captioned, stuff_under: str | None, rng: np.random.Generator) -> str:
    """Return a caption of an unmasked crop round one object.

    Args:
        captioned: a scene's object; its ``name_used`` and ``colour`` are mentioned, the colour mostly.
        stuff_under: the stuff class it is on, which one caption in three mentions, or ``None``.
        rng: chooses the wording. Half of the captions are one of the 14 templates or the bare name.

    Returns:
        Such as "a photo of a blue mushroom on grass" or "There is a cat in the scene".
    """
    colour = captioned.colour if rng.random() < 0.8 else None
    name = f"{colour} {captioned.name_used}" if colour else captioned.name_used
    style = rng.random()
    if style < 0.35:
        return pick(rng, TEMPLATES).format(name)
    if style < 0.5:
        return name
    phrase = describe(captioned.name_used, colour, 1)
    if stuff_under is not None and style < 0.83:
        phrase = f"{phrase} {pick(rng, _STUFF_BY_NAME[stuff_under].phrases)}"
    return pick(rng, _BARE_OBJECT).format(phrase)


def stuff_caption(stuff_name: str, rng: np.random.Generator) -> str:
    """Return a caption of a crop of one stuff class alone, such as "a photo of a brick wall" or "lawn"."""
    stuff = _STUFF_BY_NAME[stuff_name]
    name = stuff.name if rng.random() < 0.7 else pick(rng, stuff.names)
    style = rng.random()
    if style < 0.4 and name == stuff.name:
        return pick(rng, TEMPLATES).format(name)
    if style < 0.6:
        return name
    article = stuff.article if name == stuff.name else ""  # synonyms such as "bricks" take none
    return pick(rng, _BARE_STUFF).format(article + name)


def scene_caption(
    objects: Sequence[Captioned], stuff_under: Sequence[str], stuff: Sequence[str], rng: np.random.Generator
) -> str:
    """Return a caption of a whole scene, such as "a red car and two trees beside a pond".

    Args:
        objects: the clearly visible objects, which the caption may mention.
        stuff_under: the stuff class under each object.
        stuff: names of the stuff classes in the scene.
        rng: chooses the objects and the wording.
    """
    if not objects:
        return pick(rng, _BARE_STUFF).format(" and ".join(_STUFF_BY_NAME[s].article + s for s in stuff[:2]))
    groups = _group(objects, stuff_under, rng)
    phrases = [describe(name, colour, count) for name, colour, count, _ in groups]
    place = groups[0][3]
    first = phrases[0]
    if place is not None and rng.random() < 0.6:
        first = f"{first} {pick(rng, _STUFF_BY_NAME[place].phrases)}"
        link = pick(rng, _BESIDE)
        text = first if len(phrases) == 1 else f"{first} {link} {_join(phrases[1:])}"
    elif len(phrases) > 1 and rng.random() < 0.3:
        text = f"{first} {pick(rng, _BESIDE)} {_join(phrases[1:])}"
    else:
        text = _join(phrases)
    if stuff and rng.random() < 0.2:
        background = pick(rng, stuff)
        text = f"{text}, with {_STUFF_BY_NAME[background].article}{background}"
    return pick(rng, _SCENE_FRAMES).format(text)


def describe(name: str, colour: str | None, count: int) -> str:
    """Return a noun phrase: "a red car", "two apples", "corn".

    Nouns without a singular or plural, such as "scissors", have no count.
    """
    full = f"{colour} {name}" if colour else name
    if name in _PLURAL_OR_MASS:
        return full
    if count > 1:
        return f"{_NUMBERS[min(count, len(_NUMBERS) - 1)]} {colour + ' ' if colour else ''}{pluralise(name)}"
    article = "an" if full[0] in "aeio" or full.startswith(("hour", "umbrella")) else "a"
    return f"{article} {full}"


def pluralise(name: str) -> str:
    """Return the plural of a noun; in "loaf of bread" the first noun changes."""
    head, of, rest = name.partition(" of ")
    if of:
        return pluralise(head) + of + rest
    *before, last = name.rsplit(" ", 1)
    if name in _IRREGULAR_PLURALS or last in _IRREGULAR_PLURALS:
        plural = _IRREGULAR_PLURALS.get(name) or " ".join([*before, _IRREGULAR_PLURALS[last]])
    elif name.endswith(("s", "x", "z", "ch", "sh")):
        plural = name + "es"
    elif name.endswith("y") and name[-2] not in "aeiou":
        plural = name[:-1] + "ies"
    else:
        plural = name + "s"
    return plural


def _group(
    objects: Sequence[Captioned], stuff_under: Sequence[str], rng: np.random.Generator
) -> list[tuple[str, str | None, int, str | None]]:
    """Return up to four groups of objects: (name, colour, count, the stuff class under all or ``None``)."""
    keys = [(thing.name_used, thing.colour) for thing in objects]
    counts = Counter(keys)
    chosen = list(counts)
    rng.shuffle(chosen)
    groups = []
    for key in chosen[: int(rng.choice([1, 2, 2, 3, 3, 4]))]:
        places = {under for other, under in zip(keys, stuff_under, strict=True) if other == key}
        name, colour = key
        if rng.random() < 0.2:
            colour = None
        groups.append((name, colour, counts[key], places.pop() if len(places) == 1 else None))
    return groups


def _join(phrases: Sequence[str]) -> str:
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
