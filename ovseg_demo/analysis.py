"""The analysis of an image: the part of a segmentation that does not depend on the class names."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ovseg_demo.classification.corrections import Correction, apply_corrections
from ovseg_demo.classification.labeling import class_probabilities
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import EnsembleRule, GranularityRule, Labeling, NamedMasks, Rule
from ovseg_demo.classification.suggestions import (
    DEFAULT_SUGGESTIONS,
    Candidate,
    Suggestion,
    check_count,
    rank_names,
)
from ovseg_demo.classification.text_encoder import TextEncoder
from ovseg_demo.classification.types import LOGIT_SCALE, NameAdaptation
from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.progress import DRAWING, ENCODING_NAMES, ProgressCallback, no_progress
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmentation import MinScore, PixelExplanation, Segmentation, Timing, low_memory_note
from ovseg_demo.vocabulary import LEARNED, ClassName, Vocabulary

ClassNames = str | Sequence[str] | Vocabulary
"""Class names in a form that :meth:`Vocabulary.parse` reads, or a vocabulary."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """An analyzed image: N masks and their region embeddings.

    :meth:`ovseg_demo.Segmenter.analyze` returns it. :meth:`segment` computes the label map of any class names
    from it in milliseconds. An analysis is immutable, so many threads can use one.

    Attributes:
        image: uint8 RGB (H, W, 3).
        proposals: the N masks.
        partition: the partition of the masks, at their working size.
        regions: float32 (N, D), the unit-length embedding of each masked region. It is 0 for a region that is
            not embedded yet; such a region takes no part in a label map.
        classifier: the name of the classifier, one of :data:`ovseg_demo.segmenter.CLASSIFIERS`.
        text_encoder: embeds class names in the space of ``regions``.
        logit_scale: the classifier's factor on similarities before the softmax.
        adaptation: how the image changes text embeddings, for a classifier that adapts them.
        clip_weight: CLIP's exponent λ for an :class:`EnsembleRule` without one.
        candidates: the names that :meth:`suggest` ranks.
        timings: the timings of the two stages.
        notes: a phrase for each thing that makes the result coarser than usual: what was reduced because
            memory was short, and masks too small for the classifier's grid.
    """

    image: np.ndarray
    proposals: Proposals
    partition: MaskPartition
    regions: np.ndarray
    classifier: str
    text_encoder: TextEncoder
    logit_scale: float = LOGIT_SCALE
    adaptation: NameAdaptation | None = None
    clip_weight: float = 0.7
    candidates: tuple[Candidate, ...] = ()
    timings: tuple[Timing, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def generator(self) -> str:
        """The name of the proposal generator that made the masks."""
        return self.proposals.generator

    @property
    def suggestion_templates(self) -> str:
        """The prompt templates with which :meth:`suggest` encodes names."""
        return LEARNED if self.text_encoder.templates == LEARNED else "photo"

    @property
    def parts(self) -> tuple[np.ndarray | Proposals | MaskPartition | NameAdaptation, ...]:
        """The parts that take memory, each with ``nbytes``; analyses of one image may share parts."""
        adaptation = () if self.adaptation is None else (self.adaptation,)
        return self.image, self.proposals, self.partition, self.regions, *adaptation

    @property
    def nbytes(self) -> int:
        """The bytes that all parts hold."""
        return sum(part.nbytes for part in self.parts)

    def segment(
        self,
        names: ClassNames,
        *,
        rule: Rule | None = None,
        granularity: float | None = None,
        distractors: str | Sequence[str] = "",
        templates: str | None = None,
        min_score: MinScore = 0.0,
        corrections: Sequence[Correction] = (),
        progress: ProgressCallback = no_progress,
    ) -> Segmentation:
        """Return the label map of class names.

        Typed names that the model does not know are left out; ``ignored`` of the result's vocabulary lists
        them.

        Args:
            names: class names as :meth:`Vocabulary.parse` reads them, or a vocabulary with its distractors.
            rule: the rule that computes the map from the masks; by default :class:`GranularityRule`.
            granularity: short for ``rule=GranularityRule(granularity)``.
            distractors: names that compete with the classes and are not drawn.
            templates: the prompt templates, a key of :data:`ovseg_demo.vocabulary.TEMPLATES` or "learned";
                ``None`` means the model's default.
            min_score: pixels whose class has a smaller share of their scores stay unlabelled: a number from 0
                to 1 for all classes, or one for each class name, whatever its case; other classes have 0.
            corrections: areas of this image that a person named, drawn over the map in this order. A name
                that is not among the class names becomes a further class.
            progress: called while new names are encoded; it may stop the work by raising an exception.

        Raises:
            VocabularyError: the names are not valid, or ``min_score`` has a name that is no class.
            ModelError: a setting is not valid for this analysis.
            ImageError: a correction was made for an image of another size.
        """
        vocabulary = read_vocabulary(names, distractors)
        rule = self._complete(choose_rule(rule, granularity))
        check_min_score(vocabulary, min_score)  # so that a wrong one fails first
        start = time.perf_counter()
        if vocabulary.is_typed:
            vocabulary = vocabulary.without(self.text_encoder.obstacles(vocabulary.all_names, templates))
        text = self.text_encoder.encode(vocabulary.all_names, templates, progress=progress)
        encoded = time.perf_counter()
        min_score = _match_min_score(vocabulary, min_score)
        labeling = self._label(vocabulary, text.vectors, rule, _least_scores(vocabulary, min_score))
        labeling, vocabulary = apply_corrections(labeling, vocabulary, corrections)
        segmentation = self._segmentation(
            labeling,
            vocabulary,
            rule=rule,
            templates=templates or self.text_encoder.templates,
            notes=(*self.notes, *low_memory_note(ENCODING_NAMES, text.fallback)),
            min_score=min_score,
            corrections=tuple(corrections),
        )
        timings = (
            Timing(ENCODING_NAMES, encoded - start, text.was_cached),
            Timing(DRAWING, time.perf_counter() - encoded, was_cached=False),
        )
        return replace(segmentation, timings=timings)

    def suggest(
        self,
        count: int = DEFAULT_SUGGESTIONS,
        *,
        candidates: Sequence[str] | None = None,
        progress: ProgressCallback = no_progress,
    ) -> tuple[Suggestion, ...]:
        """Return the names that describe the image best among many candidates, the best first.

        The text embeddings of the candidates are computed once for each model; afterwards, a call takes
        milliseconds. The prompt template is "photo", unless the model has learned prompts: for a list of this
        length, the 14 sentences of "vild" take 14 times as long.

        Args:
            count: the most names to return, from 1 to 100.
            candidates: the names to choose from, all equally likely; ``None`` means :attr:`candidates`. Names
                that the model does not know are not suggested.
            progress: called while the candidates are encoded; it may stop the work by raising an exception.

        Returns:
            At most ``count`` names with scores; none if no region is embedded yet or no name is known.

        Raises:
            ModelError: ``count`` is outside its range.
            VocabularyError: a candidate cannot be encoded.
        """
        check_count(count)
        if candidates is None:
            possible = self.candidates
        else:
            possible = tuple(map(Candidate, dict.fromkeys(candidates)))
        names = [candidate.name for candidate in possible]
        embedded = self.regions.any(axis=1)
        if not names or not embedded.any():
            return ()
        templates = self.suggestion_templates
        text = self.text_encoder.encode(names, templates, progress=progress).vectors
        known = np.flatnonzero(self.text_encoder.are_usable(names, templates))
        if not known.size:
            return ()
        possible, text = [possible[index] for index in known], text[known]
        vectors = text if self.adaptation is None else self.adaptation(text)
        classes = Vocabulary(tuple(ClassName(candidate.name) for candidate in possible))
        probabilities = class_probabilities(self.regions[embedded], vectors, classes, self.logit_scale)
        height, width = self.proposals.working_size
        shares = self.proposals.areas[embedded] / (height * width)
        return rank_names(possible, probabilities, shares, text, count)

    def explain(self, x: int, y: int, names: ClassNames, **settings: object) -> PixelExplanation:
        """Return the explanation of a pixel's label.

        Args:
            x: the pixel's column, from 0.
            y: the pixel's row, from 0.
            names: the class names.
            settings: settings of :meth:`segment`.

        Raises:
            OvsegError: :meth:`segment` raises it.
            ValueError: there is no such pixel.
        """
        return self.segment(names, **settings).explain(x, y)

    def _label(self, vocabulary: Vocabulary, text: np.ndarray, rule: Rule, least: np.ndarray) -> Labeling:
        """Return what a rule makes of the masks, without pixels whose class has less than its least score.

        Args:
            vocabulary: K classes and their distractors.
            text: float32 (names, D), the embeddings of all names of the vocabulary.
            rule: computes the map from the masks.
            least: float32 (K,), the least score of each class.
        """
        vectors = text if self.adaptation is None else self.adaptation(text)
        probabilities = class_probabilities(self.regions, vectors, vocabulary, self.logit_scale)
        probabilities[~self.regions.any(axis=1)] = 0
        labeling = rule.label(NamedMasks(self.proposals, self.partition, probabilities, text, vocabulary))
        return labeling._replace(label_map=labeling.label_map.leave_out(least))

    def _segmentation(self, labeling: Labeling, vocabulary: Vocabulary, **settings: Any) -> Segmentation:
        """Return the result of a labeling; ``settings`` are the attributes that tell how it was made."""
        count = len(vocabulary.classes)
        areas, scores = labeling.label_map.summarise(count)
        return Segmentation(
            image=self.image,
            vocabulary=vocabulary,
            proposals=self.proposals,
            probabilities=labeling.probabilities[:, :count],
            distractor_probabilities=labeling.probabilities[:, count:],
            kept=labeling.kept,
            label_map=labeling.label_map.labels,
            areas=areas,
            scores=scores,
            score_map=labeling.score_map,
            classifier=self.classifier,
            **settings,
        )

    def _complete(self, rule: Rule) -> Rule:
        if isinstance(rule, EnsembleRule) and rule.clip_weight is None:
            return replace(rule, clip_weight=self.clip_weight)
        return rule


def read_vocabulary(names: ClassNames, distractors: str | Sequence[str] = "") -> Vocabulary:
    """Return ``names`` if they are a vocabulary, or else the vocabulary that they and the distractors make.

    Raises:
        VocabularyError: the names are not valid, or distractors are given in addition to a vocabulary.
    """
    if not isinstance(names, Vocabulary):
        return Vocabulary.parse(names, distractors=distractors)
    if distractors:
        raise VocabularyError("A Vocabulary has its own distractors; make one with those.")
    return names


def check_min_score(vocabulary: Vocabulary, min_score: MinScore) -> None:
    """Raise unless a least score is from 0 to 1 and, where it is one for each name, each name is a class.

    Raises:
        ModelError: a number is outside [0, 1].
        VocabularyError: a name is no class of the vocabulary.
    """
    given = min_score if isinstance(min_score, Mapping) else dict.fromkeys(vocabulary.class_names, min_score)
    known = {name.casefold() for name in vocabulary.class_names}
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise ModelError(f'The least score {value} of "{name}" is outside the range from 0 to 1.')
        if name.casefold() not in known:
            raise VocabularyError(
                f'min_score has a value for "{name}", which is no class; leave it out, or name the class as '
                "the class names do, without its synonyms."
            )


def _match_min_score(vocabulary: Vocabulary, min_score: MinScore) -> MinScore:
    """Return a least score for all classes, or one for each class under the name that the vocabulary has."""
    if not isinstance(min_score, Mapping):
        return min_score
    given = {name.casefold(): value for name, value in min_score.items()}
    return {name: given.get(name.casefold(), 0.0) for name in vocabulary.class_names}


def _least_scores(vocabulary: Vocabulary, min_score: MinScore) -> np.ndarray:
    """Return the least score of each class, from :func:`_match_min_score`: float32 (K,)."""
    if not isinstance(min_score, Mapping):
        return np.full(len(vocabulary.classes), min_score, dtype=np.float32)
    return np.array([min_score[name] for name in vocabulary.class_names], dtype=np.float32)


def choose_rule(rule: Rule | None, granularity: float | None) -> Rule:
    """Return the given rule, or the :class:`GranularityRule` of the given granularity.

    Raises:
        ModelError: both are given, ``rule`` is not a rule, or the granularity is outside [0, 1].
    """
    if rule is None:
        return GranularityRule() if granularity is None else GranularityRule(granularity)
    if not isinstance(rule, Rule):
        raise ModelError(f"{rule!r} is not a rule; give a GranularityRule or an EnsembleRule.")
    if granularity is not None:
        raise ModelError("Both a rule and a granularity were given; give GranularityRule(granularity) alone.")
    return rule
