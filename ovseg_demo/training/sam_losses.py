"""Losses of Segment Anything's masks and of the IoU that it predicts for them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mask_losses(
    logits: Tensor,
    quality: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    balanced_weight: float = 0.5,
    plain_weight: float = 5.0,
) -> dict[str, Tensor]:
    """Return losses of P prompts' M masks: "mask" (the best, and 0.1 times the mean), "quality", and "iou".

    The mask loss is dice and two cross-entropies. One balances object and background, so that small objects
    count; the plain one sharpens borders.

    Args:
        logits: float (P, M, X), of X pixels.
        quality: float (P, M), the predicted IoU.
        targets: bool (P, X).
        weights: float (P, X), number of pixels that each one represents; 0 on padding.
        balanced_weight: of the cross-entropy that balances object and background.
        plain_weight: of the plain cross-entropy.
    """
    weights = weights[:, None]
    inside = targets[:, None] * weights
    outside = weights - inside
    object_size, background_size = inside.sum(dim=2), outside.sum(dim=2)  # (P, 1)
    entropy = F.binary_cross_entropy_with_logits(
        logits, targets[:, None].float().expand_as(logits), reduction="none"
    )
    entropy_inside = (entropy * inside).sum(dim=2)
    entropy_outside = (entropy * outside).sum(dim=2)
    balanced = entropy_inside / object_size.clamp(min=1) + entropy_outside / background_size.clamp(min=1)
    plain = (entropy_inside + entropy_outside) / (object_size + background_size)
    probability = logits.sigmoid()
    overlap = (probability * inside).sum(dim=2)
    dice = 1 - (2 * overlap + 1) / ((probability * weights).sum(dim=2) + object_size + 1)
    loss = dice + balanced_weight * balanced + plain_weight * plain  # (P, M)
    with torch.no_grad():
        iou = mask_iou(logits, targets, weights)
    return {
        "mask": loss.min(dim=1).values.mean() + 0.1 * loss.mean(),
        "quality": F.mse_loss(quality.float(), iou),
        "iou": iou.max(dim=1).values.mean(),
    }


def mask_iou(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the IoU (P, M) of the masks of logits (P, M, X) with targets (P, X); weights (P, 1, X)."""
    masks, wanted = logits > 0, targets[:, None]
    union = ((masks | wanted) * weights).sum(dim=2)
    return ((masks & wanted) * weights).sum(dim=2) / union.clamp(min=1)
