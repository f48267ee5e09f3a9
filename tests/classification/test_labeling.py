import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovseg_demo.classification.labeling import (
    class_probabilities,
    ensemble_probabilities,
    keep_masks,
    query_probabilities,
)
from ovseg_demo.errors import ModelError
from ovseg_demo.proposals.types import MaskQueries
from ovseg_demo.vocabulary import Vocabulary


def unit_rows(seed, rows, width=8):
    embeddings = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def random_probabilities(seed, rows, columns):
    return np.random.default_rng(seed).random((rows, columns), dtype=np.float32)


def queries_with(class_embeddings, non_object_embedding, kept):
    logits = np.zeros((len(class_embeddings), 2, 2), np.float32)
    return MaskQueries(logits, class_embeddings, non_object_embedding, np.array(kept), padded_size=(8, 8))


class TestClassProbabilities:
    def test_is_the_softmax_of_100_times_the_cosine(self):
        regions, texts = unit_rows(0, rows=5), unit_rows(1, rows=3)
        exponentials = np.exp(100.0 * (regions.astype(np.float64) @ texts.T))
        expected = exponentials / exponentials.sum(axis=1, keepdims=True)
        probabilities = class_probabilities(regions, texts, Vocabulary.parse("a, b, c"))
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, expected, atol=1e-4)

    def test_opposite_embeddings_neither_overflow_nor_divide_by_zero(self):
        texts = np.array([[1, 0], [-1, 0]], np.float32)
        probabilities = class_probabilities(texts, texts, Vocabulary.parse("a, b"))
        np.testing.assert_array_equal(probabilities, np.eye(2))

    def test_a_class_has_the_maximum_of_its_synonyms_and_distractors_come_last(self):
        vocabulary = Vocabulary.parse("a, b / c / d, e", distractors="f, g")
        regions, texts = unit_rows(0, rows=6), unit_rows(1, rows=7)
        of_names = class_probabilities(regions, texts, Vocabulary.parse("a, b, c, d, e, f, g"))
        expected = np.stack([of_names[:, 0], of_names[:, 1:4].max(axis=1), *of_names[:, 4:].T], axis=1)
        np.testing.assert_array_equal(class_probabilities(regions, texts, vocabulary), expected)

    def test_a_single_class_competes_with_others(self):
        regions, texts = unit_rows(0, rows=4), unit_rows(1, rows=2)
        probabilities = class_probabilities(regions, texts, Vocabulary.parse("dog"))
        assert probabilities.shape == (4, 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)

    def test_no_regions(self):
        assert class_probabilities(unit_rows(0, 0), unit_rows(1, 3), Vocabulary.parse("a, b, c")).shape == (
            0,
            3,
        )


class TestQueryProbabilities:
    def test_the_non_object_class_takes_its_share_and_is_dropped(self):
        texts = np.eye(3, dtype=np.float32)[:2]
        embeddings = np.array([[0, 0, 5], [7, 0, 0], [1, 1, 1]], np.float32)
        queries = queries_with(embeddings, non_object_embedding=np.array([0, 0, 0.5], np.float32), kept=[])
        probabilities = query_probabilities(queries, texts, Vocabulary.parse("a, b"))
        np.testing.assert_allclose(probabilities, [[0, 0], [1, 0], [1 / 3, 1 / 3]], atol=1e-6)

    def test_the_length_of_embeddings_does_not_matter(self):
        texts, embeddings, non_object = unit_rows(0, 3), unit_rows(1, 5), unit_rows(2, 1)[0]
        vocabulary = Vocabulary.parse("a, b / c")
        once = query_probabilities(queries_with(embeddings, non_object, kept=[]), texts, vocabulary)
        scaled = query_probabilities(
            queries_with(3 * embeddings, 0.2 * non_object, kept=[]), texts, vocabulary
        )
        np.testing.assert_allclose(once, scaled, rtol=1e-4)


class TestEnsembleProbabilities:
    of_queries = np.array([[0.5, 0.25], [0.04, 0.81], [0.3, 0.6]], np.float32)
    of_regions = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    kept = np.array([0, 2])

    def test_is_the_weighted_geometric_mean_and_dropped_queries_have_a_clip_probability_of_1(self):
        combined = ensemble_probabilities(self.of_queries, self.of_regions, self.kept, weight=0.7)
        of_crops = np.array([[0.9, 0.1], [1, 1], [0.2, 0.8]])
        np.testing.assert_allclose(combined, self.of_queries**0.3 * of_crops**0.7, rtol=1e-5)
        assert combined.dtype == np.float32

    def test_weight_0_is_clip_alone_on_the_queries_with_a_crop(self):
        combined = ensemble_probabilities(self.of_queries, self.of_regions, self.kept, weight=0)
        np.testing.assert_array_equal(combined, np.float32([[0.9, 0.1], [0, 0], [0.2, 0.8]]))

    def test_for_trained_classes_the_exponents_change_places(self):
        trained = np.array([True, False])
        combined = ensemble_probabilities(self.of_queries, self.of_regions, self.kept, 0.8, trained)
        swapped = ensemble_probabilities(self.of_queries, self.of_regions, self.kept, 0.2)
        untrained = ensemble_probabilities(self.of_queries, self.of_regions, self.kept, 0.8)
        np.testing.assert_allclose(combined[:, 0], swapped[:, 0], rtol=1e-6)
        np.testing.assert_array_equal(combined[:, 1], untrained[:, 1])


class TestKeepMasks:
    probabilities = np.array(
        [
            [0.80, 0.10],
            [0.64, 0.05],  # exactly 0.8 of the best: not above it
            [0.65, 0.06],
            [0.10, 0.30],
            [0.05, 0.29],
        ],
        np.float32,
    )

    @pytest.mark.parametrize(
        ("granularity", "expected"),
        [
            (0, [1, 1, 1, 1, 1]),
            (0.5, [1, 1, 1, 1, 1]),
            (0.95, [1, 0, 0, 1, 1]),
            (0.97, [1, 0, 0, 1, 0]),
            (1, [1, 0, 0, 1, 0]),
        ],
    )
    def test_keeps_what_comes_close_enough_to_the_best_of_any_class(self, granularity, expected):
        kept = keep_masks(self.probabilities, granularity)
        np.testing.assert_array_equal(kept, np.array(expected, bool))

    def test_the_comparison_is_strict(self):
        probabilities = np.array([[1.0], [0.5], [0.75]], np.float32)
        np.testing.assert_array_equal(keep_masks(probabilities, 0.5), [True, False, True])

    def test_at_1_only_one_of_equal_masks_is_kept(self):
        np.testing.assert_array_equal(keep_masks(np.full((3, 2), 0.5, np.float32), 1), [True, False, False])

    @given(seed=st.integers(0, 2**32), masks=st.integers(1, 20), classes=st.integers(1, 20))
    def test_more_granularity_keeps_fewer_masks_and_never_none(self, seed, masks, classes):
        probabilities = random_probabilities(seed, masks, classes)
        kept = [keep_masks(probabilities, granularity) for granularity in (0, 0.3, 0.8, 0.999, 1)]
        for more, fewer in itertools.pairwise(kept):
            assert fewer.any()
            assert not (fewer & ~more).any()

    def test_no_masks(self):
        for granularity in (0, 0.8, 1):
            assert keep_masks(np.zeros((0, 3), np.float32), granularity).shape == (0,)

    @pytest.mark.parametrize("granularity", [-0.1, 1.01, float("nan")])
    def test_refuses_a_granularity_out_of_range(self, granularity):
        with pytest.raises(ModelError, match=f"granularity {granularity} .* from 0 .* to 1"):
            keep_masks(self.probabilities, granularity)
