"""What a visitor asks for, apart from the image: class names and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from ovseg_demo.classification.rules import GranularityRule
from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.segmentation import MinScore
from ovseg_demo.segmenter import CLASSIFIERS, GENERATORS
from ovseg_demo.vocabularies.class_lists import coco_stuff_distractors
from ovseg_demo.vocabulary import OTHERS, TEMPLATES, Vocabulary

DISTRACTORS = ("none", "others", "coco-stuff", "own")
"""Where hidden distractors come from."""

MODELS_OWN = "model"
"""Stands for the prompt templates of the model."""

TEMPLATE_CHOICES = (MODELS_OWN, *TEMPLATES)

GRIDS = (16, 32, 64)
"""Points along each side of Segment Anything's grid that visitors can choose."""

MAX_CHARACTERS = 20_000
"""Limit of each of the two texts."""

MAX_ADDRESS = 4000
"""Characters of the longest query part of an address that browsers and proxies take without trouble."""

MAX_MIN_SCORES = 300
"""Limit of classes with a least score of their own."""

_OLD_NAMES: Mapping[str, str] = MappingProxyType({"prompt": "words", "own_distractors": "own"})
"""How earlier links spelled two of the fields."""


@dataclass(frozen=True)
class Request:
    """Class names and settings. A link has the same field names, and so have the page's components.

    Attributes:
        prompt: class names as typed.
        generator: the proposal generator, one of the model's; empty for its first.
        granularity: from 0 to 1.
        model: the name of a model in the registry; empty for the default.
        classifier: one of the model's classifiers.
        distractors: one of :data:`DISTRACTORS`. The default is not "none": visitors name a few things of an
            image, and without a competitor these names would share all of it.
        own_distractors: the visitor's own distractors as typed, read if ``distractors`` is "own".
        templates: one of :data:`TEMPLATE_CHOICES`.
        min_score: from 0 to 1; a pixel whose class has a smaller share of its scores stays unlabelled.
        points_per_side: of Segment Anything's grid, one of :data:`GRIDS`; 0 for the model's own.
        min_scores: JSON of the least scores of single classes by name, which replace ``min_score``; empty for
            none. They stay while their names come and go.
    """

    prompt: str = ""
    generator: str = ""
    granularity: float = 0.8
    model: str = ""
    classifier: str = CLASSIFIERS[0]
    distractors: str = "others"
    own_distractors: str = ""
    templates: str = MODELS_OWN
    min_score: float = 0.0
    points_per_side: int = 0
    min_scores: str = ""

    @classmethod
    def restore(cls, saved: Mapping[str, Any]) -> Request:
        """Return the request that a link or a browser kept; what cannot be used keeps its default."""
        request = cls()
        for field in fields(cls):
            value = saved.get(field.name, saved.get(_OLD_NAMES.get(field.name)))
            try:
                candidate = cls(**{**asdict(request), field.name: type(field.default)(value)})
                candidate.check()
            except (TypeError, ValueError, OverflowError, ModelError, VocabularyError):
                continue
            if value is not None:
                request = candidate
        return request

    def save(self) -> dict[str, Any]:
        """Return the fields that differ from the defaults: what :meth:`restore` reads."""
        default = Request()
        return {name: value for name, value in asdict(self).items() if value != getattr(default, name)}

    def link(self, example: str = "") -> str | None:
        """Return the query part of an address that restores this request; ``None`` if it would be too long.

        An erased prompt is part of it: without one, the browser's older prompt would come back.

        Args:
            example: the title of an example that the address also opens.
        """
        of_example = {"example": example} if example else {}
        link = f"?{urlencode(of_example | {'prompt': self.prompt} | self.save())}"
        return link if len(link) <= MAX_ADDRESS else None

    def check(self) -> None:
        """Check every field; the browser may send anything.

        Raises:
            ModelError: a setting has no such choice.
            VocabularyError: a text is too long.
        """
        _check_choice("generator", self.generator, ("", *GENERATORS))
        _check_choice("classifier", self.classifier, CLASSIFIERS)
        _check_choice("choice of distractors", self.distractors, DISTRACTORS)
        _check_choice("choice of templates", self.templates, TEMPLATE_CHOICES)
        _ = self.rule
        if not 0 <= self.min_score <= 1:
            raise ModelError(f"The least score {self.min_score} is outside the range from 0 to 1.")
        if self.points_per_side not in (0, *GRIDS):
            raise ModelError(
                f"There is no grid of {self.points_per_side} points a side; choose one of "
                f"{', '.join(map(str, GRIDS))}, or 0 for the model's own."
            )
        read_min_scores(self.min_scores)
        if max(len(self.prompt), len(self.own_distractors)) > MAX_CHARACTERS:
            raise VocabularyError(
                f"The list of class names is too long; use at most {MAX_CHARACTERS:,} characters."
            )

    def vocabulary(self, max_names: int, names: Sequence[str] | None = None) -> Vocabulary:
        """Return the classes and distractors that are meant.

        Args:
            max_names: how many names a visitor may give; COCO-Stuff's do not count.
            names: a list of class names, which may contain commas, instead of the prompt.

        Raises:
            VocabularyError: there is no class, or there are too many names.
        """
        is_own = self.distractors == "own"
        prompt = self.prompt if names is None else names
        typed = Vocabulary.parse(prompt, distractors=self.own_distractors if is_own else "")
        if len(typed.all_names) > max_names:
            raise VocabularyError(
                f"{len(typed.all_names):,} names were given; use at most {max_names:,} here."
            )
        return typed if is_own else Vocabulary.parse(prompt, distractors=self._hidden_names())

    @property
    def rule(self) -> GranularityRule:
        """How masks become a map.

        Raises:
            ModelError: the granularity is outside [0, 1].
        """
        return GranularityRule(self.granularity)

    def least_scores(self, vocabulary: Vocabulary) -> MinScore:
        """Return the least score of all classes, or that of each where one of them has its own."""
        own = {name.casefold(): score for name, score in read_min_scores(self.min_scores).items()}
        names = vocabulary.class_names
        if not any(name.casefold() in own for name in names):
            return self.min_score
        return {name: own.get(name.casefold(), self.min_score) for name in names}

    @property
    def prompt_templates(self) -> str | None:
        """The prompt templates as :meth:`Analysis.segment` takes them; ``None`` for the model's own."""
        return None if self.templates == MODELS_OWN else self.templates

    @property
    def analysis_key(self) -> tuple[str, str, str, int]:
        """The settings that an analysis depends on; the others change a map in milliseconds."""
        return self.model, self.generator, self.classifier, self.points_per_side

    def points_for(self, generator: str) -> int | None:
        """Return the points a side to ask a generator for; ``None`` for its own grid or if it has none."""
        return self.points_per_side or None if generator == "sam" else None

    @property
    def has_names(self) -> bool:
        """Whether the prompt holds anything but separators."""
        return bool(self.prompt.strip(" ,;/\n\t"))

    def _hidden_names(self) -> str | tuple[str, ...]:
        return coco_stuff_distractors() if self.distractors == "coco-stuff" else _TYPED[self.distractors]


@dataclass(frozen=True)
class Question:
    """A request whose class names have been read.

    Attributes:
        request: as it came.
        vocabulary: its classes and distractors; ``None`` while there are no class names.
    """

    request: Request
    vocabulary: Vocabulary | None = None

    @classmethod
    def read(cls, request: Request, max_names: int) -> Question:
        """Check a request and read its class names.

        Raises:
            ModelError: a setting has no such choice.
            VocabularyError: the names cannot be used.
        """
        request.check()
        return cls(request, request.vocabulary(max_names) if request.has_names else None)


def read_min_scores(text: str) -> dict[str, float]:
    """Return the least scores by class name that a JSON text holds.

    Raises:
        ModelError: they cannot be read, are too many, or are outside the range from 0 to 1.
    """
    if not text:
        return {}
    try:
        scores = json.loads(text) if len(text) <= MAX_CHARACTERS else None
    except (ValueError, RecursionError):
        scores = None
    if not isinstance(scores, dict) or len(scores) > MAX_MIN_SCORES:
        raise ModelError(
            f"The least scores of single classes cannot be read; set them again, at most {MAX_MIN_SCORES}."
        )
    for name, score in scores.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise ModelError(f'The least score of "{name}" is no number from 0 to 1; set it again.')
    return {name: float(score) for name, score in scores.items()}


def write_min_scores(scores: Any) -> str:
    """Return least scores by class name as :func:`read_min_scores` reads them; the browser may send anything.

    Raises:
        ModelError: they are no such scores.
    """
    text = json.dumps(scores, ensure_ascii=False) if scores else ""
    read_min_scores(text)
    return text


_TYPED: Mapping[str, str] = MappingProxyType({"none": "", "others": OTHERS})


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ModelError(f'There is no {what} "{value}"; choose one of {", ".join(filter(None, choices))}.')
