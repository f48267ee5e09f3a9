"""MaskFormer's losses (arXiv 2107.06278): queries are matched with the image's masks one to one.

A target is the mask of one class in the image (semantic segmentation). The losses use pixels of the mask
features, at a quarter of the input's resolution: all, or random ones, which is as good and faster (PointRend,
arXiv 1912.08193).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.labeling import LOGIT_SCALE

IGNORED = -1
"""Label of pixels that no loss uses: unlabelled, or padding."""

UNMATCHED = -1
"""Stands for the query of a mask that has none."""

# OVSeg (arXiv 2210.04150), implementation details.
FOCAL_WEIGHT = 20.0
DICE_WEIGHT = 1.0
NO_OBJECT_WEIGHT = 0.1

# Of the focal loss (Lin et al. 2017).
_FOCAL_ALPHA = 0.25
_FOCAL_GAMMA = 2.0


@dataclass(frozen=True, eq=False)
class MaskTargets:
    """The masks of B images: up to T classes each; the other rows are empty.

    Attributes:
        classes: int64 (B, T), class of each mask, -1 for empty rows, which come last.
        masks: float32 (B, T, P) of zeros and ones, on the P pixels in reading order.
        valid: float32 (B, 1, P), 0 on ignored pixels.
    """

    classes: Tensor
    masks: Tensor
    valid: Tensor

    @classmethod
    def from_labels(cls, labels: Tensor) -> MaskTargets:
        """Return the targets of label maps, int64 (B, h, w)."""
        present = [classes[classes != IGNORED] for classes in (image.unique() for image in labels)]
        classes = labels.new_full((len(labels), max(1, *map(len, present))), IGNORED)
        for row, found in zip(classes, present, strict=True):
            row[: len(found)] = found
        labels = labels.flatten(1)[:, None]
        valid = labels != IGNORED
        masks = (labels == classes[:, :, None]) & valid
        return cls(classes, masks.float(), valid.float())

    def at(self, pixels: Tensor) -> MaskTargets:
        """Return the same targets on some of the pixels: int64 (p,)."""
        return MaskTargets(self.classes, self.masks[..., pixels], self.valid[..., pixels])

    @property
    def counts(self) -> list[int]:
        """Number of masks of each image."""
        return (self.classes != IGNORED).sum(dim=1).tolist()


@dataclass(frozen=True, eq=False)
class QueryOutputs:
    """The outputs of Q queries for B images after each of L decoder layers.

    Attributes:
        class_embeddings: (L, B, Q, D), not normalised, in the text embeddings' space.
        mask_embeddings: (L, B, Q, M); their products with mask features are mask logits.
    """

    class_embeddings: Tensor
    mask_embeddings: Tensor


def class_logits(
    class_embeddings: Tensor,
    text_embeddings: Tensor,
    non_object_embedding: Tensor,
    scale: float = LOGIT_SCALE,
) -> Tensor:
    """Return the scaled cosine of queries (…, D) with K names (K, D) and "no object" (1, D): (…, K + 1)."""
    alternatives = F.normalize(torch.cat([text_embeddings, non_object_embedding]), dim=-1)
    return scale * F.normalize(class_embeddings, dim=-1) @ alternatives.T


def set_losses(
    outputs: QueryOutputs, logits: Tensor, mask_features: Tensor, targets: MaskTargets
) -> dict[str, Tensor]:
    """Return the losses of all decoder layers' queries against the masks that they are matched with.

    Every layer has its own matching. The target of a query without a mask is "no object".

    Args:
        outputs: of the queries.
        logits: (L, B, Q, K + 1), from :func:`class_logits`.
        mask_features: (B, M, P), on the targets' pixels.
        targets: masks and classes.

    Returns:
        "class" (cross-entropy), "focal" and "dice", each summed over the layers and with its weight.
    """
    queries = match(outputs, logits, mask_features, targets)
    chosen = queries.clamp(min=0)[..., None].expand(-1, -1, -1, outputs.mask_embeddings.shape[3])
    embeddings = outputs.mask_embeddings.gather(2, chosen)
    return {
        "class": classification_loss(logits, queries, targets),
        **mask_losses(embeddings, queries != UNMATCHED, mask_features, targets),
    }


@torch.no_grad()
def match(outputs: QueryOutputs, logits: Tensor, mask_features: Tensor, targets: MaskTargets) -> Tensor:
    """Return the matching of masks and queries with the smallest sum of losses (Hungarian matching).

    Args:
        outputs: of the queries.
        logits: (L, B, Q, K + 1), of the classes.
        mask_features: (B, M, P), on the targets' pixels.
        targets: masks, of which at most Q an image are matched.

    Returns:
        int64 (L, B, T), the query of each mask; -1 for empty rows, and for masks beyond the number of
        queries.
    """
    named = targets.classes.clamp(min=0)[:, None].expand(-1, logits.shape[2], -1)
    queries = torch.full((*logits.shape[:2], targets.classes.shape[1]), UNMATCHED)
    for layer, (embeddings, layer_logits) in enumerate(zip(outputs.mask_embeddings, logits, strict=True)):
        costs = mask_costs(embeddings @ mask_features, targets)
        costs -= layer_logits.softmax(dim=-1).gather(2, named)
        for image, (cost, count) in enumerate(zip(costs.cpu().numpy(), targets.counts, strict=True)):
            query, mask = linear_sum_assignment(cost[:, :count])
            queries[layer, image, torch.from_numpy(mask)] = torch.from_numpy(query)
    return queries.to(logits.device)


def mask_costs(mask_logits: Tensor, targets: MaskTargets, dice_weight: float = DICE_WEIGHT) -> Tensor:
    """Return the weighted sum (B, Q, T) of focal and dice loss of logits (B, Q, P) with each of T masks."""
    masks, valid = targets.masks, targets.valid
    masks_last = masks.transpose(1, 2)
    others_last = (valid - masks).transpose(1, 2)
    probability = mask_logits.sigmoid()
    log_inverse = F.softplus(mask_logits)  # -log(1 - p)
    focal_inside = _FOCAL_ALPHA * (1 - probability) ** _FOCAL_GAMMA * (log_inverse - mask_logits)
    focal_outside = (1 - _FOCAL_ALPHA) * probability**_FOCAL_GAMMA * log_inverse
    focal = focal_inside @ masks_last + focal_outside @ others_last
    probability = probability * valid
    sizes = probability.sum(dim=2)[:, :, None] + masks.sum(dim=2)[:, None]
    dice = 1 - (2 * probability @ masks_last + 1) / (sizes + 1)
    pixels = valid.sum(dim=2)[:, :, None].clamp(min=1)
    return FOCAL_WEIGHT * focal / pixels + dice_weight * dice


def classification_loss(logits: Tensor, queries: Tensor, targets: MaskTargets) -> Tensor:
    """Return the cross-entropy (scalar) of class logits (L, B, Q, K + 1), summed over layers.

    "No object" has weight 0.1.

    Args:
        logits: of the classes.
        queries: int64 (L, B, T), from :func:`match`.
        targets: the masks' classes.
    """
    classes = logits.shape[3] - 1
    wanted = torch.full(logits.shape[:3], classes, device=logits.device)
    layer, image, mask = (queries != UNMATCHED).nonzero(as_tuple=True)
    wanted[layer, image, queries[layer, image, mask]] = targets.classes[image, mask]
    weights = torch.ones(classes + 1, device=logits.device)
    weights[-1] = NO_OBJECT_WEIGHT
    # All layers match equally many masks, so the mean over all layers is the mean of each.
    return len(logits) * F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), weights)


def mask_losses(
    embeddings: Tensor, present: Tensor, mask_features: Tensor, targets: MaskTargets
) -> dict[str, Tensor]:
    """Return the weighted "focal" and "dice" loss of mask embeddings, one for each mask, summed over layers.

    Args:
        embeddings: (L, B, T, M), in the order of the targets' masks.
        present: (L, B, T), whether a mask counts, or how much.
        mask_features: (B, M, P), on the targets' pixels.
        targets: T masks for each image.
    """
    layers = len(embeddings)
    rows = embeddings.transpose(0, 1).flatten(1, 2)  # (B, L·T, M)
    logits = (rows @ mask_features).unflatten(1, (layers, -1))  # (B, L, T, P)
    wanted, valid = targets.masks[:, None], targets.valid[:, None]
    present = present.transpose(0, 1).float()
    probability = logits.sigmoid()
    wrong = torch.where(wanted > 0, 1 - probability, probability)
    entropy = F.softplus(torch.where(wanted > 0, -logits, logits))
    alpha = (1 - _FOCAL_ALPHA) + (2 * _FOCAL_ALPHA - 1) * wanted
    focal = (alpha * valid * entropy * wrong**_FOCAL_GAMMA).sum(dim=3) / valid.sum(dim=3).clamp(min=1)
    probability = probability * valid
    overlap, sizes = (probability * wanted).sum(dim=3), probability.sum(dim=3) + wanted.sum(dim=3)
    dice = 1 - (2 * overlap + 1) / (sizes + 1)
    masks = present.sum().clamp(min=1) / layers
    return {
        "focal": FOCAL_WEIGHT * (focal * present).sum() / masks,
        "dice": DICE_WEIGHT * (dice * present).sum() / masks,
    }


def sample_pixels(targets: MaskTargets, count: int) -> Tensor:
    """Return random pixels of each image, equally many of each class: int64 (B, count).

    Images without a valid pixel give arbitrary pixels.
    """
    sizes = targets.masks.sum(dim=2, keepdim=True)
    shares = (targets.masks / sizes.clamp(min=1)).sum(dim=1)
    shares = shares + (shares.sum(dim=1, keepdim=True) == 0)
    return shares.multinomial(count, replacement=True)
