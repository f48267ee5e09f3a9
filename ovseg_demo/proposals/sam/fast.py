"""The stock generator's masks with a fraction of its arithmetic and memory.

Nothing is approximated; only the order of the computation differs. A mask whose predicted IoU is too low is
never computed. The others are computed for one prompt at a time and kept as bits.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy

import numpy as np
import torch
from PIL import Image
from segment_anything.modeling import Sam
from segment_anything.utils.amg import build_point_grid
from torch import Tensor

from ovseg_demo.progress import PROPOSING, ProgressCallback
from ovseg_demo.proposals.sam.building import move_sam
from ovseg_demo.proposals.sam.decoder import PointDecoder
from ovseg_demo.proposals.sam.masks import (
    FoundMasks,
    MaskCollector,
    MaskFilters,
    MaskGeometry,
    size_in_square,
)
from ovseg_demo.runtime.devices import Runtime, upload

PIXELS_PER_BATCH = {"cpu": 2**14, "cuda": 2**18, "mps": 2**16}
"""Cells of the image embedding, over all prompts that pass the decoder together.

At published size these are 4 prompts on a CPU, whose caches hold no more, and 64 on a GPU.
"""


class FastMaskGenerator:
    """The fast implementation; :class:`.generator.SamProposalGenerator` describes the result."""

    def __init__(
        self,
        sam: Sam,
        filters: MaskFilters,
        *,
        points_per_side: int,
        points_per_batch: int | None,
        runtime: Runtime,
    ):
        self.dtype = runtime.dtype
        self._device = runtime.device
        self._filters = filters
        self._points_per_side = points_per_side
        # On the CPU, as coordinates are computed in float64, which not every device has.
        self._embed_prompts = deepcopy(sam.prompt_encoder).to("cpu", torch.float32)
        self._frame = sam.image_encoder.frame
        pixels_per_batch = PIXELS_PER_BATCH[runtime.device.type]
        self.points_per_batch = points_per_batch or max(1, pixels_per_batch // self._frame.grid_size**2)
        self._sam = move_sam(sam, runtime.device, runtime.dtype)
        with torch.inference_mode():
            self._decoder = PointDecoder(self._sam, runtime.dtype)

    def __call__(self, image: np.ndarray, progress: ProgressCallback) -> FoundMasks:
        """Find the masks of an RGB uint8 image (H, W, 3)."""
        geometry = MaskGeometry.of_image(image.shape[:2], self._frame.prompt_size, self._frame.grid_size)
        # What decoding needs is freed before the masks are put in order, which is the peak of memory.
        return self._collect(image, geometry, progress).without_duplicates()

    def in_batches_of(self, points: int) -> FastMaskGenerator:
        """The same network with another ``points_per_batch``."""
        other = copy(self)
        other.points_per_batch = points
        return other

    def _collect(
        self, image: np.ndarray, geometry: MaskGeometry, progress: ProgressCallback
    ) -> MaskCollector:
        prompts = self._embed_points(geometry)
        done, total = 0, len(prompts)
        progress(PROPOSING, done, total)
        embedding = self._encode(image, after_block=lambda: progress(PROPOSING, 0, total))
        image_side = self._decoder.prepare(embedding)
        collector = MaskCollector(geometry, self._filters, self._sam.mask_threshold)
        for batch in prompts.split(self.points_per_batch):
            decoded = self._decoder.decode(batch, image_side)
            wanted = self._filters.good_enough(decoded.quality)  # (B, M)
            for prompt in wanted.any(dim=1).nonzero()[:, 0].tolist():
                chosen = wanted[prompt].nonzero()[:, 0]
                logits = self._decoder.masks(decoded, prompt, chosen, geometry.cells)
                for mask, quality in zip(
                    logits.cpu().numpy(), decoded.quality[prompt, chosen].tolist(), strict=True
                ):
                    collector.add(mask, quality)
            done += len(batch)
            progress(PROPOSING, done, total)
        return collector

    def _embed_points(self, geometry: MaskGeometry) -> Tensor:
        """Sparse prompt embeddings (points, 2, C) of the grid: the point, and its padding."""
        height, width = geometry.resized_size
        points = torch.from_numpy(build_point_grid(self._points_per_side) * [width, height])
        labels = torch.ones(len(points), 1)  # all of them lie on the object
        embeddings, _ = self._embed_prompts((points[:, None], labels), boxes=None, masks=None)
        return embeddings.to(self._device)

    def _encode(self, image: np.ndarray, after_block: Callable[[], None]) -> Tensor:
        height, width = size_in_square(image.shape[:2], self._frame.image_size)
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        resized = upload(np.array(resized), self._device)
        pixels = self._sam.preprocess(resized.permute(2, 0, 1))[None]
        return self._sam.image_encoder.encode(pixels.to(self.dtype), after_block)
