"""How many points Segment Anything is asked at."""

from __future__ import annotations

from ovseg_demo.errors import ModelError

AUTO = "auto"

POINTS_PER_SIDE = {"cpu": 16, "cuda": 32, "mps": 32}
"""Points along each side of the grid that "auto" takes: 256 points on a CPU, 1,024 on a GPU."""

CELLS_PER_POINT = 2
"""Along each axis, for "auto": points that lie closer in the image embedding mostly find the same masks."""


def resolve_points_per_side(points_per_side: int | str, device_type: str, grid_size: int) -> int:
    """Return the number of points along each side of the grid.

    Args:
        points_per_side: a number, or "auto" for :data:`POINTS_PER_SIDE` of the device, with at least
            :data:`CELLS_PER_POINT` cells of the image embedding from point to point.
        device_type: "cpu", "cuda" or "mps".
        grid_size: cells along a side of the image embedding.

    Raises:
        ModelError: neither a number nor "auto", or a number below 1.
    """
    if points_per_side == AUTO:
        return max(1, min(POINTS_PER_SIDE[device_type], grid_size // CELLS_PER_POINT))
    if isinstance(points_per_side, str):
        raise ModelError(f'points_per_side is "{points_per_side}"; give a number or "{AUTO}".')
    if points_per_side < 1:
        raise ModelError(f'points_per_side is {points_per_side}; it must be at least 1, or "{AUTO}".')
    return points_per_side
