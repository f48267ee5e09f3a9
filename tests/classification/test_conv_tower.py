"""The convolutional image tower, computed in pieces."""

import torch
from timm.models.convnext import ConvNeXt
from torch import nn

from ovseg_demo.classification.pooled.conv_tower import ConvTower


def test_the_pieces_make_up_the_feature_map():
    torch.manual_seed(0)
    trunk = ConvNeXt(num_classes=0, depths=(1, 2, 1, 1), dims=(8, 16, 24, 32)).eval()
    with torch.no_grad():
        for parameter in trunk.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    tower = ConvTower(trunk, nn.Identity())
    pixels = torch.randn(1, 3, 256, 1120)  # 17,920 cells in the first stage
    with torch.inference_mode():
        expected = trunk.forward_features(pixels)
        torch.testing.assert_close(tower.dense(pixels), expected, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(tower.dense(pixels).float(), expected, rtol=0.1, atol=0.1)
    assert tower.dense(pixels).requires_grad, "with gradients, the whole map is computed at once"
