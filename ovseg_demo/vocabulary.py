"""Vocabularies, which are class names with synonyms and distractors; their parser; and the prompt templates.

The classifier computes text embeddings of a vocabulary's names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType

from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.vocabularies.imagenet_templates import IMAGENET_TEMPLATES

MAX_CLASSES = 1_000
MAX_NAMES = 5_000
"""Limit of the number of all names: classes, synonyms and distractors."""
MAX_NAME_LENGTH = 100

_LISTED = 5  # names in a sentence
_QUOTED = 40  # characters of a name in it

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

TOO_LONG = f"longer than {MAX_NAME_LENGTH} characters"
NO_WORD = "no letter, number or symbol in it"
"""Why :meth:`Vocabulary.parse` leaves a name out."""

UNKNOWN, TOO_MANY_TOKENS = "unknown to this model", "too long for this model"
"""Why a model cannot use a name."""

_ABBREVIATIONS = ("st", "mt", "dr", "mr", "mrs", "ms", "jr", "sr", "no", "vs", "ft")
_FULL_STOP = "".join(rf"(?<!\b{word})" for word in _ABBREVIATIONS) + r"(?<!\b\w)\.(?=\s|$)"
"""A full stop that ends a name: not that of an abbreviation or an initial."""
_SEPARATORS = re.compile(rf"[,;|、\n\r\v\f\x85\u2028\u2029]|{_FULL_STOP}", re.IGNORECASE)
_QUOTES = "\"'`´“”„‟‘’‚‛«»‹›"
_INVISIBLE = {"Cc", "Cf", "Cs"}  # control and formatting characters, lone surrogates
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Further characters without a shape: fillers, joiners and variation selectors."""
_WORD_CATEGORIES = ("L", "N", "So", "Sm", "Co")


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
        ignored: names that were typed and are left out, each with the reason.
        is_typed: whether names that a model does not know are left out, too (:meth:`without`).
    """

    classes: tuple[ClassName, ...]
    distractors: tuple[str, ...] = ()
    ignored: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    is_typed: bool = field(default=False, compare=False)

    @classmethod
    def parse(cls, text: str | Sequence[str], *, distractors: str | Sequence[str] = "") -> Vocabulary:
        """Return the vocabulary of class names that a user types.

        In a text, commas, semicolons, bars, line breaks, and full stops before a space separate classes. In a
        sequence, each item is one class. ``/`` separates synonyms: ``cup / mug`` is one class. Characters
        without a shape, quotes and spaces around names, and empty entries are removed; fullwidth and other
        compatibility characters become the usual ones (Unicode's NFKC form). A name that is longer than
        :data:`MAX_NAME_LENGTH`, or of punctuation only, is left out and listed in ``ignored``.

        Names are compared without regard to case. A name that occurs several times belongs to the first class
        that has it; an entry that starts with such a name adds its synonyms to that class. A distractor that
        is also a class name is removed. A single class without distractors gets the hidden second class
        :data:`OTHERS`.

        Raises:
            VocabularyError: no class is left, or there are more classes or names than :data:`MAX_CLASSES` and
                :data:`MAX_NAMES` allow.
        """
        ignored: dict[str, str] = {}
        classes = _merge(_read_entries(text, ignored))
        if not classes:
            raise VocabularyError(_no_class(ignored))
        if len(classes) > MAX_CLASSES:
            raise VocabularyError(f"{len(classes):,} classes were given; use at most {MAX_CLASSES:,}.")
        hidden = _flatten(_read_entries(distractors, ignored), known=chain.from_iterable(classes))
        vocabulary = cls._typed(classes, hidden, tuple(ignored.items()))
        if len(vocabulary.all_names) > MAX_NAMES:
            raise VocabularyError(
                f"{len(vocabulary.all_names):,} names were given, counting synonyms and distractors; "
                f"use at most {MAX_NAMES:,}."
            )
        return vocabulary

    @classmethod
    def _typed(
        cls, classes: list[list[str]], distractors: tuple[str, ...], ignored: tuple[tuple[str, str], ...]
    ) -> Vocabulary:
        """Return a vocabulary with a hidden second class where there is only one."""
        if len(classes) == 1 and not distractors:
            distractors = _flatten([[OTHERS]], known=classes[0])
        names = tuple(ClassName(first, tuple(rest)) for first, *rest in classes)
        return cls(names, distractors, ignored, is_typed=True)

    def without(self, obstacles: Mapping[str, str]) -> Vocabulary:
        """Return the vocabulary without names that a model cannot use; ``ignored`` lists them.

        Classes keep their other names. Distractors that are only unknown stay: a name that fits nothing, as
        :data:`OTHERS` in many models, is a rival for whatever no class fits. A vocabulary that was not typed
        is returned as it is, because its classes are referred to by index.

        Args:
            obstacles: names and the reasons.

        Raises:
            VocabularyError: no class is left.
        """
        rivals = {OTHERS, *(name for name in self.distractors if obstacles.get(name) == UNKNOWN)}
        left_out = {name: obstacles[name] for name in self.all_names if name in obstacles.keys() - rivals}
        if not self.is_typed or not left_out:
            return self
        ignored = (*self.ignored, *left_out.items())
        kept = [[name for name in entry.names if name not in left_out] for entry in self.classes]
        classes = [names for names in kept if names]
        if not classes:
            raise VocabularyError(_no_class(dict(ignored)))
        return self._typed(classes, tuple(n for n in self.distractors if n not in left_out), ignored)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of every class, without synonyms."""
        return tuple(entry.name for entry in self.classes)

    @property
    def all_names(self) -> tuple[str, ...]:
        """All names to encode: for each class its name and synonyms, then the distractors."""
        return (*(name for entry in self.classes for name in entry.names), *self.distractors)

    def describe(self) -> str:
        """Return one line for people: how many classes there are, then their names, then the distractors.

        ``/`` joins synonyms, as in "2 classes: dog, cup / mug; hidden distractors: wall".
        """
        count = "1 class" if len(self.classes) == 1 else f"{len(self.classes):,} classes"
        line = f"{count}: {', '.join(' / '.join(entry.names) for entry in self.classes)}"
        if self.distractors:
            line += f"; hidden distractors: {', '.join(self.distractors)}"
        return line


def describe_ignored(ignored: Iterable[tuple[str, str]]) -> str:
    """Return one sentence that lists names and why they are left out; empty if there are none."""
    listed = [f'"{_shortened(name)}" ({reason})' for name, reason in ignored]
    if len(listed) > _LISTED:
        listed[_LISTED:] = [f"{len(listed) - _LISTED:,} more"]
    return f"Left out: {', '.join(listed)}." if listed else ""


def _no_class(ignored: Mapping[str, str]) -> str:
    if not ignored:
        return 'No class name was given; type at least one, such as "dog, grass".'
    return (
        f"No class name can be used. {describe_ignored(ignored.items())} Type plain English names, such as "
        '"dog, grass".'
    )


def _shortened(name: str) -> str:
    return name if len(name) <= _QUOTED else f"{name[:_QUOTED]}…"


def check_templates(templates: str) -> None:
    """Raise :class:`ModelError` unless ``templates`` is a key of :data:`TEMPLATES` or :data:`LEARNED`."""
    if templates not in TEMPLATES and templates != LEARNED:
        choices = ", ".join([*TEMPLATES, LEARNED])
        raise ModelError(f'There are no prompt templates "{templates}"; choose one of {choices}.')


def _read_entries(text: str | Sequence[str], ignored: dict[str, str]) -> list[list[str]]:
    """Return the entries of a text or a sequence that have a name, each as the list of its cleaned names.

    Names that cannot be used are added to ``ignored``, with the reason.
    """
    items = _SEPARATORS.split(_normalise(text)) if isinstance(text, str) else map(_normalise, text)
    entries = []
    for item in items:
        names = []
        for name in filter(None, map(_clean, item.split("/"))):
            if len(name) > MAX_NAME_LENGTH:
                ignored[name] = TOO_LONG
            elif not any(unicodedata.category(c).startswith(_WORD_CATEGORIES) for c in name):
                ignored[name] = NO_WORD
            else:
                names.append(name)
        if names:
            entries.append(names)
    return entries


def _normalise(text: str) -> str:
    """Return a text in Unicode's NFKC form, without characters that have no shape."""
    composed = _BLANK.sub("", unicodedata.normalize("NFKC", text))
    visible = (c for c in composed if c.isspace() or unicodedata.category(c) not in _INVISIBLE)
    return unicodedata.normalize("NFKC", "".join(visible))


def _clean(name: str) -> str:
    """Return a normalised name without surrounding quotes and extra spaces."""
    return " ".join(name.split()).strip(_QUOTES + " ")


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
