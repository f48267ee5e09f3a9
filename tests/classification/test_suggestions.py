"""Names ranked by the probabilities that regions have for them: constructed cases with a known answer."""

import numpy as np
import pytest

from ovseg_demo.classification.suggestions import Candidate, rank_names

APART = np.eye(6, dtype=np.float32)
"""Text embeddings of six names that have nothing to do with each other."""


def ranked(names, probabilities, shares, embeddings=APART, count=10):
    probabilities = np.array(probabilities, np.float32)
    candidates = [Candidate(name) for name in names]
    found = rank_names(candidates, probabilities, np.array(shares), embeddings[: len(names)], count)
    return [suggestion.name for suggestion in found]


def test_names_of_larger_regions_come_first():
    names = ["cat", "dog", "sky"]
    probabilities = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]
    assert ranked(names, probabilities, [0.05, 0.2, 0.6]) == ["sky", "dog", "cat"]
    assert ranked(names, probabilities, [0.6, 0.05, 0.2]) == ["cat", "sky", "dog"]
    assert ranked(names, probabilities, [0.6, 0.05, 0.2], count=1) == ["cat"]


def test_a_prior_decides_between_names_that_fit_about_as_well():
    probabilities, shares = np.array([[0.45, 0.35, 0.2]], np.float32), np.ones(1)
    for prior, first in ((0.0, "hovel"), (1.5, "house")):
        candidates = (Candidate("hovel"), Candidate("house", prior), Candidate("sky"))
        (found, *_) = rank_names(candidates, probabilities, shares, APART[:3], 3)
        assert found.name == first
    assert found.score == pytest.approx(0.35 * np.exp(1.5) / (0.65 + 0.35 * np.exp(1.5)))


def test_each_name_explains_other_regions():
    """The second best name of the large region is worth less than the best of the small one."""
    names = ["sea", "ocean water", "boat"]
    probabilities = [[0.55, 0.45, 0.0], [0.05, 0.05, 0.9]]
    assert ranked(names, probabilities, [0.6, 0.2]) == ["sea", "boat", "ocean water"]


@pytest.mark.parametrize(
    "other", ["dining table", "Tables", "table"], ids=["same head noun", "plural", "equal but for the case"]
)
def test_a_name_with_the_same_head_noun_is_not_suggested_twice(other):
    assert ranked(["table", other, "cup"], [[0.5, 0.45, 0.05]], [1.0]) == ["table", "cup"]


def test_words_that_only_look_like_plurals_keep_their_ending():
    assert set(ranked(["glass", "bus", "gla", "bu"], [[0.4, 0.3, 0.2, 0.1]], [1.0])) == {
        "glass",
        "bus",
        "gla",
        "bu",
    }


def test_a_name_with_nearly_the_same_text_embedding_is_not_suggested_twice():
    embeddings = np.array([[1, 0, 0], [0.95, 0.3, 0], [0, 0, 2]], np.float32)
    assert ranked(["sofa", "couch", "cup"], [[0.5, 0.4, 0.1]], [1.0], embeddings) == ["sofa", "cup"]


def test_scores_fall_and_lie_between_0_and_1():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(6, 0.3), size=20).astype(np.float32)
    found = rank_names(list(map(Candidate, "abcdef")), probabilities, rng.uniform(0, 0.3, 20), APART, 6)
    scores = [suggestion.score for suggestion in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] <= scores[0] <= 1
    assert len({suggestion.name for suggestion in found}) == 6


def test_without_regions_there_is_nothing_to_suggest():
    assert rank_names((Candidate("cat"),), np.zeros((0, 1), np.float32), np.zeros(0), APART[:1], 10) == ()
