"""Crops: what CLIP gets to see of each mask."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch.nn import functional as F

from ovseg_demo.classification.regions import CLIP_MEAN, CLIP_STD, cut_region, iterate_regions
from ovseg_demo.proposals.types import Proposals, tight_boxes

MEAN = torch.tensor(CLIP_MEAN)[:, None, None]
STD = torch.tensor(CLIP_STD)[:, None, None]


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_proposals(image: np.ndarray, masks: np.ndarray) -> Proposals:
    return Proposals.from_masks(masks, np.ones(len(masks)), image, image.shape[:2], "sam")


def step_by_step(image: np.ndarray, mask: np.ndarray, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the crop of one mask by the definition: fill in the mean, normalise, then resize."""
    rows, columns = np.nonzero(mask)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    crop = torch.tensor(image[box]).movedim(-1, 0).float()
    inside = torch.tensor(mask[box])
    filled = torch.where(inside, crop, 255 * MEAN)
    normalised = (filled / 255 - MEAN) / STD
    height, width = inside.shape
    nearest = inside[(torch.arange(size) * height) // size][:, (torch.arange(size) * width) // size]
    region = F.interpolate(
        normalised[None], (size, size), mode="bicubic", align_corners=False, antialias=False
    )
    return region[0], nearest[None].float()


masks_of_any_shape = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=20)).filter(np.any)


@given(masks_of_any_shape, st.sampled_from([16, 32]))
def test_crops_follow_the_specification(mask, size):
    image = random_image(*mask.shape)
    region, resized = cut_region(image, mask, tight_boxes(mask[None])[0], size)
    expected_region, expected_mask = step_by_step(image, mask, size)
    torch.testing.assert_close(region, expected_region, rtol=0, atol=2e-5)
    assert torch.equal(resized, expected_mask)


@given(masks_of_any_shape, st.integers(0, 255))
def test_pixels_outside_the_mask_do_not_matter(mask, value):
    image = random_image(*mask.shape)
    repainted = np.where(mask[..., None], image, np.uint8(value))
    box = tight_boxes(mask[None])[0]
    assert torch.equal(cut_region(image, mask, box, 16)[0], cut_region(repainted, mask, box, 16)[0])


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 8), (5, 0), (5, 8), (3, 4)])
def test_a_one_pixel_mask_becomes_a_square_of_its_colour(row, column):
    image = random_image(6, 9)
    mask = np.zeros((6, 9), dtype=bool)
    mask[row, column] = True
    region, resized = cut_region(image, mask, tight_boxes(mask[None])[0], 16)
    colour = (torch.tensor(image[row, column])[:, None, None] / 255 - MEAN) / STD
    torch.testing.assert_close(region, colour.expand(3, 16, 16), rtol=1e-5, atol=1e-5)
    assert torch.equal(resized, torch.ones(1, 16, 16))


def test_blank_areas_are_exactly_zero():
    mask = np.eye(2, dtype=bool).repeat(8, axis=0).repeat(8, axis=1)
    region, resized = cut_region(random_image(16, 16), mask, tight_boxes(mask[None])[0], 16)
    blank = resized == 0
    assert blank.any()
    assert not region[blank.expand(3, -1, -1)].any()


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 8])
def test_batches_hold_all_regions_in_order(batch):
    image = random_image(12, 15)
    masks = np.random.default_rng(1).random((7, 12, 15)) < 0.2
    proposals = make_proposals(image, masks)
    batches = list(iterate_regions(proposals, 16, batch))
    assert [len(regions) for regions, _ in batches[:-1]] == [batch] * (len(batches) - 1)
    regions, resized = (torch.cat(part) for part in zip(*batches, strict=True))
    assert regions.dtype == resized.dtype == torch.float32
    for i, mask in enumerate(masks):
        region, expected_mask = cut_region(image, mask, proposals.boxes[i], 16)
        assert torch.equal(regions[i], region)
        assert torch.equal(resized[i], expected_mask)


def test_no_proposals_make_no_batches():
    proposals = make_proposals(random_image(4, 4), np.zeros((0, 4, 4), dtype=bool))
    assert list(iterate_regions(proposals, 16, 4)) == []
