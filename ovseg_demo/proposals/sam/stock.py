"""segment-anything's own mask generator behind the interface of the fast one, as the reference for it."""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide

from ovseg_demo.errors import DeviceError, ImageError, ModelError
from ovseg_demo.progress import PROPOSING, ProgressCallback
from ovseg_demo.proposals.sam.building import move_sam
from ovseg_demo.proposals.sam.masks import FoundMasks, MaskFilters
from ovseg_demo.proposals.types import MaskPrompt, tight_boxes
from ovseg_demo.runtime.devices import Runtime

POINTS_PER_BATCH = 64


class StockMaskGenerator:
    """``SamAutomaticMaskGenerator``, in float32 in any case: it cannot return other numbers."""

    dtype = torch.float32

    def __init__(
        self,
        sam: Sam,
        filters: MaskFilters,
        *,
        points_per_side: int,
        points_per_batch: int | None,
        runtime: Runtime,
    ):
        if runtime.device.type == "mps":
            raise DeviceError(
                "The stock SAM implementation needs float64, which MPS lacks; choose "
                'implementation="fast" or device="cpu".'
            )
        frame = sam.image_encoder.frame
        if frame.prompt_size != frame.image_size:
            raise ModelError(
                "The stock SAM implementation cannot use an image encoder that reads "
                f"{frame.image_size} pixels and has prompts in a square of "
                f'{frame.prompt_size}; choose implementation="fast".'
            )
        self._sam = move_sam(sam, runtime.device)
        self.points_per_batch = points_per_batch or POINTS_PER_BATCH
        self._points_per_side = points_per_side
        self._settings = {
            "points_per_side": points_per_side,
            "pred_iou_thresh": filters.pred_iou_thresh,
            "stability_score_thresh": filters.stability_score_thresh,
            "stability_score_offset": filters.stability_score_offset,
            "box_nms_thresh": filters.box_nms_thresh,
        }

    def __call__(
        self, image: np.ndarray, progress: ProgressCallback, embedding: np.ndarray | None = None
    ) -> FoundMasks:
        """Find the masks of an RGB uint8 image (H, W, 3); the image is encoded in any case."""
        height, width = image.shape[:2]
        if 0 in ResizeLongestSide.get_preprocess_shape(height, width, self._sam.image_encoder.img_size):
            raise ImageError(
                f"The stock SAM implementation cannot resize an image as thin as {width} × {height} pixels; "
                'choose implementation="fast", or crop the image.'
            )
        progress(PROPOSING, 0, self._points_per_side**2)
        # A new one for every image: it keeps the image's embedding in itself.
        generator = _ReportingGenerator(
            self._sam, progress, points_per_batch=self.points_per_batch, **self._settings
        )
        records = [record for record in generator.generate(image) if record["area"]]
        if not records:
            return FoundMasks.none(image.shape[:2])
        masks = np.stack([record["segmentation"] for record in records])
        return FoundMasks(
            packed_masks=np.packbits(masks, axis=-1),
            boxes=tight_boxes(masks),
            scores=np.array([record["predicted_iou"] for record in records], dtype=np.float32),
        )

    def mask_at(self, embedding: np.ndarray, image_size: tuple[int, int], prompt: MaskPrompt) -> np.ndarray:
        """Refuse: this implementation keeps no image embedding.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            'The stock SAM implementation makes no mask at a point; choose implementation="fast".'
        )

    def in_batches_of(self, points: int) -> StockMaskGenerator:
        """Return the same network with another ``points_per_batch``."""
        other = copy(self)
        other.points_per_batch = points
        return other

    def with_points(self, points_per_side: int) -> StockMaskGenerator:
        """Return the same network with another grid of points."""
        other = copy(self)
        other._points_per_side = points_per_side
        other._settings = {**self._settings, "points_per_side": points_per_side}
        return other


class _ReportingGenerator(SamAutomaticMaskGenerator):
    def __init__(self, sam: Sam, progress: ProgressCallback, **settings: float):
        super().__init__(sam, **settings)
        self._progress = progress
        self._done = 0

    def _process_batch(self, points, *arguments):
        masks = super()._process_batch(points, *arguments)
        self._done += len(points)
        self._progress(PROPOSING, self._done, len(self.point_grids[0]))
        return masks
