"""Read the class names of public data sets and of Sticker World, and the list of everyday nouns.

The classes of a data set are in the order of its training ids.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from ovseg_demo.classification.suggestions import Candidate
from ovseg_demo.errors import DatasetError
from ovseg_demo.vocabulary import ClassName, Vocabulary

_FILE = Path(__file__).with_name("class_lists.json")
_NOUNS = Path(__file__).with_name("everyday_nouns.txt")
_SUFFIX = re.compile("-(other|stuff)$")  # of COCO-Stuff's names for the rest of a group; not part of a prompt

_SUGGESTED_LISTS = ("coco-stuff-171", "ade20k-150", "pascal-context-59")
"""The lists whose class names are suggested. The longer ones contain many rare and abstract names."""

_LIST_PRIOR, _MOST_LISTS = 1.5, 2
"""What a name's logit gains for each of the three lists that has it, up to two lists.

Without it, a small model names rare things too often: of the true names of 138 photographs of COCO, 50% were
among the first ten, and 61% with it; of 45 photographs of BSDS500, 81% and 90%.
"""

_NOT_SUGGESTED = frozenset(
    {
        "base", "booth", "case", "crt screen", "diningtable", "furniture", "hovel", "land", "plaything",
        "pottedplant", "seat", "solid", "step", "structural", "textile", "trade name", "tvmonitor",
    }
)  # fmt: skip
"""Class names that say little or are not spelled as people write them."""


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
def everyday_nouns() -> tuple[str, ...]:
    """Return about 1,300 common concrete nouns, ordered by subject."""
    lines = _NOUNS.read_text(encoding="utf-8").splitlines()
    text = " ".join("," if line.startswith("#") else line for line in lines)
    return tuple(dict.fromkeys(filter(None, (name.strip() for name in text.split(",")))))


@cache
def suggestion_candidates(world: str = "") -> tuple[Candidate, ...]:
    """Return the names that may be suggested for an image, each once.

    Args:
        world: the class list of everything that the model knows. Empty means a model that is not limited to a
            list: the names are then the everyday nouns and the classes of COCO-Stuff, ADE20K-150 and PASCAL
            Context-59. A name in one or more of these three lists has a prior (:data:`_LIST_PRIOR`), because
            they name what photographs show most often.

    Raises:
        DatasetError: there is no such class list.
    """
    if world:
        return tuple(map(Candidate, dict.fromkeys(load_vocabulary(world).class_names)))
    lists = [
        {_SUFFIX.sub("", name): None for name in load_vocabulary(list_).class_names}
        for list_ in _SUGGESTED_LISTS
    ]
    classes = (name for list_ in lists for name in list_ if "-" not in name and name not in _NOT_SUGGESTED)
    names = dict.fromkeys((*everyday_nouns(), *classes))
    counts = ((name, sum(name in list_ for list_ in lists)) for name in names)
    return tuple(Candidate(name, _LIST_PRIOR * min(count, _MOST_LISTS)) for name, count in counts)


@cache
def shipped_lists() -> tuple[frozenset[str], ...]:
    """Return the names that text embeddings are kept of on disk, as one set for each list.

    The lists are the class lists, the COCO-Stuff distractors, and the names that are suggested.
    """
    return (
        *(frozenset(load_vocabulary(name).all_names) for name in _load()),
        frozenset(coco_stuff_distractors()),
        frozenset(candidate.name for candidate in suggestion_candidates()),
    )


def split_synonyms(entry: str) -> ClassName:
    """Return the class that a data set's list of names, such as "road, route", describes."""
    first, *synonyms = (name.strip() for name in entry.split(","))
    return ClassName(first, tuple(synonyms))


@cache
def _load() -> dict[str, list[str]]:
    return json.loads(_FILE.read_text(encoding="utf-8"))
