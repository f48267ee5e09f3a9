"""Read the class names of public data sets and of Sticker World, in the order of their training ids."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from ovseg_demo.errors import DatasetError
from ovseg_demo.vocabulary import ClassName, Vocabulary

_FILE = Path(__file__).with_name("class_lists.json")
_SUFFIX = re.compile("-(other|stuff)$")  # of COCO-Stuff's names for the rest of a group; not part of a prompt


def load_vocabulary(name: str) -> Vocabulary:
    """Return the classes of a data set.

    If a data set has several names for a class ("road, route"), the first is the class name and the others
    are synonyms. Two classes may have the same name, such as "bag" and "bag, handbag, …" of ADE20K-847.

    Args:
        name: "ade20k-150", "ade20k-847", "pascal-context-59", "pascal-context-459", "pascal-voc-20",
            "coco-stuff-171" or "sticker-world".

    Raises:
        DatasetError: there is no such data set.
    """
    if name not in _load():
        raise DatasetError(f'There is no vocabulary "{name}"; choose one of {", ".join(_load())}.')
    return Vocabulary(tuple(split_synonyms(entry) for entry in _load()[name]))


def coco_stuff_distractors() -> tuple[str, ...]:
    """Return the class names of COCO-Stuff, for use as distractors."""
    return tuple(_SUFFIX.sub("", name) for name in load_vocabulary("coco-stuff-171").all_names)


@cache
def shipped_lists() -> tuple[frozenset[str], ...]:
    """Return the names of each class list and of the COCO-Stuff distractors, as one set for each list."""
    return (
        *(frozenset(load_vocabulary(name).all_names) for name in _load()),
        frozenset(coco_stuff_distractors()),
    )


def split_synonyms(entry: str) -> ClassName:
    """Return the class that a data set's list of names, such as "road, route", describes."""
    first, *synonyms = (name.strip() for name in entry.split(","))
    return ClassName(first, tuple(synonyms))


@cache
def _load() -> dict[str, list[str]]:
    return json.loads(_FILE.read_text(encoding="utf-8"))
