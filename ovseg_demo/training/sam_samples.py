"""Random crops, points and cells of an image for a training step of Segment Anything."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MASK_PIXELS = 4
"""Mask pixels along a side of a cell of the image embedding."""

_SMALLEST_REGION = 8
"""Mask pixels below which a region gets no point prompts."""


def target_masks(regions: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return masks of the target regions, bool (P, G, G), and the pixels that are no padding, bool (G, G)."""
    return regions[None] == targets[:, None, None], regions >= 0


def cut_parts(images: Tensor, regions: Tensor, parts: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return random crops of a batch of images.

    A point's mask depends mostly on its surroundings. A crop of half the side costs a quarter, in the encoder
    and for every prompt in the decoder, and contains no padding.

    Args:
        images: uint8 (B, 3, S, S).
        regions: int64 (B, G, G), -1 on padding, which lies at the bottom and on the right.
        parts: number of crops of each image.
        side: of a crop, in cells of the image embedding.

    Returns:
        Images uint8 (B · parts, 3, s, s), regions int64 (B · parts, 4 · side, 4 · side), and row and column
        of their first cells, int64 (B · parts, 2).
    """
    grid = regions.shape[-1] // MASK_PIXELS
    patch = images.shape[-1] // grid
    cut: list[tuple[Tensor, Tensor, Tensor]] = []
    for image, labels in zip(images, regions, strict=True):
        inside = (labels >= 0).cpu()
        filled = torch.stack([inside.any(dim=1).sum(), inside.any(dim=0).sum()]) // MASK_PIXELS
        room = (filled - side).clamp(min=0, max=grid - side)
        for corner in (torch.rand(parts, 2) * (room + 1)).long():
            rows, columns = (slice(first * patch, (first + side) * patch) for first in corner.tolist())
            y, x = (slice(first * MASK_PIXELS, (first + side) * MASK_PIXELS) for first in corner.tolist())
            cut.append((image[:, rows, columns], labels[y, x], corner))
    images, regions, corners = (torch.stack(values) for values in zip(*cut, strict=True))
    return images, regions, corners


def choose_points(
    regions: Tensor, count: int, random: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return random points of random regions; all regions are equally likely.

    Args:
        regions: int64 (G, G); those of fewer than 8 pixels are left out, unless all are so small.
        count: number P of points.
        random: generator; torch's default one if ``None``.

    Returns:
        float32 (P, 2), x and y in mask pixels, and int64 (P,), the region of each.
    """
    flat = regions.flatten()
    sizes = torch.bincount(flat + 1)[flat + 1]
    asked = (flat >= 0) & (sizes >= min(_SMALLEST_REGION, int(sizes[flat >= 0].max())))
    chosen = (asked / sizes).multinomial(count, replacement=True, generator=random)
    corners = torch.stack([chosen % regions.shape[1], chosen // regions.shape[1]], dim=1)
    return corners + torch.rand(corners.shape, generator=random, device=regions.device), flat[chosen]


def choose_cells(targets: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return random cells of the image embedding on which to compare masks; up to half are at the object.

    Args:
        targets: bool (P, G, G), G four times the embedding's side g.
        count: number N of cells, at most g².

    Returns:
        int64 (P, N), ascending, and float (P, N): number of cells that each one represents.
    """
    count = min(count, targets[0].numel() // MASK_PIXELS**2)
    near = (
        F.max_pool2d(F.max_pool2d(targets.float(), MASK_PIXELS), 3, stride=1, padding=1).flatten(1) > 0
    )  # (P, g²)
    size = near.sum(dim=1, keepdim=True)
    others = near.shape[1] - size
    chosen = size.clamp(max=count // 2).maximum(count - others)
    order = torch.where(near, 0.0, 1.0) + torch.rand(near.shape, device=near.device)
    ranks = order.argsort(dim=1).argsort(dim=1)  # cells near the object first, each kind in random order
    taken = torch.where(near, ranks < chosen, (ranks - size) < count - chosen)
    cells = taken.int().argsort(dim=1, descending=True, stable=True)[:, :count]
    weights = torch.where(near, size / chosen.clamp(min=1), others / (count - chosen).clamp(min=1))
    return cells, weights.gather(1, cells)


def at_cells(masks: Tensor, cells: Tensor) -> Tensor:
    """Return pixels (P, 16 · N) of masks (P, G, G) in cells (P, N), row by row in each, cell after cell."""
    grid = masks.unflatten(2, (-1, MASK_PIXELS)).unflatten(1, (-1, MASK_PIXELS))
    patches = grid.transpose(2, 3).flatten(1, 2).flatten(2)  # (P, g², 16)
    return patches.gather(1, cells[..., None].expand(-1, -1, patches.shape[2])).flatten(1)
