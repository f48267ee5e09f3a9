"""Perfect masks and perfect names."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.resampling import resize_nearest
from ovseg_demo.evaluation.datasets import LabelledImage
from ovseg_demo.evaluation.metrics import IGNORED
from ovseg_demo.evaluation.oracles import label_by_oracle, oracle_proposals, segment_overlaps
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.proposals.types import Proposals
from tests.evaluation.flat_world import FlatWorld
from tests.tiny.maskformer import tiny_maskformer


def random_sample(rng, height, width, segments=4):
    labels = rng.integers(IGNORED, segments, (height, width)).astype(np.int32)
    return LabelledImage.from_labels(rng.integers(0, 256, (height, width, 3), np.uint8), labels)


def random_proposals(rng, count, working_size, image_size):
    masks = rng.random((count, *working_size)) < rng.random((count, 1, 1))
    masks[:, 0, 0] = True
    image = np.zeros((*working_size, 3), np.uint8)
    return Proposals.from_masks(masks, np.ones(count), image, image_size, "sam")


def test_oracle_masks_are_the_segments():
    sample = FlatWorld().load("image-1")
    proposals = oracle_proposals(sample)
    assert proposals.generator == "oracle"
    assert proposals.image_size == sample.labels.shape
    for index, mask in enumerate(proposals.masks):
        np.testing.assert_array_equal(mask, sample.segments == index)


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.sampled_from([(8, 10), (16, 20), (5, 7)]))
def test_overlaps_are_iou_of_the_pixels_that_count(seed, count, working_size):
    rng = np.random.default_rng(seed)
    sample = random_sample(rng, 8, 10)
    proposals = random_proposals(rng, count, working_size, (8, 10))
    overlaps = segment_overlaps(proposals, MaskPartition.of(proposals), sample)
    segments = resize_nearest(sample.segments, working_size)
    assert overlaps.shape == (count, len(sample.segment_classes))
    for index, mask in enumerate(proposals.masks):
        mask = mask & (segments != IGNORED)
        for number in range(len(sample.segment_classes)):
            truth = segments == number
            union = max((mask | truth).sum(), 1)
            assert overlaps[index, number] == pytest.approx((mask & truth).sum() / union)


@pytest.mark.parametrize("soft", [False, True])
def test_a_perfect_classifier_cannot_name_what_has_no_mask(soft):
    sample = FlatWorld().load("image-1")
    if soft:
        generator = MaskFormerProposalGenerator(tiny_maskformer(), min_size=48, max_size=96)
        proposals = generator(sample.image)
    else:
        proposals = random_proposals(np.random.default_rng(0), 0, sample.labels.shape, sample.labels.shape)
    labels = label_by_oracle(proposals, sample, class_count=4, soft=soft)
    assert labels.shape == sample.labels.shape
    assert set(np.unique(labels)) <= {-1, *np.unique(sample.labels)}
    assert (labels == -1).all() == (not len(proposals))


def test_perfect_masks_and_names_make_a_perfect_map():
    sample = FlatWorld().load("image-2")
    labels = label_by_oracle(oracle_proposals(sample), sample, class_count=4, soft=False)
    judged = sample.labels != IGNORED
    np.testing.assert_array_equal(labels[judged], sample.labels[judged])


def test_where_masks_overlap_the_better_one_wins():
    labels = np.zeros((10, 10), np.int32)
    labels[:5, :5] = 1
    sample = LabelledImage.from_labels(np.zeros((10, 10, 3), np.uint8), labels)
    masks = np.array([np.ones_like(labels), labels == 1], bool)
    proposals = Proposals.from_masks(masks, np.ones(2), sample.image, (10, 10), "sam")
    np.testing.assert_array_equal(label_by_oracle(proposals, sample, 2, soft=False), labels)


def test_an_image_of_which_nothing_counts():
    sample = LabelledImage.from_labels(np.zeros((6, 6, 3), np.uint8), np.full((6, 6), IGNORED, np.int32))
    assert len(oracle_proposals(sample)) == 0
    proposals = random_proposals(np.random.default_rng(0), 3, (6, 6), (6, 6))
    assert (label_by_oracle(proposals, sample, 2, soft=False) == -1).all()
