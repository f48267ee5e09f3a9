"""The neck of SAM's image encoder, which the small encoders share."""

from __future__ import annotations

from segment_anything.modeling.common import LayerNorm2d
from torch import nn


def make_neck(width: int, prompt_dim: int) -> nn.Sequential:
    """Return convolutions, 1 × 1 and 3 × 3, from ``width`` to ``prompt_dim`` channels, each with a norm."""
    return nn.Sequential(
        nn.Conv2d(width, prompt_dim, 1, bias=False),
        LayerNorm2d(prompt_dim),  # over the channels, epsilon 1e-6
        nn.Conv2d(prompt_dim, prompt_dim, 3, padding=1, bias=False),
        LayerNorm2d(prompt_dim),
    )
