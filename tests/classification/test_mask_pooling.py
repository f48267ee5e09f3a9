"""Masks on the cells of a convolutional tower."""

import pytest
import torch

from ovseg_demo.classification.pooled.grid import resize
from ovseg_demo.classification.pooled.mask_pooling import STRIDE, pad, resize_to_cells


@pytest.mark.parametrize("size", [(96, 128), (100, 130), (41, 300), (31, 16)])
@pytest.mark.parametrize("resized", [(96, 128), (80, 107), (160, 214), (15, 49)])
def test_the_few_pixels_make_up_the_resized_mask(size, resized):
    torch.manual_seed(0)
    masks = torch.rand(3, 1, *size) > 0.5
    cells = tuple(-(-length // STRIDE) for length in resized)
    expected = resize(pad(resize(masks, resized)), cells)
    torch.testing.assert_close(resize_to_cells(masks, resized), expected, rtol=0, atol=1e-5)
    full = torch.ones_like(masks)
    torch.testing.assert_close(
        resize_to_cells(full, resized), resize(pad(resize(full, resized)), cells), rtol=0, atol=1e-6
    )
