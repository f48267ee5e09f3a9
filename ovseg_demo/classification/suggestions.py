"""Suggested class names: candidate names ranked against the region embeddings of one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ovseg_demo.errors import ModelError

AREA_EXPONENT = 0.5
"""The weight of a region is its share of the image to this power: 1 favours background, 0 ignores size."""

SAME_NAME = 0.9
"""Cosine of two text embeddings from which the names count as the same."""

DEFAULT_SUGGESTIONS, MAX_SUGGESTIONS = 10, 100
"""How many names are suggested for one image, and how many may be."""


class Candidate(NamedTuple):
    """A name that may be suggested.

    Attributes:
        name: the name.
        prior: what is added to its logits: how much likelier than other names it is before an image is seen.
    """

    name: str
    prior: float = 0.0


class Suggestion(NamedTuple):
    """A suggested class name.

    Attributes:
        name: the name.
        score: from 0 to 1: the mean of the regions' probabilities of this name among all candidates, weighted
            by the regions' areas; regions that an earlier suggestion explains count less.
    """

    name: str
    score: float


def check_count(count: int) -> None:
    """Raise :class:`ModelError` unless so many names can be suggested."""
    if not 1 <= count <= MAX_SUGGESTIONS:
        raise ModelError(f"{count} names cannot be suggested; ask for 1 to {MAX_SUGGESTIONS}.")


def rank_names(
    candidates: Sequence[Candidate],
    probabilities: np.ndarray,
    shares: np.ndarray,
    text_embeddings: np.ndarray,
    count: int,
) -> tuple[Suggestion, ...]:
    """Return the names that explain the regions of an image best, the best first.

    The probabilities are multiplied by the candidates' priors, as odds, and normalised for each region.
    Names are chosen one after the other. Each time, the name with the highest score is taken. A region that
    has the probability p of this name then counts (1 − p) times as much, so that the next name explains other
    regions. Names that mean the same as the chosen one are dropped: those with nearly the same text embedding
    (:data:`SAME_NAME`), and those with the same head noun, its last word ("table", "dining table").

    Args:
        candidates: M names, each once.
        probabilities: float (N, M) in [0, 1], of each region for each name, without the priors.
        shares: float (N,) in [0, 1], the share of the image that each region covers.
        text_embeddings: float32 (M, D), of the names.
        count: how many names are returned at most.
    """
    weights = (shares**AREA_EXPONENT).astype(np.float32)
    total = weights.sum()
    if not total > 0:
        return ()
    odds = probabilities * np.exp(np.array([candidate.prior for candidate in candidates], np.float32))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    names = [candidate.name for candidate in candidates]
    units = text_embeddings / np.linalg.norm(text_embeddings, axis=1, keepdims=True)
    heads = np.array([_head(name) for name in names])
    is_left = np.ones(len(names), bool)
    chosen: list[Suggestion] = []
    while len(chosen) < count and is_left.any():
        scores = np.where(is_left, weights @ probabilities, -1)
        best = int(scores.argmax())
        chosen.append(Suggestion(names[best], float(scores[best] / total)))
        # Not a matrix product, for which NumPy's threads take ten times as long.
        is_left &= (heads != heads[best]) & (np.einsum("md,d->m", units, units[best]) < SAME_NAME)
        is_left[best] = False
        weights = weights * (1 - probabilities[:, best])
    return tuple(chosen)


def _head(name: str) -> str:
    """Return the last word of a name, in the singular as far as its spelling tells."""
    last = name.casefold().split()[-1]
    return last[:-1] if last.endswith("s") and not last.endswith(("ss", "us", "is")) else last
