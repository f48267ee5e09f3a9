"""Vocabularies, which are class names with synonyms and distractors; their parser; and the prompt templates.

The classifier computes text embeddings of a vocabulary's names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType

from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.vocabularies.imagenet_templates import IMAGENET_TEMPLATES

MAX_CLASSES = 1_000
MAX_NAMES = 5_000
"""Limit of the number of all names: classes, synonyms and distractors."""
MAX_NAME_LENGTH = 100

OTHERS = "others"
"""The hidden second class of a vocabulary with a single class, as a classifier can only compare classes."""

LEARNED = "learned"
"""The name of the templates whose prompts are learned vectors of the classifier (SimSeg) instead of text."""

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
        "imagenet": IMAGENET_TEMPLATES,
    }
)
"""Prompt templates by name.

"vild" is the paper's ensemble, "photo" that of the published SAM demo, "imagenet" that of CLIP's and
TextRegion's evaluation.
"""

_SEPARATORS = re.compile("[,;\n\r\v\f\x85\u2028\u2029，；、]")
_QUOTES = "\"'`´“”„‟‘’‚‛«»‹›"
_INVISIBLE = {"Cc", "Cf", "Cs"}  # control and formatting characters, lone surrogates


@dataclass(frozen=True)
class ClassName:
    """The name of one class, which the legend displays, and its synonyms."""

    name: str
    synonyms: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name, followed by its synonyms."""
        return (self.name, *self.synonyms)


@dataclass(frozen=True)
class Vocabulary:
    """The classes into which an image is segmented.

    :meth:`parse` reads class names that a user types. The constructor takes classes unchanged. Benchmarks
    need this, because they refer to classes by index and two classes may have the same name.

    Attributes:
        classes: the classes, in the order of their indices in a label map.
        distractors: names that compete with the classes and are not drawn.
    """

    classes: tuple[ClassName, ...]
    distractors: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str | Sequence[str], *, distractors: str | Sequence[str] = "") -> Vocabulary:
        """Return the vocabulary of class names that a user types.

        In a text, commas, semicolons and line breaks separate classes. In a sequence, each item is one class.
        ``/`` separates synonyms: ``cup / mug`` is one class. Control characters, quotes and spaces around
        names, and empty entries are removed. Names are compared without regard to case. A name that occurs
        several times belongs to the first class that has it; an entry that starts with such a name adds its
        synonyms to that class. A distractor that is also a class name is removed. A single class without
        distractors gets the hidden second class :data:`OTHERS`.

        Raises:
            VocabularyError: there is no class, or there are more classes, names or characters in a name than
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
        """All names to encode: for each class its name and synonyms, then the distractors."""
        return (*(name for entry in self.classes for name in entry.names), *self.distractors)

    def describe(self) -> str:
        """Return one line that lists the classes and distractors in the notation of :meth:`parse`."""
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
    """Return the non-empty entries of a text or a sequence, each as the list of its cleaned names."""
    items = _SEPARATORS.split(text) if isinstance(text, str) else text
    entries = ([_clean(name) for name in item.split("/")] for item in items)
    return [named for names in entries if (named := [name for name in names if name])]


def _clean(name: str) -> str:
    """Return a name without invisible characters, surrounding quotes and extra spaces, in Unicode's NFC form.

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
    """Return the classes that entries define; each name occurs once."""
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
    """Return the names of all entries, each once, without the known names."""
    taken = {name.casefold() for name in known}
    fresh = []
    for name in chain.from_iterable(entries):
        if name.casefold() not in taken:
            taken.add(name.casefold())
            fresh.append(name)
    return tuple(fresh)
