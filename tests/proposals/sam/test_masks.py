"""Masks at the image's resolution: the same pixels, filters and boxes as segment-anything's."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from segment_anything.utils.amg import calculate_stability_score
from segment_anything.utils.transforms import ResizeLongestSide

from ovseg_demo.proposals.sam.masks import MaskCollector, MaskFilters, MaskGeometry
from ovseg_demo.proposals.types import tight_boxes
from tests.tiny.sam import tiny_sam

KEEP_ALL = MaskFilters(
    pred_iou_thresh=0, stability_score_thresh=0, stability_score_offset=1, box_nms_thresh=1
)


shared_sam = functools.cache(tiny_sam)


def geometry_of(image_size, input_size=64, grid_size=8) -> MaskGeometry:
    return MaskGeometry.of_image(image_size, input_size, grid_size)


@given(height=st.integers(1, 5000), width=st.integers(1, 5000), input_size=st.sampled_from([64, 256, 1024]))
def test_images_are_laid_into_the_square_as_in_segment_anything(height, width, input_size):
    resized = ResizeLongestSide.get_preprocess_shape(height, width, input_size)
    geometry = geometry_of((height, width), input_size, input_size // 16)
    assert geometry.resized_size == tuple(max(1, side) for side in resized)


@settings(deadline=None, max_examples=50)
@given(height=st.integers(1, 150), width=st.integers(1, 150), seed=st.integers(0, 2**32 - 1))
def test_logits_are_resized_as_in_segment_anything(height, width, seed):
    geometry = geometry_of((height, width))
    assume(0 not in ResizeLongestSide.get_preprocess_shape(height, width, 64))
    logits = np.random.default_rng(seed).normal(size=(32, 32)).astype(np.float32)
    expected = shared_sam().postprocess_masks(
        torch.from_numpy(logits)[None, None], geometry.resized_size, (height, width)
    )[0, 0]
    rows, columns = geometry.cells
    upsampled = geometry.upsample(logits[: 4 * rows, : 4 * columns].copy())
    np.testing.assert_allclose(upsampled, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("image_size", "cells"),
    [((64, 64), (8, 8)), ((48, 64), (7, 8)), ((49, 64), (8, 8)), ((10, 100), (2, 8)), ((1, 1), (8, 8))],
)
def test_only_cells_under_the_image_are_needed(image_size, cells):
    assert geometry_of(image_size).cells == cells


def test_cells_of_a_published_model_under_a_photograph():
    assert geometry_of((768, 1024), input_size=1024, grid_size=64).cells == (49, 64)


@pytest.mark.parametrize("offset", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("shift", [-2.0, -0.5, 0.0, 1.0])
def test_stability_is_judged_as_in_segment_anything(offset, shift):
    logits = np.random.default_rng(0).normal(shift, 1, size=(20, 30)).astype(np.float32)
    score = calculate_stability_score(torch.from_numpy(logits)[None], 0.0, offset).item()
    for threshold in (score, np.nextafter(np.float32(score), np.float32(2)), 0.5):
        filters = MaskFilters(0, float(threshold), offset, 1)
        # A threshold of 0 is no threshold, also where the score is 0 or not a number.
        assert filters.is_stable(logits, 0.0) == (score >= threshold or threshold <= 0)


def test_a_mask_that_is_possible_nowhere_is_not_stable():
    assert not MaskFilters(0, 0.5, 1.0, 1).is_stable(np.full((4, 4), -9, np.float32), 0.0)


@pytest.mark.parametrize("uncompressed_bytes", [2**20, 600])
def test_collected_masks_come_back_best_first(monkeypatch, uncompressed_bytes):
    """Also those of large images, whose masks are compressed meanwhile."""
    monkeypatch.setattr("ovseg_demo.proposals.sam.masks._UNCOMPRESSED_BYTES", uncompressed_bytes)
    geometry = geometry_of((64, 64))
    collector = MaskCollector(geometry, KEEP_ALL, mask_threshold=0.0)
    logits = np.random.default_rng(0).normal(size=(4, 32, 32)).astype(np.float32)
    qualities = [0.2, 0.9, 0.5, 0.7]
    for mask, quality in zip(logits, qualities, strict=True):
        collector.add(mask, quality)
    found = collector.without_duplicates()
    expected = np.stack([geometry.upsample(logits[index]) > 0 for index in (1, 3, 2, 0)])
    np.testing.assert_array_equal(np.unpackbits(found.packed_masks, axis=-1, count=64), expected)
    np.testing.assert_array_equal(found.boxes, tight_boxes(expected))
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.5, 0.2])


def test_masks_without_a_pixel_are_dropped():
    collector = MaskCollector(geometry_of((64, 64)), KEEP_ALL, mask_threshold=0.0)
    collector.add(np.full((32, 32), -1, np.float32), 0.9)
    assert len(collector.without_duplicates().packed_masks) == 0


def blob(rows: slice, columns: slice) -> np.ndarray:
    logits = np.full((32, 32), -1, np.float32)
    logits[rows, columns] = 1
    return logits


def test_of_masks_with_alike_boxes_the_best_survives():
    filters = MaskFilters(0, 0, 1, box_nms_thresh=0.7)
    collector = MaskCollector(geometry_of((64, 64)), filters, mask_threshold=0.0)
    collector.add(blob(slice(4, 20), slice(4, 20)), 0.6)
    collector.add(blob(slice(4, 21), slice(4, 20)), 0.8)
    collector.add(blob(slice(22, 30), slice(22, 30)), 0.5)
    np.testing.assert_allclose(collector.without_duplicates().scores, [0.8, 0.5])
