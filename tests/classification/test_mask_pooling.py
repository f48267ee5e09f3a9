"""Masks on the cells of a convolutional tower."""

import numpy as np
import pytest
import torch
from timm.models.convnext import ConvNeXt
from torch import nn

from ovseg_demo.classification.pooled.conv_tower import ConvTower
from ovseg_demo.classification.pooled.grid import resize
from ovseg_demo.classification.pooled.mask_pooling import SOFT, STRIDE, MaskPooling, pad, resize_to_cells
from ovseg_demo.classification.regions import CLIP_MEAN, CLIP_STD
from ovseg_demo.runtime.devices import Runtime


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


@pytest.mark.parametrize(
    ("size", "read"), [((768, 1024), (512, 682)), ((512, 2048), (512, 2048)), ((100, 10_000), (20, 2048))]
)
def test_a_strip_is_not_enlarged_before_it_is_read(size, read):
    tower = ConvTower(ConvNeXt(num_classes=0, depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)), nn.Identity())
    reader = MaskPooling(tower, SOFT, CLIP_MEAN, CLIP_STD, Runtime.resolve("cpu"))
    assert reader.resize(np.zeros((*size, 3), np.uint8)).shape == (3, *read)
