"""Label maps against the plain formula: all scores of all classes in all pixels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_demo.classification import score_maps
from ovseg_demo.classification.partition import MaskPartition, label_cells
from ovseg_demo.classification.score_maps import HardMasks, ScoreMap, SoftMasks
from ovseg_demo.proposals.types import MaskQueries, Proposals

SIZES = st.tuples(st.integers(1, 23), st.integers(1, 23))


def make_proposals(seed, count, working_size, image_size):
    """Rectangles and scattered pixels, each with at least one pixel."""
    random = np.random.default_rng(seed)
    masks = random.random((count, *working_size)) < 0.3
    for mask in masks[::2]:
        y, x = (random.integers(side) for side in working_size)
        mask[:] = False
        mask[y : y + 1 + random.integers(working_size[0]), x : x + 1 + random.integers(working_size[1])] = (
            True
        )
    masks[:, 0, 0] |= ~masks.any(axis=(1, 2))
    image = np.zeros((*working_size, 3), np.uint8)
    return Proposals.from_masks(masks, np.ones(count, np.float32), image, image_size, "sam")


def make_probabilities(seed, masks, columns):
    probabilities = np.random.default_rng(seed).random((masks, columns), dtype=np.float32)
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def resize(maps, size, mode):
    if mode == "nearest":
        rows, columns = (
            np.arange(out) * length // out for length, out in zip(maps.shape[1:], size, strict=True)
        )
        return maps[:, rows][:, :, columns]
    return F.interpolate(torch.from_numpy(maps)[None], size, mode="bilinear", align_corners=False)[0].numpy()


def plain_score_map(masks, probabilities, image_size, mode):
    scores = np.einsum("mc,mhw->chw", probabilities, masks.astype(np.float32))
    return resize(scores.astype(np.float32), image_size, mode)


def assert_labels_match(label_map, scores, class_count):
    """Equal labels and shares, but for pixels where two columns are equal up to rounding."""
    best = scores.max(axis=0)
    expected = np.where(best > 0, scores.argmax(axis=0), -1)
    expected[expected >= class_count] = -1
    second = np.sort(scores, axis=0)[-2] if len(scores) > 1 else np.zeros_like(best)
    clear = (best - second > 1e-5) | (best == 0)
    assert label_map.labels.dtype == np.int32
    np.testing.assert_array_equal(label_map.labels[clear], expected[clear])
    shares = best / np.maximum(scores.sum(axis=0), 1e-30)
    np.testing.assert_allclose(label_map.shares, shares, atol=1e-3)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Cut even tiny maps into several blocks."""
    monkeypatch.setattr(score_maps, "BLOCK_BYTES", 20_000)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 12),
    columns=st.one_of(st.integers(1, 6), st.integers(1, 1000)),
    distractors=st.integers(0, 3),
    working_size=SIZES,
    image_size=SIZES,
    mode=st.sampled_from(["nearest", "bilinear"]),
)
def test_hard_masks(seed, count, columns, distractors, working_size, image_size, mode):
    proposals = make_proposals(seed, count, working_size, image_size)
    probabilities = make_probabilities(seed, count, columns + distractors)
    kept = np.random.default_rng(seed).random(count) < 0.7
    scores = plain_score_map(proposals.masks[kept], probabilities[kept], image_size, mode)

    score_map = ScoreMap(
        HardMasks(proposals, np.flatnonzero(kept)), probabilities[kept], columns, image_size, mode
    )
    strips = [strip.numpy() for _, strip in score_map.strips()]
    np.testing.assert_allclose(np.concatenate(strips, axis=1), scores, atol=1e-5)
    assert_labels_match(score_map.label(), scores, columns)

    weights = probabilities * kept[:, None]
    drawn = label_cells(MaskPartition.of(proposals), weights, columns, image_size, mode)
    assert_labels_match(drawn, scores, columns)


def make_queries(seed, count, input_size):
    random = np.random.default_rng(seed)
    padded_size = tuple(-(-side // 8) * 8 for side in input_size)
    return MaskQueries(
        mask_logits=3 * random.standard_normal((count, padded_size[0] // 4, padded_size[1] // 4), np.float32),
        class_embeddings=random.standard_normal((count, 4), np.float32),
        non_object_embedding=random.standard_normal(4, np.float32),
        kept=np.arange(count),
        padded_size=padded_size,
    )


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 8),
    columns=st.one_of(st.integers(1, 6), st.integers(1, 1000)),
    distractors=st.integers(0, 3),
    input_size=SIZES,
    image_size=SIZES,
)
def test_soft_masks(seed, count, columns, distractors, input_size, image_size):
    queries = make_queries(seed, count, input_size)
    probabilities = make_probabilities(seed, count, columns + distractors)
    soft = 1 / (1 + np.exp(-resize(queries.mask_logits, queries.padded_size, "bilinear")))
    masks = soft[:, : input_size[0], : input_size[1]]
    scores = plain_score_map(masks, probabilities, image_size, "bilinear")

    score_map = ScoreMap(SoftMasks(queries, input_size), probabilities, columns, image_size, "bilinear")
    strips = [strip.numpy() for _, strip in score_map.strips()]
    np.testing.assert_allclose(np.concatenate(strips, axis=1), scores, atol=1e-5)
    assert_labels_match(score_map.label(), scores, columns)


@given(
    seed=st.integers(0, 2**32),
    working_size=SIZES,
    image_size=SIZES,
    mode=st.sampled_from(["nearest", "bilinear"]),
)
def test_mask_weights_and_masks_at_the_image_size(seed, working_size, image_size, mode):
    proposals = make_proposals(seed, 5, working_size, image_size)
    indices = np.array([0, 2, 3])
    score_map = ScoreMap(HardMasks(proposals, indices), make_probabilities(seed, 3, 2), 2, image_size, mode)
    expected = resize(proposals.masks[indices].astype(np.float32), image_size, mode)
    y, x = (np.random.default_rng(seed).integers(side) for side in image_size)
    np.testing.assert_allclose(score_map.mask_weights(x, y), expected[:, y, x], atol=1e-5)
    unclear = np.abs(expected - 0.5) < 1e-4
    for index in range(3):
        np.testing.assert_array_equal(
            (score_map.mask(index) != (expected[index] > 0.5)) & ~unclear[index], False
        )


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_without_masks_a_pixel_has_no_weights(mode):
    masks = HardMasks(make_proposals(0, 2, (6, 8), (12, 16)), np.zeros(0, np.int64))
    score_map = ScoreMap(masks, np.zeros((0, 2), np.float32), 2, (12, 16), mode)
    assert score_map.mask_weights(3, 4).shape == (0,)
    assert (score_map.label()[0] < 0).all()


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 20), size=SIZES)
def test_cells_are_the_sets_of_masks(seed, count, size):
    proposals = make_proposals(seed, count, size, size)
    partition = MaskPartition.of(proposals)
    per_pixel = proposals.masks.reshape(count, size[0] * size[1]).T
    np.testing.assert_array_equal(partition.unpack(partition.cells.ravel()), per_pixel)
    assert len(partition) == len(np.unique(per_pixel, axis=0))


def test_summary_counts_pixels_and_averages_shares():
    label_map = score_maps.LabelMap(
        labels=np.array([[0, 0, -1], [2, 0, -1]], np.int32),
        shares=np.array([[0.5, 0.7, 0.9], [0.4, 0.9, 0]], np.float32),
    )
    areas, scores = label_map.summarise(class_count=4)
    np.testing.assert_array_equal(areas, [3, 0, 1, 0])
    np.testing.assert_allclose(scores, [0.7, 0, 0.4, 0], rtol=1e-6)
