"""Pure functions on arrays: class probabilities of masks, and the choice of masks for a label map."""

from __future__ import annotations

import numpy as np
import torch

from ovseg_demo.classification.types import LOGIT_SCALE
from ovseg_demo.errors import ModelError
from ovseg_demo.proposals.types import MaskQueries
from ovseg_demo.vocabulary import Vocabulary


def class_probabilities(
    region_embeddings: np.ndarray,
    text_embeddings: np.ndarray,
    vocabulary: Vocabulary,
    logit_scale: float = LOGIT_SCALE,
) -> np.ndarray:
    """Return the softmax of scale × dot product over all names; a class takes the maximum of its synonyms.

    Args:
        region_embeddings: float32 (N, D), unit length.
        text_embeddings: float32 (names, D), in the order of ``vocabulary.all_names``.
        vocabulary: K classes and their distractors.
        logit_scale: the classifier's own (:attr:`.types.RegionClassifier.logit_scale`).

    Returns:
        float32 (N, K + distractors), in [0, 1]. A row sums to 1 if no class has synonyms, else to less.
    """
    return _merge_synonyms(_softmax(_logits(region_embeddings, text_embeddings, logit_scale)), vocabulary)


def query_probabilities(
    queries: MaskQueries, text_embeddings: np.ndarray, vocabulary: Vocabulary
) -> np.ndarray:
    """Return MaskFormer's own probabilities: softmax of 100 × cosine over all names and "no object".

    Args:
        queries: Q class embeddings and the non-object embedding, of any length.
        text_embeddings: float32 (names, D), unit length, in the order of ``vocabulary.all_names``.
        vocabulary: K classes and their distractors.

    Returns:
        float32 (Q, K + distractors), in [0, 1].
    """
    alternatives = np.concatenate([text_embeddings, _normalise(queries.non_object_embedding[None])])
    logits = _logits(_normalise(queries.class_embeddings), alternatives)
    return _merge_synonyms(_softmax(logits)[:, :-1], vocabulary)


def ensemble_probabilities(
    of_queries: np.ndarray,
    of_regions: np.ndarray,
    kept: np.ndarray,
    weight: float,
    trained_classes: np.ndarray | None = None,
) -> np.ndarray:
    """Return MaskFormer's and CLIP's probabilities combined: p = p_maskformer^(1−λ) · p_clip^λ.

    A query whose binary mask is empty has no crop: p_clip is 1 for each of its classes. With λ = 0 the result
    is CLIP's probabilities alone, for the queries that have a crop. For classes that the proposal model was
    trained on, the two exponents are swapped (SimSeg, arXiv 2112.14757).

    Args:
        of_queries: float32 (Q, C), from :func:`query_probabilities`.
        of_regions: float32 (N, C), from :func:`class_probabilities`.
        kept: int64 (N,), the query of each region.
        weight: λ in [0, 1].
        trained_classes: bool (C,), whether MaskFormer was trained on the class; ``None`` means on none.

    Returns:
        float32 (Q, C). With λ = 0, the rows of queries without a crop are 0.
    """
    if weight == 0:
        combined = np.zeros_like(of_queries)
        combined[kept] = of_regions
        return combined
    of_crops = np.ones_like(of_queries)
    of_crops[kept] = of_regions
    trained = np.zeros(of_queries.shape[1], dtype=bool) if trained_classes is None else trained_classes
    exponents = np.where(trained, 1 - weight, weight).astype(np.float32)
    return of_queries ** (1 - exponents) * of_crops**exponents


def keep_masks(probabilities: np.ndarray, granularity: float) -> np.ndarray:
    """Return which masks take part in the label map.

    Below 1, a mask is kept if its probability of any class exceeds ``granularity`` times the highest
    probability that any mask has of that class. At 1, each class keeps its one best mask.

    Args:
        probabilities: float32 (N, K), of the K classes without the distractors, which keep no mask.
        granularity: in [0, 1], from 0 (coarse: all masks) to 1 (precise).

    Returns:
        bool (N,).

    Raises:
        ModelError: ``granularity`` is outside [0, 1].
    """
    check_granularity(granularity)
    if not len(probabilities):
        return np.zeros(0, dtype=bool)
    if granularity < 1:
        return (probabilities > granularity * probabilities.max(axis=0)).any(axis=1)
    kept = np.zeros(len(probabilities), dtype=bool)
    kept[probabilities.argmax(axis=0)] = True
    return kept


def check_granularity(granularity: float) -> None:
    """Raise :class:`ModelError` unless the granularity is in [0, 1]."""
    if not 0 <= granularity <= 1:
        raise ModelError(
            f"The granularity {granularity} is outside the range from 0 (coarse) to 1 (precise)."
        )


def _logits(embeddings: np.ndarray, names: np.ndarray, scale: float = LOGIT_SCALE) -> np.ndarray:
    """Return scale × dot product of each pair: float32 (N, names).

    Torch multiplies, because NumPy's threads keep the processor busy after their work is done.
    """
    return (torch.from_numpy(np.float32(scale) * embeddings) @ torch.from_numpy(names).T).numpy()


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _normalise(embeddings: np.ndarray) -> np.ndarray:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def _merge_synonyms(probabilities: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Return the maximum over the names of each class: (N, K + distractors), from (N, names)."""
    names_per_column = [len(entry.names) for entry in vocabulary.classes] + [1] * len(vocabulary.distractors)
    first_names = np.cumsum([0, *names_per_column[:-1]])
    return np.maximum.reduceat(probabilities, first_names, axis=1)
