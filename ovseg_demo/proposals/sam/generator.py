"""Stage 1 with Segment Anything: masks for a grid of points over the image.

Kirillov et al., Segment Anything (ICCV 2023), section 4 and appendix B.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import astuple

import numpy as np
import torch
from segment_anything.modeling import Sam

from ovseg_demo.errors import ImageError, ModelError
from ovseg_demo.images import resize_longer_side
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.proposals.sam.building import SamConfig, build_sam, new_sam
from ovseg_demo.proposals.sam.encoders.base import ImageEncoder
from ovseg_demo.proposals.sam.encoders.vit import VitConfig
from ovseg_demo.proposals.sam.fast import FastMaskGenerator
from ovseg_demo.proposals.sam.grid import resolve_points_per_side
from ovseg_demo.proposals.sam.masks import MaskFilters
from ovseg_demo.proposals.sam.stock import StockMaskGenerator
from ovseg_demo.proposals.types import MaskPrompt, Proposals
from ovseg_demo.runtime.devices import Runtime

__all__ = ["IMPLEMENTATIONS", "SamConfig", "SamProposalGenerator", "VitConfig", "build_sam", "new_sam"]

IMPLEMENTATIONS = {"fast": FastMaskGenerator, "stock": StockMaskGenerator}

LIGHT_LONG_SIDE = 640
"""Working size where memory is too small for the image's own."""


class SamProposalGenerator:
    """Proposes masks for a grid of points, as segment-anything's ``SamAutomaticMaskGenerator`` does.

    With the same settings it gives the stock generator's masks in the stock generator's order, up to the
    rounding of the arithmetic. Crop layers and the removal of small regions, off by default there, are not
    implemented. Masks without a pixel, which the stock generator can return if it does not filter by
    stability, are dropped.

    Args:
        sam: a model in float32 with any image encoder of :mod:`.encoders`, such as :func:`build_sam` makes,
            or one of segment-anything's own. Its weights are shared where device and precision allow, so it
            must not be trained on afterwards.
        points_per_side: points along each side of the grid; their number squared is the number of prompts.
            "auto" takes 16 on a CPU and 32 on a GPU (256 and 1,024 prompts), and fewer where the image
            embedding has fewer than two cells for each.
        points_per_batch: prompts that pass the decoder together; ``None`` takes what suits the device. It has
            no influence on the masks.
        pred_iou_thresh: masks are kept whose predicted IoU is above this; at most 0 keeps all.
        stability_score_thresh: masks are kept whose stability score is at least this; at most 0 keeps all.
        stability_score_offset: how far the logits' threshold is moved up and down for the stability score.
        box_nms_thresh: of two masks whose boxes overlap with a higher IoU, the one of lower predicted IoU is
            dropped.
        long_side: working size, the image's longer side in pixels (the published demo's is 1280); ``None``
            keeps the image's own size. Masks have the working size.
        implementation: "fast", or "stock" for segment-anything's own generator, which always computes in
            float32.
        runtime: device and precision; by default the CPU in float32.

    Raises:
        ModelError: a setting that does not exist or makes no sense.
        DeviceError: the stock implementation on a device that lacks float64.
    """

    name = "sam"

    def __init__(
        self,
        sam: Sam,
        *,
        points_per_side: int | str = 32,
        points_per_batch: int | None = None,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        long_side: int | None = None,
        implementation: str = "fast",
        runtime: Runtime | None = None,
    ):
        if implementation not in IMPLEMENTATIONS:
            raise ModelError(
                f'There is no SAM implementation "{implementation}"; choose {" or ".join(IMPLEMENTATIONS)}.'
            )
        counts = {"points_per_batch": points_per_batch, "long_side": long_side}
        for what, count in counts.items():
            if count is not None and count < 1:
                raise ModelError(f"{what} is {count}; it must be at least 1.")
        self._filters = MaskFilters(
            pred_iou_thresh, stability_score_thresh, stability_score_offset, box_nms_thresh
        )
        runtime = runtime or Runtime(torch.device("cpu"))
        if not isinstance(sam.image_encoder, ImageEncoder):
            sam = build_sam(sam.state_dict())
        self._points_per_side = resolve_points_per_side(
            points_per_side, runtime.device.type, sam.image_encoder.frame.grid_size
        )
        self._long_side = long_side
        self._implementation = implementation
        self._masks = IMPLEMENTATIONS[implementation](
            sam,
            self._filters,
            points_per_side=self._points_per_side,
            points_per_batch=points_per_batch,
            runtime=runtime,
        )

    @property
    def settings(self) -> tuple:
        """What determines the masks of an image besides the weights; hashable."""
        return (
            self.name,
            self._implementation,
            self._points_per_side,
            *astuple(self._filters),
            self._long_side,
            str(self._masks.dtype),
        )

    @property
    def points_per_side(self) -> int:
        """Points along each side of the grid."""
        return self._points_per_side

    def with_points(self, points_per_side: int) -> SamProposalGenerator:
        """Return the same generator with another grid of points; both share the network.

        Args:
            points_per_side: points along each side, at least 1.

        Raises:
            ModelError: the number is below 1.
        """
        variant = copy(self)
        variant._points_per_side = resolve_points_per_side(points_per_side, "", 0)
        variant._masks = self._masks.with_points(variant._points_per_side)
        return variant

    def __call__(
        self,
        image: np.ndarray,
        *,
        progress: ProgressCallback = no_progress,
        embedding: np.ndarray | None = None,
    ) -> Proposals:
        """Propose masks for an RGB uint8 image (H, W, 3), best predicted IoU first.

        ``progress`` gets the number of points done and of all points; while the image is encoded, no point is
        done.

        Args:
            image: the image.
            progress: called during the work; it may stop the work by raising an exception.
            embedding: ``embedding`` of the same image's proposals from another grid: the image is not
                encoded again. The stock implementation does not use it.

        Raises:
            ImageError: the array is no RGB uint8 image.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise ImageError(
                "Segment Anything needs an RGB image, uint8 of shape (height, width, 3); this is "
                f"{image.dtype} of shape {image.shape}."
            )
        working_image = resize_longer_side(image, self._long_side) if self._long_side else image
        with torch.inference_mode():
            found = self._masks(working_image, progress, embedding)
        return Proposals(
            packed_masks=found.packed_masks,
            boxes=found.boxes,
            scores=found.scores,
            working_image=working_image,
            image_size=image.shape[:2],
            generator=self.name,
            embedding=found.embedding,
            points_per_side=self._points_per_side,
        )

    @torch.inference_mode()
    def mask_at(self, embedding: np.ndarray, image_size: tuple[int, int], prompt: MaskPrompt) -> np.ndarray:
        """Return the mask for points or a box (Segment Anything, section 3): bool (H, W).

        Args:
            embedding: ``embedding`` of the image's proposals.
            image_size: (H, W), also of the mask.
            prompt: points and box, in pixels of the image.

        Raises:
            ModelError: the stock implementation cannot do this.
        """
        return self._masks.mask_at(embedding, image_size, prompt)

    def fallbacks(self) -> Iterator[tuple[str, SamProposalGenerator]]:
        """Yield variants that need less memory each time: fewer points at a time, then smaller masks."""
        variant = copy(self)
        variant._masks = self._masks.in_batches_of(max(1, self._masks.points_per_batch // 8))
        yield "fewer points at a time", variant
        variant = copy(variant)
        variant._long_side = max(1, self._long_side // 2) if self._long_side else LIGHT_LONG_SIDE
        yield f"masks of {variant._long_side} pixels", variant
