"""The two rules that turn named masks into a label map.

:class:`GranularityRule` is the rule of the published demo. :class:`EnsembleRule` is the rule of the paper's
evaluation (arXiv 2210.04150). Both formulas are in docs/explanation/method.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ovseg_demo.classification.labeling import (
    check_granularity,
    ensemble_probabilities,
    keep_masks,
    query_probabilities,
)
from ovseg_demo.classification.partition import MaskPartition, label_cells
from ovseg_demo.classification.score_maps import HardMasks, LabelMap, ScoreMap, SoftMasks
from ovseg_demo.errors import ModelError
from ovseg_demo.proposals.types import MaskQueries, Proposals
from ovseg_demo.vocabulary import Vocabulary


class Labeling(NamedTuple):
    """A label map and the values that a rule computed it from.

    Attributes:
        label_map: the label of each pixel, and the label's share of the pixel's scores.
        score_map: all scores of all pixels, computed on demand.
        probabilities: float32 (N, C), the class probabilities of the proposals that the rule used.
        kept: bool (N,), whether a proposal takes part in the map.
    """

    label_map: LabelMap
    score_map: ScoreMap
    probabilities: np.ndarray
    kept: np.ndarray


class NamedMasks(NamedTuple):
    """The input of a rule: the masks of an image and their class probabilities.

    Attributes:
        proposals: N masks.
        partition: the partition of these masks.
        probabilities: float32 (N, C), CLIP's probabilities of the K classes, then of the distractors.
        text_embeddings: float32 (names, D), in the order of ``vocabulary.all_names``.
        vocabulary: K classes and their distractors.
    """

    proposals: Proposals
    partition: MaskPartition
    probabilities: np.ndarray
    text_embeddings: np.ndarray
    vocabulary: Vocabulary


@dataclass(frozen=True)
class GranularityRule:
    """A rule that sums the class probabilities of hard masks; the granularity chooses the masks.

    Attributes:
        granularity: in [0, 1]. 0 gives the coarsest map, from all masks. 1 gives the most precise map, from
            the one best mask of each class.

    Raises:
        ModelError: the granularity is outside [0, 1].
    """

    granularity: float = 0.8

    def __post_init__(self) -> None:
        check_granularity(self.granularity)

    def label(self, masks: NamedMasks) -> Labeling:
        """Return the label map; MaskFormer's scores are resampled bilinearly, others by "nearest"."""
        proposals, class_count = masks.proposals, len(masks.vocabulary.classes)
        kept = keep_masks(masks.probabilities[:, :class_count], self.granularity)
        resampling = "nearest" if proposals.queries is None else "bilinear"
        of_kept = masks.probabilities * kept[:, None]
        label_map = label_cells(masks.partition, of_kept, class_count, proposals.image_size, resampling)
        score_map = ScoreMap(
            HardMasks(proposals, np.flatnonzero(kept)),
            masks.probabilities[kept],
            class_count,
            proposals.image_size,
            resampling,
        )
        return Labeling(label_map, score_map, masks.probabilities, kept)


@dataclass(frozen=True)
class EnsembleRule:
    """A rule that sums MaskFormer's and CLIP's geometrically combined probabilities over all soft masks.

    Attributes:
        clip_weight: CLIP's exponent λ in [0, 1]. 0 means CLIP alone; ``None`` means the model's own weight.
        trained_classes: for each of the K classes, whether MaskFormer was trained on it; SimSeg swaps the
            two exponents for these classes. ``None`` means that it was trained on none.

    Raises:
        ModelError: the weight is outside [0, 1].
    """

    clip_weight: float | None = None
    trained_classes: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        if self.clip_weight is not None and not 0 <= self.clip_weight <= 1:
            raise ModelError(f"The CLIP weight {self.clip_weight} is outside the range from 0 to 1.")

    def label(self, masks: NamedMasks) -> Labeling:
        """Return the label map.

        Raises:
            ModelError: the masks are hard, MaskFormer and CLIP have different text towers, or
                ``trained_classes`` does not have K entries.
        """
        proposals, class_count = masks.proposals, len(masks.vocabulary.classes)
        queries = _soft_queries(proposals, masks.text_embeddings.shape[1])
        probabilities = ensemble_probabilities(
            query_probabilities(queries, masks.text_embeddings, masks.vocabulary),
            masks.probabilities,
            queries.kept,
            self.clip_weight,
            self._trained_columns(class_count, masks.probabilities.shape[1]),
        )
        soft_masks = SoftMasks(queries, proposals.working_size)
        score_map = ScoreMap(soft_masks, probabilities, class_count, proposals.image_size, "bilinear")
        kept = np.ones(len(proposals), dtype=bool)
        return Labeling(score_map.label(), score_map, probabilities[queries.kept], kept)

    def _trained_columns(self, class_count: int, column_count: int) -> np.ndarray:
        trained = np.zeros(column_count, dtype=bool)
        if self.trained_classes is None:
            return trained
        if len(self.trained_classes) != class_count:
            raise ModelError(
                f"trained_classes has {len(self.trained_classes)} entries; give one for each of the "
                f"{class_count} classes."
            )
        trained[:class_count] = self.trained_classes
        return trained


Rule = GranularityRule | EnsembleRule


def _soft_queries(proposals: Proposals, text_width: int) -> MaskQueries:
    if proposals.queries is None:
        raise ModelError(
            f'The ensemble rule needs the soft masks of "maskformer"; "{proposals.generator}" has hard masks.'
        )
    width = proposals.queries.class_embeddings.shape[1]
    if width != text_width:
        raise ModelError(
            f"This MaskFormer names its masks in {width} dimensions, this CLIP in {text_width}; "
            "for the ensemble rule take the CLIP that it was trained with."
        )
    return proposals.queries
