"""Counts on a labelled image; their sums over images give all figures, and an interrupted run can resume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.evaluation.datasets import LabelledImage
from ovseg_demo.evaluation.metrics import confusion_matrix
from ovseg_demo.evaluation.oracles import label_by_oracle, oracle_proposals, segment_overlaps
from ovseg_demo.evaluation.sticker_world import is_thing
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmenter import CLASSIFIERS, Segmenter
from ovseg_demo.vocabulary import Vocabulary

Counts = dict[str, np.ndarray]

SMALLEST_REGION = 24 * 24
"""Pixels from which a region counts; a smaller one may be a tip behind another object."""

SMALLEST_OBJECT = 48 * 48
"""Pixels above which an object counts for the recall of proposals."""

_CONTEXT = 0.1  # share of a box's side that an unmasked crop adds on each side


class Measure(Protocol):
    """A function from an image to counts: int64 arrays of the same shape for every image."""

    def __call__(self, sample: LabelledImage) -> Counts:
        """Return the counts, by their names."""
        ...


@dataclass(frozen=True, eq=False)
class LabelMaps:
    """The confusion matrix of a model's label maps.

    Attributes:
        segmenter: the model.
        vocabulary: the K classes.
        settings: arguments of :meth:`Segmenter.segment`: generator, classifier, rule and so on.
    """

    segmenter: Segmenter
    vocabulary: Vocabulary
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __call__(self, sample: LabelledImage) -> Counts:
        """Return ``confusion``, int64 (K, K + 1)."""
        found = self.segmenter.segment(sample.image, self.vocabulary, **self.settings)
        return {"confusion": confusion_matrix(sample.labels, found.label_map, len(self.vocabulary.classes))}


@dataclass(frozen=True, eq=False)
class OracleMasks:
    """Perfect masks, classified by the model."""

    segmenter: Segmenter
    vocabulary: Vocabulary
    classifier: str = CLASSIFIERS[0]

    def __call__(self, sample: LabelledImage) -> Counts:
        """Return ``confusion`` (K, K + 1), and the number of ``regions`` and ``right`` ones (K,): int64."""
        proposals = oracle_proposals(sample)
        analysis = self.segmenter.classify(sample.image, proposals, classifier=self.classifier)
        found = analysis.segment(self.vocabulary, granularity=0)
        class_count = len(self.vocabulary.classes)
        return {
            "confusion": confusion_matrix(sample.labels, found.label_map, class_count),
            **_count_right(sample, found.probabilities, class_count),
        }


@dataclass(frozen=True, eq=False)
class UnmaskedRegions:
    """Unmasked crops of the same regions, classified by the model; CLIP was pre-trained on such images."""

    segmenter: Segmenter
    vocabulary: Vocabulary
    classifier: str = CLASSIFIERS[0]

    def __call__(self, sample: LabelledImage) -> Counts:
        """Return ``regions`` and ``right``, int64 (K,) each."""
        boxes = _boxes_as_masks(oracle_proposals(sample))
        analysis = self.segmenter.classify(sample.image, boxes, classifier=self.classifier)
        found = analysis.segment(self.vocabulary, granularity=0)
        return _count_right(sample, found.probabilities, len(self.vocabulary.classes))


@dataclass(frozen=True, eq=False)
class OracleClassifier:
    """The model's masks, classified by a perfect classifier.

    Attributes:
        segmenter: the model.
        vocabulary: the K classes.
        generator: of the masks.
        soft: draw with MaskFormer's soft masks.
    """

    segmenter: Segmenter
    vocabulary: Vocabulary
    generator: str
    soft: bool

    def __call__(self, sample: LabelledImage) -> Counts:
        """Return ``confusion``, int64 (K, K + 1)."""
        proposals = self.segmenter.propose(sample.image, generator=self.generator)
        class_count = len(self.vocabulary.classes)
        label_map = label_by_oracle(proposals, sample, class_count, soft=self.soft)
        return {"confusion": confusion_matrix(sample.labels, label_map, class_count)}


@dataclass(frozen=True, eq=False)
class Coverage:
    """Recall of proposals: the number of objects of Sticker World that a proposal covers."""

    segmenter: Segmenter
    generator: str

    def __call__(self, sample: LabelledImage) -> Counts:
        """Return scalars: ``objects``, how many are ``covered_50`` and ``covered_75``, and ``masks``."""
        proposals = self.segmenter.propose(sample.image, generator=self.generator)
        overlaps = segment_overlaps(proposals, MaskPartition.of(proposals), sample)
        wanted = is_thing(sample.segment_classes) & (_segment_areas(sample) > SMALLEST_OBJECT)
        best = overlaps.max(axis=0, initial=0)[wanted]
        counts = {
            "objects": wanted.sum(),
            "covered_50": (best >= 0.5).sum(),
            "covered_75": (best >= 0.75).sum(),
            "masks": len(proposals),
        }
        return {name: np.array(count, dtype=np.int64) for name, count in counts.items()}


def _count_right(sample: LabelledImage, probabilities: np.ndarray, class_count: int) -> Counts:
    """Return the number (K,) of large enough segments of each class, and of those with the right class."""
    large = _segment_areas(sample) >= SMALLEST_REGION
    classes = sample.segment_classes[large]
    right = probabilities[large].argmax(axis=1) == classes
    return {
        "regions": np.bincount(classes, minlength=class_count),
        "right": np.bincount(classes[right], minlength=class_count),
    }


def _segment_areas(sample: LabelledImage) -> np.ndarray:
    """Return the number of pixels of each segment: int64 (S,)."""
    return np.bincount(sample.segments.ravel() + 1, minlength=len(sample.segment_classes) + 1)[1:]


def _boxes_as_masks(proposals: Proposals) -> Proposals:
    """Return the proposals' boxes with some context, as masks: their regions are unmasked crops."""
    height, width = proposals.working_size
    masks = np.zeros((len(proposals), height, width), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, proposals.boxes, strict=True):
        dx, dy = round(_CONTEXT * (x1 - x0)), round(_CONTEXT * (y1 - y0))
        mask[max(0, y0 - dy) : y1 + dy, max(0, x0 - dx) : x1 + dx] = True
    return Proposals.from_masks(
        masks, proposals.scores, proposals.working_image, proposals.image_size, proposals.generator
    )
