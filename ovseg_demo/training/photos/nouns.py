"""Noun phrases for the text tower: WordNet's nouns, the shipped class lists, and adjective + noun."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ovseg_demo.errors import DatasetError
from ovseg_demo.vocabularies.class_lists import load_vocabulary

CLASS_LISTS = (
    "ade20k-150", "ade20k-847", "pascal-context-59", "pascal-context-459", "pascal-voc-20", "coco-stuff-171",
)  # fmt: skip

INDEX = "index.noun"
"""WordNet's file of nouns."""

ADJECTIVES = (
    "red", "green", "blue", "yellow", "white", "black", "brown", "grey", "orange", "pink", "purple", "wooden",
    "metal", "plastic", "glass", "stone", "big", "small", "old", "young", "long", "round", "striped", "empty",
    "open", "wet", "dirty", "dry", "tall", "parked", "flying", "sitting", "standing",
)  # fmt: skip


def wordnet_nouns(folder: Path, everything: bool = False) -> list[str]:
    """Return WordNet's nouns, in lower case, one or two words each.

    Args:
        folder: with ``index.noun``, as Debian's ``wordnet-base`` installs it.
        everything: also nouns that never occur in WordNet's tagged texts.

    Raises:
        DatasetError: the folder has no index.
    """
    path = Path(folder) / INDEX
    if not path.exists():
        raise DatasetError(f"{path} is missing; install wordnet-base or name the folder of its files.")
    found: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith(" "):
            continue  # the licence
        fields = line.split()
        pointers = int(fields[3])
        tagged = int(fields[5 + pointers])
        name = fields[0].replace("_", " ")
        if (tagged or everything) and re.fullmatch(r"[a-z][a-z' -]*", name) and name.count(" ") < 2:
            found.append(name)
    return found


def shipped_names() -> list[str]:
    """Return every class name and synonym of the shipped class lists, in lower case, each once."""
    names = {
        name.lower() for key in CLASS_LISTS for entry in load_vocabulary(key).classes for name in entry.names
    }
    return sorted(names)


def phrases(nouns: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Return random pairs of an adjective and a noun."""
    return [f"{rng.choice(ADJECTIVES)} {nouns[rng.integers(len(nouns))]}" for _ in range(count)]


class Hypernyms:
    """WordNet's kinds of kinds: tabby → cat → feline → carnivore → … → entity.

    Args:
        folder: with ``data.noun`` of WordNet 3.0, whose synset offsets ImageNet's ids are.

    Raises:
        DatasetError: the folder has no such file.
    """

    def __init__(self, folder: Path):
        path = Path(folder) / "data.noun"
        if not path.exists():
            raise DatasetError(f"{path} is missing; install wordnet-base or name the folder of its files.")
        self._names: dict[str, list[str]] = {}
        self._parents: dict[str, list[str]] = {}
        for line in path.read_text().splitlines():
            if line.startswith(" "):
                continue  # the licence
            fields = line.partition("|")[0].split()
            count = int(fields[3], 16)
            self._names[fields[0]] = [fields[4 + 2 * i].replace("_", " ").lower() for i in range(count)]
            pointers = fields[5 + 2 * count :]
            self._parents[fields[0]] = [
                pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] in ("@", "@i")
            ]

    def nearest(self, offset: str, names: Collection[str]) -> str:
        """Return the first of some names on the way from a synset upwards, breadth first; empty if none is.

        Args:
            offset: eight digits, such as "02123045", the tabby.
            names: in lower case.
        """
        level = [offset]
        while level:
            for synset in level:
                for name in self._names.get(synset, ()):
                    if name in names:
                        return name
            level = [parent for synset in level for parent in self._parents.get(synset, ())]
        return ""
