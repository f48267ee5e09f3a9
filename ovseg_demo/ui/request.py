"""What a visitor asks for, apart from the image: words and settings, from the controls or from a link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlencode

from ovseg_demo.classification.labeling import check_granularity
from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.segmenter import CLASSIFIERS, GENERATORS
from ovseg_demo.vocabularies.class_lists import coco_stuff_distractors
from ovseg_demo.vocabulary import OTHERS, TEMPLATES, Vocabulary

DISTRACTORS = ("none", "others", "coco-stuff", "own")
"""Where hidden distractors come from."""

MODELS_OWN = "model"
"""Stands for the templates that a model brings."""

TEMPLATE_CHOICES = (MODELS_OWN, *TEMPLATES)

MAX_CHARACTERS = 20_000
"""Of each of the two texts."""


@dataclass(frozen=True)
class Request:
    """Words and settings. The attributes are named as in a link.

    Attributes:
        words: class names as typed.
        generator: of proposals; one of the model's, or empty for its first.
        granularity: from 0 to 1.
        model: the name of an offered model; empty for the default.
        classifier: one of the model's.
        distractors: one of :data:`DISTRACTORS`. Not "none" by default: few visitors name all that is in a
            image, and the rest would be shared out among their words.
        own: the visitor's own distractors, as typed; read if ``distractors`` is "own".
        templates: one of :data:`TEMPLATE_CHOICES`.
    """

    words: str = ""
    generator: str = ""
    granularity: float = 0.8
    model: str = ""
    classifier: str = CLASSIFIERS[0]
    distractors: str = "others"
    own: str = ""
    templates: str = MODELS_OWN

    @classmethod
    def restore(cls, saved: Mapping[str, Any]) -> Request:
        """Read what a link or a browser kept; entries that are strange are left at their defaults."""
        request = cls()
        for field in fields(cls):
            try:
                value = type(field.default)(saved[field.name])
                candidate = cls(**{**asdict(request), field.name: value})
                candidate.check()
            except (KeyError, TypeError, ValueError, ModelError, VocabularyError):
                continue
            request = candidate
        return request

    def save(self) -> dict[str, Any]:
        """What differs from the defaults: what :meth:`restore` reads."""
        default = Request()
        return {name: value for name, value in asdict(self).items() if value != getattr(default, name)}

    def link(self) -> str:
        """The query part of an address that restores this request."""
        return f"?{urlencode(self.save())}"

    def check(self) -> None:
        """Hold everything against its limits; the browser may send what it likes.

        Raises:
            ModelError: a setting has no such choice.
            VocabularyError: a text is too long.
        """
        _check_choice("generator", self.generator, ("", *GENERATORS))
        _check_choice("classifier", self.classifier, CLASSIFIERS)
        _check_choice("distractors", self.distractors, DISTRACTORS)
        _check_choice("templates", self.templates, TEMPLATE_CHOICES)
        check_granularity(self.granularity)
        if max(len(self.words), len(self.own)) > MAX_CHARACTERS:
            raise VocabularyError(
                f"The list of words is too long; use at most {MAX_CHARACTERS:,} characters."
            )

    def vocabulary(self, max_names: int) -> Vocabulary:
        """The classes and distractors that are meant.

        Args:
            max_names: how many names a visitor may give; COCO-Stuff's do not count.

        Raises:
            VocabularyError: no class, or too many names.
        """
        typed = Vocabulary.parse(self.words, distractors=self.own if self.distractors == "own" else "")
        if len(typed.all_names) > max_names:
            raise VocabularyError(
                f"{len(typed.all_names):,} names were given; use at most {max_names:,} here."
            )
        return Vocabulary.parse(self.words, distractors=self._hidden())

    def arguments(self) -> dict[str, Any]:
        """The arguments of :meth:`Segmenter.segment` after the image."""
        return {
            "classes": self.words,
            "distractors": self._hidden(),
            "templates": None if self.templates == MODELS_OWN else self.templates,
            "generator": self.generator or None,
            "granularity": self.granularity,
            "classifier": self.classifier,
        }

    @property
    def look(self) -> tuple[str, str, str]:
        """What of it a first look at an image depends on: when that is done, the rest takes milliseconds."""
        return self.model, self.generator, self.classifier

    def _hidden(self) -> str | tuple[str, ...]:
        if self.distractors == "coco-stuff":
            return coco_stuff_distractors()
        return {"none": "", "others": OTHERS, "own": self.own}[self.distractors]

    @property
    def has_words(self) -> bool:
        """Whether there is anything but separators."""
        return bool(self.words.strip(" ,;/\n\t"))


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ModelError(f'There are no {what} "{value}"; choose one of {", ".join(filter(None, choices))}.')
