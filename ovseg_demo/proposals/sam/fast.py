"""The stock generator's masks with a fraction of its arithmetic and memory.

Nothing is approximated; only the order of the computation differs. A mask whose predicted IoU is too low is
never computed. The others are computed for one prompt at a time and kept as bits.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import replace

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
from ovseg_demo.proposals.types import MaskPrompt
from ovseg_demo.runtime.devices import Runtime, upload

PIXELS_PER_BATCH = {"cpu": 2**15, "cuda": 2**18, "mps": 2**16}
"""Cells of the image embedding, over all prompts that pass the decoder together.

At published size these are 8 prompts on a CPU, whose caches hold no more, and 64 on a GPU.
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

    def __call__(
        self, image: np.ndarray, progress: ProgressCallback, embedding: np.ndarray | None = None
    ) -> FoundMasks:
        """Find the masks of an RGB uint8 image (H, W, 3), whose embedding may be known."""
        geometry = MaskGeometry.of_image(image.shape[:2], self._frame.prompt_size, self._frame.grid_size)
        total = self._points_per_side**2
        progress(PROPOSING, 0, total)
        if embedding is None:
            encoded = self._encode(image, after_block=lambda: progress(PROPOSING, 0, total))
        else:
            encoded = torch.from_numpy(embedding).to(self._device, self.dtype)
        # What decoding needs is freed before the masks are put in order, which is the peak of memory.
        found = self._collect(encoded, geometry, progress).without_duplicates()
        return replace(found, embedding=encoded.float().cpu().numpy() if embedding is None else embedding)

    def mask_at(self, embedding: np.ndarray, image_size: tuple[int, int], prompt: MaskPrompt) -> np.ndarray:
        """Return the mask for points or a box: bool (H, W), at the size of the image.

        Of the masks that the network proposes, the one that fits the points best counts; among equals, that
        of the highest predicted IoU.

        Args:
            embedding: of the image, from :meth:`__call__`.
            image_size: (H, W).
            prompt: points and box, in pixels of the image.
        """
        geometry = MaskGeometry.of_image(image_size, self._frame.prompt_size, self._frame.grid_size)
        decoder = PointDecoder(self._sam, torch.from_numpy(embedding).to(self._device), self.dtype)
        decoded = decoder.decode(self._embed(prompt, geometry))
        every = torch.arange(decoded.quality.shape[1], device=self._device)
        logits = decoder.masks(decoded, 0, every, geometry.cells).cpu().numpy()
        masks = np.stack([geometry.upsample(one) > self._sam.mask_threshold for one in logits])
        fit = decoded.quality[0].cpu().numpy() + 10 * _agreement(
            masks, prompt
        )  # a quality is about 1 at most
        return masks[fit.argmax()]

    def in_batches_of(self, points: int) -> FastMaskGenerator:
        """Return the same network with another ``points_per_batch``."""
        other = copy(self)
        other.points_per_batch = points
        return other

    def with_points(self, points_per_side: int) -> FastMaskGenerator:
        """Return the same network with another grid of points."""
        other = copy(self)
        other._points_per_side = points_per_side
        return other

    def _collect(
        self, embedding: Tensor, geometry: MaskGeometry, progress: ProgressCallback
    ) -> MaskCollector:
        prompts = self._embed_points(geometry)
        done, total = 0, len(prompts)
        decoder = PointDecoder(self._sam, embedding, self.dtype)
        collector = MaskCollector(geometry, self._filters, self._sam.mask_threshold)
        for batch in prompts.split(self.points_per_batch):
            decoded = decoder.decode(batch)
            wanted = self._filters.good_enough(decoded.quality)  # (B, M)
            for prompt in wanted.any(dim=1).nonzero()[:, 0].tolist():
                chosen = wanted[prompt].nonzero()[:, 0]
                logits = decoder.masks(decoded, prompt, chosen, geometry.cells)
                for mask, quality in zip(
                    logits.cpu().numpy(), decoded.quality[prompt, chosen].tolist(), strict=True
                ):
                    collector.add(mask, quality)
            done += len(batch)
            progress(PROPOSING, done, total)
        return collector

    def _embed_points(self, geometry: MaskGeometry) -> Tensor:
        """Return sparse prompt embeddings (points, 2, C) of the grid: the point, and its padding."""
        height, width = geometry.resized_size
        points = torch.from_numpy(build_point_grid(self._points_per_side) * [width, height])
        labels = torch.ones(len(points), 1)  # all of them lie on the object
        embeddings, _ = self._embed_prompts((points[:, None], labels), boxes=None, masks=None)
        return embeddings.to(self._device)

    def _embed(self, prompt: MaskPrompt, geometry: MaskGeometry) -> Tensor:
        """Return sparse prompt embeddings (1, S, C) of one prompt."""
        points = np.array([*prompt.inside, *prompt.outside], dtype=np.float64).reshape(-1, 2)
        labels = [1] * len(prompt.inside) + [0] * len(prompt.outside)
        given = None
        if labels:
            given = torch.from_numpy(geometry.to_prompt(points))[None], torch.tensor([labels])
        box = None
        if prompt.box is not None:
            corners = geometry.to_prompt(np.array(prompt.box, dtype=np.float64).reshape(2, 2))
            box = torch.from_numpy(corners).reshape(1, 4)
        embeddings, _ = self._embed_prompts(given, boxes=box, masks=None)
        return embeddings.to(self._device)

    def _encode(self, image: np.ndarray, after_block: Callable[[], None]) -> Tensor:
        height, width = size_in_square(image.shape[:2], self._frame.image_size)
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        resized = upload(np.array(resized), self._device)
        pixels = self._sam.preprocess(resized.permute(2, 0, 1))[None]
        return self._sam.image_encoder.encode(pixels.to(self.dtype), after_block)


def _agreement(masks: np.ndarray, prompt: MaskPrompt) -> np.ndarray:
    """Return for masks (M, H, W) the share of a prompt's points on whose right side they are: (M,)."""
    points = np.array([*prompt.inside, *prompt.outside], dtype=np.int64).reshape(-1, 2)
    if not len(points):
        return np.ones(len(masks))
    height, width = masks.shape[1:]
    columns, rows = np.clip(points, 0, [width - 1, height - 1]).T
    is_inside = np.arange(len(points)) < len(prompt.inside)
    return (masks[:, rows, columns] == is_inside).mean(axis=1)
