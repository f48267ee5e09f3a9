"""Class names with synonyms and distractors, read from what people type; and the prompt templates.

A vocabulary is data. The classifier turns its names into text embeddings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

from ovseg_demo.errors import ModelError, VocabularyError

MAX_CLASSES = 1_000
MAX_NAMES = 5_000
"""Limit of all names together: classes, their synonyms and distractors."""
MAX_NAME_LENGTH = 100

OTHERS = "others"
"""The hidden second class of a vocabulary of one: a contrastive classifier can only compare."""

LEARNED = "learned"
"""The templates whose prompts are learned vectors inside the classifier (SimSeg), not text."""

TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vild": (
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
        ),
        "photo": ("a photo of {}",),
    }
)
"""Prompt templates by name: "vild" is the paper's ensemble, "photo" belongs to the published SAM demo."""

_SEPARATORS = re.compile("[,;\n\r\v\f\x85\u2028\u2029，；、]")
_QUOTES = "\"'`´“”„‟‘’‚‛«»‹›"
_INVISIBLE = {"Cc", "Cf", "Cs"}  # control and formatting characters, lone surrogates


@dataclass(frozen=True)
class ClassName:
    """One class: the name in the legend, and other names that mean the same."""

    name: str
    synonyms: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then its synonyms."""
        return (self.name, *self.synonyms)


@dataclass(frozen=True)
class Vocabulary:
    """The classes that an image is divided into.

    :meth:`parse` reads what people type. The constructor takes classes as they are, for benchmarks, where the
    index of a class counts and two classes may share a name.

    Attributes:
        classes: the classes, in the order of their indices in a label map.
        distractors: names that compete for masks and are never drawn.
    """

    classes: tuple[ClassName, ...]
    distractors: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str | Sequence[str], *, distractors: str | Sequence[str] = "") -> Vocabulary:
        """Return the vocabulary that people mean by what they type.

        In a text, commas, semicolons and new lines separate classes; in a sequence every item is one class.
        ``/`` separates synonyms: ``cup / mug`` is one class. Blanks, quotes, control characters and empty
        entries are dropped. A name counts once, whatever its case, for the class that mentions it first; an
        entry that starts with a known name adds its synonyms to that name's class. A distractor that is also
        a class is dropped. A single class without distractors gets the hidden second class :data:`OTHERS`.

        Raises:
            VocabularyError: no class, or more classes, names or characters in a name than
                :data:`MAX_CLASSES`, :data:`MAX_NAMES` and :data:`MAX_NAME_LENGTH` allow.
        """
        classes = _merge(_read_entries(text))
        if not classes:
            raise VocabularyError('No class name was given; type at least one, such as "dog, grass".')
        if len(classes) > MAX_CLASSES:
            raise VocabularyError(f"{len(classes):,} classes were given; use at most {MAX_CLASSES:,}.")
        hidden = _flatten(_read_entries(distractors), known=chain.from_iterable(classes))
        if len(classes) == 1 and not hidden:
            hidden = _flatten([[OTHERS]], known=classes[0])
        vocabulary = cls(tuple(ClassName(first, tuple(rest)) for first, *rest in classes), hidden)
        if len(vocabulary.all_names) > MAX_NAMES:
            raise VocabularyError(
                f"{len(vocabulary.all_names):,} names were given, counting synonyms and distractors; "
                f"use at most {MAX_NAMES:,}."
            )
        return vocabulary

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of every class, without synonyms."""
        return tuple(entry.name for entry in self.classes)

    @property
    def all_names(self) -> tuple[str, ...]:
        """Every name to be encoded: class by class its name and synonyms, then the distractors."""
        return (*(name for entry in self.classes for name in entry.names), *self.distractors)

    def describe(self) -> str:
        """Return the classes and distractors in one line, in the notation that :meth:`parse` reads."""
        count = "1 class" if len(self.classes) == 1 else f"{len(self.classes):,} classes"
        line = f"{count}: {', '.join(' / '.join(entry.names) for entry in self.classes)}"
        if self.distractors:
            line += f"; hidden distractors: {', '.join(self.distractors)}"
        return line


def check_templates(templates: str) -> None:
    """Raise :class:`ModelError` unless ``templates`` is a key of :data:`TEMPLATES` or :data:`LEARNED`."""
    if templates not in TEMPLATES and templates != LEARNED:
        choices = ", ".join([*TEMPLATES, LEARNED])
        raise ModelError(f'There are no prompt templates "{templates}"; choose one of {choices}.')


def _read_entries(text: str | Sequence[str]) -> list[list[str]]:
    """Split into entries, each the non-empty list of its cleaned names."""
    items = _SEPARATORS.split(text) if isinstance(text, str) else text
    entries = ([_clean(name) for name in item.split("/")] for item in items)
    return [named for names in entries if (named := [name for name in names if name])]


def _clean(name: str) -> str:
    """Drop what is invisible, quotes around the name and needless blanks; compose accents.

    Raises:
        VocabularyError: the name is too long.
    """
    visible = (c for c in name if c.isspace() or unicodedata.category(c) not in _INVISIBLE)
    blanks_joined = " ".join(unicodedata.normalize("NFC", "".join(visible)).split())
    cleaned = blanks_joined.strip(_QUOTES + " ")
    if len(cleaned) > MAX_NAME_LENGTH:
        raise VocabularyError(
            f'The name "{cleaned[:40]}…" has {len(cleaned):,} characters; use at most {MAX_NAME_LENGTH}.'
        )
    return cleaned


def _merge(entries: Iterable[list[str]]) -> list[list[str]]:
    """Make classes of entries, so that no name occurs twice."""
    classes: list[list[str]] = []
    class_of: dict[str, list[str]] = {}
    for names in entries:
        target = class_of.get(names[0].casefold())
        if target is None:
            target = []
            classes.append(target)
        for name in names:
            if name.casefold() not in class_of:
                class_of[name.casefold()] = target
                target.append(name)
    return classes


def _flatten(entries: Iterable[list[str]], known: Iterable[str]) -> tuple[str, ...]:
    """The names of all entries, each once, without the known ones."""
    taken = {name.casefold() for name in known}
    fresh = []
    for name in chain.from_iterable(entries):
        if name.casefold() not in taken:
            taken.add(name.casefold())
            fresh.append(name)
    return tuple(fresh)
