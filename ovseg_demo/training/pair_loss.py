"""An auxiliary loss on pairs of pixels, by which features separate regions without classes or prompts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_TEMPERATURE = 10.0
_PIXELS_PER_IMAGE = 384


def pair_loss(features: Tensor, regions: Tensor) -> Tensor:
    """Return the supervised contrastive loss (scalar) between random pixels of each image.

    Pixels of one region attract each other.

    Args:
        features: (B, D, G, G).
        regions: int64 (B, G, G), -1 on padding, which takes no part.
    """
    batch, width, *_ = features.shape
    features, regions = features.flatten(2).mT.float(), regions.flatten(1)
    some = torch.randint(regions.shape[1], (batch, _PIXELS_PER_IMAGE), device=features.device)
    features = F.normalize(features.gather(1, some[..., None].expand(-1, -1, width)), dim=-1)
    regions = regions.gather(1, some)
    itself = torch.eye(_PIXELS_PER_IMAGE, dtype=torch.bool, device=features.device)
    nothing = itself | (regions[:, None] < 0)
    scores = (_TEMPERATURE * features @ features.mT).masked_fill(nothing, -1e4)
    together = (regions[:, :, None] == regions[:, None]) & ~nothing
    log_shares = scores - scores.logsumexp(dim=-1, keepdim=True)
    return -((log_shares * together).sum(dim=-1) / together.sum(dim=-1).clamp(min=1)).mean()
