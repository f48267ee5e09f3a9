"""Masks on the grid of a tower's features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import upload

_MASKS_AT_ONCE = 4
"""How many masks are unpacked, and resized, at the same time."""


def masks_on_grid(
    proposals: Proposals, weigh: Callable[[Tensor], Tensor], device: torch.device | str = "cpu"
) -> Tensor:
    """Return the weight of each cell for each mask: float32 (N, h, w).

    Args:
        proposals: N masks.
        weigh: turns masks of the working size, bool (n, 1, H, W), into weights, float32 (n, 1, h, w).
        device: where the work is done.
    """
    parts = [
        weigh(upload(proposals.unpack(slice(start, start + _MASKS_AT_ONCE)), device)[:, None])[:, 0]
        for start in range(0, len(proposals), _MASKS_AT_ONCE)
    ]
    return torch.cat(parts)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (n, c, H, W), numbers or bool, resized to (h, w): float32, bilinear, without antialiasing.

    Only the four pixels around each cell's centre count.
    """
    return F.interpolate(maps.float(), size, mode="bilinear", align_corners=False)


def take_nearest_cell(
    weights: Tensor, proposals: Proposals, cells_per_pixel: tuple[float, float]
) -> tuple[int, ...]:
    """Give each mask without any weight that of the cell in which its box has its centre, in place.

    Args:
        weights: float32 (N, h, w).
        proposals: the N masks.
        cells_per_pixel: cells of the grid per working pixel, along rows and columns.

    Returns:
        The indices of the masks that had no weight.
    """
    empty = (~weights.flatten(1).any(dim=1)).nonzero()[:, 0].tolist()
    for index in empty:
        x0, y0, x1, y1 = proposals.boxes[index].tolist()
        row, column = (
            min(int((first + last) / 2 * scale), length - 1)
            for first, last, scale, length in zip(
                (y0, x0), (y1, x1), cells_per_pixel, weights.shape[1:], strict=True
            )
        )
        weights[index, row, column] = 1
    return tuple(empty)
