"""Polygons with fewer points, for people who edit them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ovseg_demo.export.polygons import Polygon, Ring

_SMALLEST = 4  # tolerances; of a ring that is less wide or high, little would be left


def simplify(polygon: Polygon, tolerance: float) -> Polygon:
    """Return the polygon without the points that lie within ``tolerance`` of the line without them.

    This is Douglas and Peucker's algorithm on each ring. The ends of the edges that cuts meet stay, and so do
    all points of a ring that is less than four tolerances wide or high. The rings' ``inward`` is 0.

    Args:
        polygon: along the edges of pixels.
        tolerance: in pixels.
    """
    rings = (polygon.exterior, *polygon.holes)
    fixed: list[set[int]] = [set() for _ in rings]
    for number, cut in enumerate(polygon.cuts, start=1):
        fixed[number] |= {0, len(rings[number].points) - 1}
        fixed[cut.ring] |= {cut.edge, (cut.edge + 1) % len(rings[cut.ring].points)}
    simple, places = [], []
    for ring, corners in zip(rings, fixed, strict=True):
        points, place = _simplify_line(ring.points, sorted(corners), tolerance)
        simple.append(Ring(points, np.zeros(points.shape, np.int8)))
        places.append(place)
    cuts = tuple(cut._replace(edge=places[cut.ring][cut.edge]) for cut in polygon.cuts)
    return Polygon(polygon.label, simple[0], tuple(simple[1:]), cuts)


def _simplify_line(
    points: np.ndarray, fixed: Sequence[int], tolerance: float
) -> tuple[np.ndarray, dict[int, int]]:
    """Return a closed line with fewer points, and where the fixed points are in it."""
    if np.ptp(points, axis=0).min() < _SMALLEST * tolerance:
        return points, {index: index for index in fixed}
    if not fixed:
        return _approximate(points, tolerance, closed=True), {}
    pieces, places, count = [], {}, 0
    for start, end in zip(fixed, [*fixed[1:], fixed[0] + len(points)], strict=True):
        piece = points[np.arange(start, end + 1) % len(points)]
        pieces.append(_approximate(piece, tolerance, closed=False)[:-1])
        places[start] = count
        count += len(pieces[-1])
    return np.concatenate(pieces), places


def _approximate(points: np.ndarray, tolerance: float, closed: bool) -> np.ndarray:
    return cv2.approxPolyDP(points.astype(np.float32)[:, None], tolerance, closed)[:, 0].astype(np.float64)
