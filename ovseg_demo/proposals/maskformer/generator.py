"""Mask proposals from MaskFormer: one soft mask for each query, binarised at a threshold."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ovseg_demo.errors import ModelError
from ovseg_demo.image_files.scaling import resize_shortest_edge
from ovseg_demo.progress import PROPOSING, ProgressCallback, no_progress
from ovseg_demo.proposals.maskformer.config import (
    MASK_THRESHOLD,
    MAX_SIZE,
    MIN_SIZE,
    SIZE_DIVISIBILITY,
)
from ovseg_demo.proposals.maskformer.network import MaskFormerNetwork, build_maskformer
from ovseg_demo.proposals.normalization import PIXEL_MEAN, PIXEL_STD
from ovseg_demo.proposals.types import MaskQueries, Proposals, tight_boxes
from ovseg_demo.runtime.devices import Runtime

__all__ = ["MaskFormerProposalGenerator", "build_maskformer", "normalise_pixels"]

QUERIES_PER_CHUNK = 8
"""Soft masks that are resized at a time; at the working resolution of 640×853 pixels, 8 take 17 MB."""


class MaskFormerProposalGenerator:
    """Proposes class-agnostic masks with a MaskFormer network.

    This is a :class:`~ovseg_demo.proposals.types.ProposalGenerator`.

    Args:
        network: the network; it is moved to the runtime's device and put into evaluation mode.
        min_size: the shorter side of the resized image, in pixels.
        max_size: the maximum of the longer side, in pixels; it takes precedence over ``min_size``.
        mask_threshold: the foreground probability above which a pixel belongs to a query's mask, in (0, 1).
        runtime: the device, and the precision of the backbone and the pixel decoder; by default the CPU in
            float32. The transformer always computes in float32.

    Raises:
        ModelError: a size or the threshold is out of range.
    """

    name = "maskformer"

    def __init__(
        self,
        network: MaskFormerNetwork,
        *,
        min_size: int = MIN_SIZE,
        max_size: int = MAX_SIZE,
        mask_threshold: float = MASK_THRESHOLD,
        runtime: Runtime | None = None,
    ):
        if not 1 <= min_size <= max_size:
            raise ModelError(
                f"MaskFormer needs 1 ≤ min_size ≤ max_size, which sizes of {min_size} and {max_size} are not."
            )
        if not 0 < mask_threshold < 1:
            raise ModelError(
                f"MaskFormer's mask threshold must lie between 0 and 1, not at {mask_threshold}."
            )
        self.min_size = min_size
        self.max_size = max_size
        self.mask_threshold = mask_threshold
        self.runtime = runtime or Runtime(torch.device("cpu"))
        self.network = network.to(self.runtime.device).eval()

    @property
    def settings(self) -> tuple:
        """Everything except image and weights that determines the proposals."""
        return (self.name, self.min_size, self.max_size, self.mask_threshold, str(self.runtime.dtype))

    @torch.inference_mode()
    def __call__(self, image: np.ndarray, *, progress: ProgressCallback = no_progress) -> Proposals:
        """Return the proposals for an RGB image, uint8 (H, W, 3).

        The score of a proposal is its mean foreground probability: the mean of the query's soft mask over the
        pixels of its binary mask. A query whose binary mask is empty gives no proposal.
        """
        working_image = resize_shortest_edge(image, self.min_size, self.max_size)
        pixels = normalise_pixels(working_image).to(self.runtime.device)
        padded_size = tuple(pixels.shape[-2:])
        parts = 2 + -(-self.network.config.queries // QUERIES_PER_CHUNK)  # backbone, head, chunks of masks
        progress(PROPOSING, 0, parts)
        with self.runtime.autocast():
            features = self.network.backbone(pixels)
            progress(PROPOSING, 1, parts)
            predictions = self.network.sem_seg_head(features)[-1]
        mask_logits = predictions.mask_logits[0]
        packed_masks, boxes, scores, kept = [], [], [], []
        for done, start in enumerate(range(0, len(mask_logits), QUERIES_PER_CHUNK), start=2):
            progress(PROPOSING, done, parts)
            chunk = mask_logits[start : start + QUERIES_PER_CHUNK]
            masks, chunk_scores, nonempty = self._binarise(chunk, padded_size, working_image.shape[:2])
            packed_masks.append(np.packbits(masks, axis=-1))
            boxes.append(tight_boxes(masks))
            scores.append(chunk_scores)
            kept.append(nonempty + start)
        progress(PROPOSING, parts, parts)
        queries = MaskQueries(
            mask_logits=mask_logits.cpu().numpy(),
            class_embeddings=predictions.class_embeddings[0].cpu().numpy(),
            non_object_embedding=self.network.non_object_embedding[0].cpu().numpy(),
            kept=np.concatenate(kept),
            padded_size=padded_size,
        )
        return Proposals(
            packed_masks=np.concatenate(packed_masks),
            boxes=np.concatenate(boxes),
            scores=np.concatenate(scores),
            working_image=working_image,
            image_size=image.shape[:2],
            generator=self.name,
            queries=queries,
        )

    def fallbacks(self) -> Iterator[tuple[str, MaskFormerProposalGenerator]]:
        """Yield one variant that needs less memory: it halves the size of the image."""
        variant = copy(self)
        variant.min_size, variant.max_size = max(1, self.min_size // 2), max(1, self.max_size // 2)
        yield f"masks of {variant.min_size} pixels", variant

    def _binarise(
        self, mask_logits: Tensor, padded_size: tuple[int, int], working_size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the non-empty masks of logits (n, h4, w4): bool (m, h, w), scores (m,) and indices (m,)."""
        height, width = working_size
        soft = F.interpolate(mask_logits[None], padded_size, mode="bilinear", align_corners=False)[0]
        soft = soft[:, :height, :width].sigmoid()
        masks = soft > self.mask_threshold
        areas = masks.sum(dim=(1, 2))
        nonempty = areas.nonzero()[:, 0]
        scores = (soft * masks).sum(dim=(1, 2))[nonempty] / areas[nonempty]
        return masks[nonempty].cpu().numpy(), scores.cpu().numpy(), nonempty.cpu().numpy()


def normalise_pixels(image: np.ndarray) -> Tensor:
    """Return the network's input for a uint8 RGB image (h, w, 3): float32 (1, 3, H, W).

    H and W are h and w rounded up to multiples of 32. The padding at the bottom and the right is 0.
    """
    pixels = (torch.from_numpy(image).float() - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    height, width = image.shape[:2]
    padding = (0, -width % SIZE_DIVISIBILITY, 0, -height % SIZE_DIVISIBILITY)
    return F.pad(pixels.permute(2, 0, 1)[None], padding)
