"""Contrastive losses between images and texts, where several texts may describe an image."""

from __future__ import annotations

import torch
import torch.distributed as dist
from accelerate.utils import gather
from torch import Tensor
from torch.distributed.nn.functional import all_gather
from torch.nn import functional as F


def contrastive_loss(images: Tensor, texts: Tensor, true: Tensor, scale: Tensor) -> Tensor:
    """Return CLIP's symmetric loss (Radford et al. 2021); an image's other true texts are no negatives.

    Args:
        images: float (B, E), image features; need not be normalised.
        texts: float (B, E), features of each image's own text.
        true: bool (B, B), whether text j (column) is true of image i (row); the diagonal always counts.
        scale: scalar that cosines are multiplied by.

    Returns:
        The mean of image-to-text and text-to-image cross-entropy.
    """
    logits = scale * F.normalize(images.float(), dim=-1) @ F.normalize(texts.float(), dim=-1).T  # (B, B)
    own = torch.arange(len(logits), device=logits.device)
    others = true & (own[:, None] != own)
    logits = logits.masked_fill(others, -torch.inf)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def token_loss(logits: Tensor, token_ids: Tensor, ignored: tuple[int, ...]) -> Tensor:
    """Return the cross-entropy (scalar) of predicting the tokens of an image's caption.

    SuperClass (Huang et al. 2024) has this loss. A token's weight is the logarithm of its inverse frequency
    among the batch's captions.

    Args:
        logits: float (B, V) over the vocabulary.
        token_ids: int64 (B, L).
        ignored: ids of special tokens (padding, start, end).
    """
    present = torch.zeros_like(logits, dtype=torch.float32).scatter_(1, token_ids, 1.0)  # (B, V)
    present[:, list(ignored)] = 0
    weights = present * torch.log(len(present) / present.sum(dim=0).clamp(min=1))
    share = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
    return -(share * logits.float().log_softmax(dim=1)).sum(dim=1).mean()


def gather_features(features: Tensor) -> Tensor:
    """Return features (B, E) of all processes from those of one (b, E).

    Gradients flow back to each process.
    """
    if not (dist.is_initialized() and dist.get_world_size() > 1):
        return features
    return torch.cat(all_gather(features))


def gather_labels(labels: Tensor) -> Tensor:
    """Return labels (B, …) of all processes from those of one (b, …), as :func:`gather_features` does."""
    return gather(labels)
