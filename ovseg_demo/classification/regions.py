"""Cut the region of each mask for CLIP: crop its tight box, blank the background, resize to a square."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import upload

# Mean and standard deviation of RGB values in [0, 1], over the images that CLIP was trained on.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def iterate_regions(
    proposals: Proposals,
    size: int,
    batch: int,
    device: torch.device | str = "cpu",
    indices: Sequence[int] | None = None,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the regions of proposals in batches, in order; the last batch may be smaller.

    Args:
        proposals: the masks and the image that they belong to.
        size: side of the square regions, in pixels.
        batch: B, the regions in a batch.
        device: where the regions are resized and returned.
        indices: which proposals; ``None`` means all.
        mean: of RGB values in [0, 1], by which the regions are normalised.
        std: their standard deviation.

    Yields:
        regions: float32 (B, 3, size, size) on ``device``, as :func:`cut_region` makes them.
        masks: float32 (B, 1, size, size) on ``device``.
    """
    chosen = range(len(proposals)) if indices is None else indices
    for start in range(0, len(chosen), batch):
        cut = [
            cut_region(
                proposals.working_image, proposals.unpack(i), proposals.boxes[i], size, device, mean, std
            )
            for i in chosen[start : start + batch]
        ]
        regions, masks = zip(*cut, strict=True)
        yield torch.stack(regions), torch.stack(masks)


def cut_region(
    image: np.ndarray,
    mask: np.ndarray,
    box: np.ndarray,
    size: int,
    device: torch.device | str = "cpu",
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> tuple[Tensor, Tensor]:
    """Return one masked region of an image, resized to a square. The aspect ratio is not kept.

    Args:
        image: uint8 RGB (h, w, 3).
        mask: bool (h, w).
        box: the mask's box, xyxy with exclusive end.
        size: side of the square region, in pixels.
        device: where the region is resized and returned.
        mean: of RGB values in [0, 1], by which the region is normalised.
        std: their standard deviation.

    Returns:
        region: float32 (3, size, size), normalised, zero outside the mask,
            resized bicubically without antialiasing.
        mask: float32 (1, size, size) of zeros and ones, resized to the nearest lower source index.
    """
    x0, y0, x1, y1 = box
    inside = upload(mask[y0:y1, x0:x1], device)[None].float()  # (1, h', w')
    pixels = upload(image[y0:y1, x0:x1], device).movedim(-1, 0)  # (3, h', w')
    centre, scale = (255 * torch.tensor(c, device=device)[:, None, None] for c in (mean, std))
    blanked = (pixels - centre) * inside
    # Resizing is linear, so the division can come after it, where there are fewer pixels.
    region = F.interpolate(blanked[None], (size, size), mode="bicubic", align_corners=False)[0] / scale
    return region, F.interpolate(inside[None], (size, size), mode="nearest")[0]
