"""The class list of Sticker World and the classes of its splits.

- *Base* nouns are in all splits. *Novel* nouns are not in the "segmentation" split, so proposal models and
  mask-noun pairs do not contain them; captions of "pretraining" do.
- *Unseen pairs* are colour-noun combinations of the "validation" split only; each colour and each noun is in
  the training splits, too.
- The "validation" split contains everything.
"""

from __future__ import annotations

from functools import cache

from ovseg_demo.sticker_world.nouns import NOUNS, Noun
from ovseg_demo.sticker_world.stuff import STUFF

SPLITS: tuple[str, ...] = ("segmentation", "pretraining", "validation")

CLASS_NAMES: tuple[str, ...] = tuple(noun.name for noun in NOUNS) + tuple(stuff.name for stuff in STUFF)
"""All nouns, then all stuff; the indices of every label map."""

BASE_CLASSES: tuple[str, ...] = tuple(noun.name for noun in NOUNS if not noun.novel) + tuple(
    s.name for s in STUFF
)
"""Names of the classes of the "segmentation" split: base nouns and all stuff."""

NOVEL_CLASSES: tuple[str, ...] = tuple(noun.name for noun in NOUNS if noun.novel)
"""Names of the nouns that the "segmentation" split leaves out."""

COLOURS: tuple[str, ...] = (
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white",
)  # fmt: skip
"""Names of the colours that things are painted in. Unseen pairs use the first eight, the chromatic ones."""

_UNSEEN = """
red: cat, frog, bucket, shark, sofa, banana, snail
orange: car, t-shirt, elephant, guitar, bicycle, umbrella, swan
yellow: rose, suitcase, pig, phone, dress, swimsuit, ship
green: horse, handbag, crown, crab, chair, balloon, magnet
blue: apple, rabbit, pumpkin, violin, tulip, mushroom, cow
purple: truck, strawberry, anchor, gift, turtle, lemon, teapot
pink: airplane, tent, key, owl, saw, train, tree
brown: scooter, scissors, daisy, bird, sailboat, backpack, slide
"""


def _parse_pairs(table: str) -> frozenset[tuple[str, str]]:
    pairs = set()
    for line in table.strip().splitlines():
        colour, nouns = line.split(":")
        pairs |= {(colour, noun.strip()) for noun in nouns.split(",")}
    return frozenset(pairs)


UNSEEN_PAIRS: frozenset[tuple[str, str]] = _parse_pairs(_UNSEEN)
"""(colour, noun name) combinations that appear in the validation split only."""


def check_split(split: str) -> None:
    """Raise :class:`ValueError` unless ``split`` is one of :data:`SPLITS`."""
    if split not in SPLITS:
        raise ValueError(f'Sticker World has no split "{split}"; choose one of {", ".join(SPLITS)}.')


@cache
def nouns_of(split: str) -> tuple[Noun, ...]:
    """Return the nouns that may appear in a split."""
    check_split(split)
    return tuple(noun for noun in NOUNS if split != "segmentation" or not noun.novel)


@cache
def colours_of(noun: Noun, split: str) -> tuple[str, ...]:
    """Return the colours in which a noun may be painted in a split; none for nouns that are not painted."""
    check_split(split)
    if not noun.colourable:
        return ()
    return tuple(c for c in COLOURS if split == "validation" or (c, noun.name) not in UNSEEN_PAIRS)


def find_noun(name: str, split: str, colour: str | None = None) -> Noun:
    """Return the noun of a class name, if it may appear in this split in this colour.

    Raises:
        ValueError: there is no such noun in the split, or it is not painted in that colour there.
    """
    noun = next((noun for noun in nouns_of(split) if noun.name == name), None)
    if noun is None:
        raise ValueError(f'The split "{split}" has no noun "{name}"; see CLASS_NAMES and NOVEL_CLASSES.')
    if colour is not None and colour not in colours_of(noun, split):
        choice = ", ".join(colours_of(noun, split)) or "none"
        raise ValueError(f'The split "{split}" has no {colour} {name}; its colours there: {choice}.')
    return noun
