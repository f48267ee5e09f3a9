"""The two rules by which named masks become a label map (OVSEG.md, sections 6, 7 and 12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ovseg_demo.classification.labeling import ensemble_probabilities, keep_masks, query_probabilities
from ovseg_demo.classification.partition import MaskPartition, label_cells
from ovseg_demo.classification.score_maps import HardMasks, LabelMap, ScoreMap, SoftMasks
from ovseg_demo.errors import ModelError
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.vocabulary import Vocabulary


class Drawing(NamedTuple):
    """A label map and what it was drawn from.

    Attributes:
        label_map: labels and shares of the pixels.
        score_map: the same in full, on demand.
        probabilities: float32 (N, C), of the proposals, as they were used.
        kept: bool (N,), the proposals that take part.
    """

    label_map: LabelMap
    score_map: ScoreMap
    probabilities: np.ndarray
    kept: np.ndarray


def draw_by_granularity(
    proposals: Proposals,
    partition: MaskPartition,
    probabilities: np.ndarray,
    class_count: int,
    granularity: float,
) -> Drawing:
    """Sum the probabilities of the hard masks that the granularity keeps: the rule of the demo.

    Args:
        proposals: N masks. MaskFormer's scores are resampled bilinearly to the image, others by "nearest".
        partition: of these masks.
        probabilities: float32 (N, C), of K classes, then the distractors.
        class_count: K.
        granularity: see :func:`keep_masks`.

    Raises:
        ModelError: the granularity is out of range.
    """
    kept = keep_masks(probabilities[:, :class_count], granularity)
    resampling = "nearest" if proposals.queries is None else "bilinear"
    of_kept = probabilities * kept[:, None]
    label_map = label_cells(partition, of_kept, class_count, proposals.image_size, resampling)
    masks = HardMasks(proposals, np.flatnonzero(kept))
    score_map = ScoreMap(masks, probabilities[kept], class_count, proposals.image_size, resampling)
    return Drawing(label_map, score_map, probabilities, kept)


def draw_softly(
    proposals: Proposals,
    of_regions: np.ndarray,
    text_embeddings: np.ndarray,
    vocabulary: Vocabulary,
    ensemble_weight: float,
    trained_classes: Sequence[bool] | None = None,
) -> Drawing:
    """Sum MaskFormer's and CLIP's probabilities of all soft masks: the rule of the evaluation.

    Args:
        proposals: MaskFormer's.
        of_regions: float32 (N, C), CLIP's probabilities.
        text_embeddings: float32 (names, D), in the order of ``vocabulary.all_names``.
        vocabulary: K classes and their distractors.
        ensemble_weight: λ; see :func:`ensemble_probabilities`.
        trained_classes: which of the K classes MaskFormer was trained on, where that matters (SimSeg).

    Raises:
        ModelError: the masks are hard, they belong to another text tower, λ is out of range, or
            ``trained_classes`` does not have K entries.
    """
    class_count = len(vocabulary.classes)
    if proposals.queries is None:
        raise ModelError(
            f'The rule "soft" needs soft masks, those of "maskformer"; "{proposals.generator}" has hard ones.'
        )
    widths = proposals.queries.class_embeddings.shape[1], text_embeddings.shape[1]
    if widths[0] != widths[1]:
        raise ModelError(
            f"This MaskFormer names its masks in {widths[0]} dimensions, this CLIP in {widths[1]}; "
            'for the rule "soft" take the CLIP that it was trained with.'
        )
    if not 0 <= ensemble_weight <= 1:
        raise ModelError(f"The ensemble weight {ensemble_weight} is outside the range from 0 to 1.")
    if trained_classes is not None and len(trained_classes) != class_count:
        raise ModelError(
            f"trained_classes has {len(trained_classes)} entries; give one for each of {class_count} classes."
        )
    trained = np.zeros(of_regions.shape[1], dtype=bool)
    trained[:class_count] = False if trained_classes is None else trained_classes
    probabilities = ensemble_probabilities(
        query_probabilities(proposals.queries, text_embeddings, vocabulary),
        of_regions,
        proposals.queries.kept,
        ensemble_weight,
        trained,
    )
    masks = SoftMasks(proposals.queries, proposals.working_size)
    score_map = ScoreMap(masks, probabilities, class_count, proposals.image_size, "bilinear")
    kept = np.ones(len(proposals), dtype=bool)
    return Drawing(score_map.label(), score_map, probabilities[proposals.queries.kept], kept)
