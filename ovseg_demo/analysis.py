"""The part of a segmentation that depends on the image alone, and takes seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ovseg_demo.classification.labeling import class_probabilities
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import EnsembleRule, GranularityRule, NamedMasks, Rule
from ovseg_demo.classification.text_encoder import TextEncoder
from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.progress import DRAWING, ENCODING_NAMES, ProgressCallback, no_progress
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmentation import PixelExplanation, Segmentation, Timing, low_memory_note
from ovseg_demo.vocabulary import Vocabulary

ClassNames = str | Sequence[str] | Vocabulary
"""Class names as :meth:`Vocabulary.parse` reads them, or a vocabulary."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """An analyzed image: N masks and their region embeddings. It answers any question in milliseconds.

    :meth:`ovseg_demo.Segmenter.analyze` makes it. It is an immutable value: it needs no cache, and one
    object serves many threads.

    Attributes:
        image: uint8 RGB (H, W, 3).
        proposals: the N masks.
        partition: of the masks, at their working size.
        regions: float32 (N, D), the unit-length embedding of each masked region; 0 for a region that is not
            embedded yet, which takes no part in a map.
        classifier: the name of the classifier, one of :data:`ovseg_demo.segmenter.CLASSIFIERS`.
        text_encoder: embeds class names in the space of ``regions``.
        clip_weight: CLIP's share in :class:`EnsembleRule` where none is asked for.
        timings: of the two stages.
        notes: what was reduced because memory was short: a phrase for each stage.
    """

    image: np.ndarray
    proposals: Proposals
    partition: MaskPartition
    regions: np.ndarray
    classifier: str
    text_encoder: TextEncoder
    clip_weight: float = 0.7
    timings: tuple[Timing, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def generator(self) -> str:
        """The name of the proposal generator that made the masks."""
        return self.proposals.generator

    @property
    def parts(self) -> tuple[np.ndarray | Proposals | MaskPartition, ...]:
        """What takes memory; analyses of one image may share parts. Each has ``nbytes``."""
        return self.image, self.proposals, self.partition, self.regions

    @property
    def nbytes(self) -> int:
        """Bytes held by all parts."""
        return sum(part.nbytes for part in self.parts)

    def segment(
        self,
        names: ClassNames,
        *,
        rule: Rule | None = None,
        granularity: float | None = None,
        distractors: str | Sequence[str] = "",
        templates: str | None = None,
        progress: ProgressCallback = no_progress,
    ) -> Segmentation:
        """Return the label map of class names.

        Args:
            names: class names as :meth:`Vocabulary.parse` reads them, or a vocabulary, which brings its own
                distractors.
            rule: how masks become a map; by default :class:`GranularityRule`.
            granularity: short for ``rule=GranularityRule(granularity)``.
            distractors: names that compete with the classes and are not drawn.
            templates: the prompt templates, a key of :data:`ovseg_demo.vocabulary.TEMPLATES` or "learned";
                ``None`` takes the model's own.
            progress: called while new names are encoded; may stop the work by raising.

        Raises:
            VocabularyError: the names cannot be used.
            ModelError: a setting cannot be used with this analysis.
        """
        vocabulary = read_vocabulary(names, distractors)
        rule = self._complete(choose_rule(rule, granularity))
        start = time.perf_counter()
        text = self.text_encoder.encode(vocabulary.all_names, templates, progress=progress)
        encoded = time.perf_counter()
        probabilities = class_probabilities(self.regions, text.vectors, vocabulary)
        probabilities[~self.regions.any(axis=1)] = 0
        labeling = rule.label(
            NamedMasks(self.proposals, self.partition, probabilities, text.vectors, vocabulary)
        )
        areas, scores = labeling.label_map.summarise(len(vocabulary.classes))
        return Segmentation(
            image=self.image,
            vocabulary=vocabulary,
            proposals=self.proposals,
            probabilities=labeling.probabilities[:, : len(vocabulary.classes)],
            kept=labeling.kept,
            label_map=labeling.label_map.labels,
            areas=areas,
            scores=scores,
            score_map=labeling.score_map,
            rule=rule,
            classifier=self.classifier,
            templates=templates or self.text_encoder.templates,
            timings=(
                Timing(ENCODING_NAMES, encoded - start, text.was_cached),
                Timing(DRAWING, time.perf_counter() - encoded, was_cached=False),
            ),
            notes=(*self.notes, *low_memory_note(ENCODING_NAMES, text.fallback)),
        )

    def explain(self, x: int, y: int, names: ClassNames, **settings: object) -> PixelExplanation:
        """Return why a pixel is labelled as it is.

        Args:
            x: its column, from 0.
            y: its row, from 0.
            names: the class names.
            settings: as :meth:`segment` takes them.

        Raises:
            OvsegError: as :meth:`segment`.
            ValueError: there is no such pixel.
        """
        return self.segment(names, **settings).explain(x, y)

    def _complete(self, rule: Rule) -> Rule:
        if isinstance(rule, EnsembleRule) and rule.clip_weight is None:
            return replace(rule, clip_weight=self.clip_weight)
        return rule


def read_vocabulary(names: ClassNames, distractors: str | Sequence[str] = "") -> Vocabulary:
    """Return the vocabulary that is meant.

    Raises:
        VocabularyError: the names cannot be used, or a vocabulary comes with further distractors.
    """
    if not isinstance(names, Vocabulary):
        return Vocabulary.parse(names, distractors=distractors)
    if distractors:
        raise VocabularyError("A Vocabulary brings its own distractors; make one with those.")
    return names


def choose_rule(rule: Rule | None, granularity: float | None) -> Rule:
    """Return the rule that is meant by a rule or a granularity.

    Raises:
        ModelError: both are given, the rule is none, or the granularity is outside [0, 1].
    """
    if rule is None:
        return GranularityRule() if granularity is None else GranularityRule(granularity)
    if not isinstance(rule, Rule):
        raise ModelError(f"{rule!r} is no rule; give a GranularityRule or an EnsembleRule.")
    if granularity is not None:
        raise ModelError("Both a rule and a granularity were given; give GranularityRule(granularity) alone.")
    return rule
