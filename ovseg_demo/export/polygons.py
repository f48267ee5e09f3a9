"""The regions of a label map as polygons along the edges of its pixels.

A polygon is a connected part of a class: an outer ring and the rings of its holes. Pixels are connected along
their sides, so two parts that touch at a corner are two polygons, and no ring touches itself. The corners of
a polygon are corners of pixels; (0, 0) is the upper left corner of the first pixel. A polygon therefore
covers exactly the pixels of its part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

_BLOCK = 2**21  # corners of pixels that are compared together
_BELOW = 0.25  # of a pixel: the distance of a cut from the upper end of the hole's edge that it meets


class Ring(NamedTuple):
    """A closed line along the edges of pixels; the first point follows the last.

    Attributes:
        points: float64 (n, 2), columns and rows.
        inward: int8 (n, 2), for each point and axis the direction in which the region lies, −1 or 1; 0 where
            the line goes on in the direction of the other axis.
    """

    points: np.ndarray
    inward: np.ndarray


class Cut(NamedTuple):
    """The place where the line from a hole to the left meets another ring.

    Attributes:
        ring: the number of that ring: 0 for the outer ring, or 1 + the index of a hole.
        edge: the index of the point before the place.
        column: the column of the place.
    """

    ring: int
    edge: int
    column: int


@dataclass(frozen=True, eq=False)
class Polygon:
    """A connected part of a class.

    Attributes:
        label: the index of the class.
        exterior: the outer ring, clockwise as seen.
        holes: the rings of the holes, counter-clockwise, from left to right. The last point of each is the
            upper end of its left edge.
        cuts: for each hole, where a cut to the left ends: on the outer ring or on an earlier hole.
    """

    label: int
    exterior: Ring
    holes: tuple[Ring, ...] = ()
    cuts: tuple[Cut, ...] = ()

    def cut_open(self) -> Ring:
        """Return the outer ring and the holes as one ring, for formats without holes.

        From each hole a horizontal cut of no width leads to the left, to another ring; the ring goes along
        it in both directions.
        """
        detours: list[list[tuple[int, float, Ring]]] = [[] for _ in range(1 + len(self.holes))]
        for number in range(len(self.holes), 0, -1):  # whatever hangs on a hole comes after it
            hole, cut = self.holes[number - 1], self.cuts[number - 1]
            column, row = hole.points[-1] + (0, _BELOW)
            there = Ring(np.array([(cut.column, row), (column, row)]), np.array([(1, 0), (-1, 0)], np.int8))
            back = Ring(there.points[::-1], there.inward[::-1])
            loop = _join([there, _with_detours(hole, detours[number]), back])
            detours[cut.ring].append((cut.edge, -row, loop))  # the edge goes up
        return _with_detours(self.exterior, detours[0])


def trace_polygons(label_map: np.ndarray) -> list[Polygon]:
    """Return the connected parts of all classes, ordered by class and then from top to bottom.

    Memory grows with the pixels' corners at which the classes' borders turn, not with the number of classes.

    Args:
        label_map: int32 (H, W), class indices, or −1.
    """
    corners = _find_corners(label_map)
    rings = _close_rings(corners)
    return _assemble(label_map, corners, rings)


# ---- corners

_LEFT_UP, _RIGHT_DOWN = -1, 1


class _Corners(NamedTuple):
    """The n corners of the borders of all classes; an array each.

    Attributes:
        label: int32, the class.
        x, y: int32, column and row.
        quadrant: int8, where the pixel lies of which this is a corner, or, if the class has the three pixels
            around the corner, the middle one: 0 upper left, 1 upper right, 2 lower left, 3 lower right.
        is_convex: bool, whether the class has one pixel at this corner rather than three.
    """

    label: np.ndarray
    x: np.ndarray
    y: np.ndarray
    quadrant: np.ndarray
    is_convex: np.ndarray

    @property
    def inward_x(self) -> np.ndarray:
        """Where the class lies, seen from the vertical edge of the corner."""
        return np.where(self.quadrant & 1, _RIGHT_DOWN, _LEFT_UP)

    @property
    def inward_y(self) -> np.ndarray:
        """Where the class lies, seen from the horizontal edge of the corner."""
        return np.where(self.quadrant & 2, _RIGHT_DOWN, _LEFT_UP)

    @property
    def horizontal_side(self) -> np.ndarray:
        """On which side of the corner its horizontal edge lies."""
        return np.where(self.is_convex, self.inward_x, -self.inward_x)

    @property
    def vertical_side(self) -> np.ndarray:
        """On which side of the corner its vertical edge lies."""
        return np.where(self.is_convex, self.inward_y, -self.inward_y)

    @property
    def leaves_horizontally(self) -> np.ndarray:
        """Whether a border that has its class on the right leaves the corner along the horizontal edge."""
        return self.horizontal_side == self.inward_y


def _find_corners(label_map: np.ndarray) -> _Corners:
    height, width = label_map.shape
    found = []
    rows = max(1, _BLOCK // (width + 1))
    for top in range(0, height + 1, rows):
        bottom = min(top + rows, height + 1)
        block = np.full((bottom - top + 1, width + 2), -1, np.int32)
        inside = label_map[max(0, top - 1) : bottom]
        block[(top == 0) : (top == 0) + len(inside), 1:-1] = inside
        found += _corners_of(block, top)
    return _Corners(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _corners_of(block: np.ndarray, top: int) -> list[tuple[np.ndarray, ...]]:
    """Return the corners between the pixels of a block; the first row of corners is number ``top``."""
    around = (block[:-1, :-1], block[:-1, 1:], block[1:, :-1], block[1:, 1:])
    turns = (around[0] != around[1]) | (around[2] != around[3])
    turns &= (around[0] != around[2]) | (around[1] != around[3])
    y, x = np.nonzero(turns)
    labels = [quarter[y, x] for quarter in around]
    found = []
    for quadrant in range(4):
        label = labels[quadrant]
        same_row, same_column, opposite = (label == labels[quadrant ^ bits] for bits in (1, 2, 3))
        is_convex = ~same_row & ~same_column
        is_corner = (is_convex | (same_row & same_column & ~opposite)) & (label >= 0)
        count = np.count_nonzero(is_corner)
        found.append(
            (
                label[is_corner],
                x[is_corner].astype(np.int32),
                (y[is_corner] + top).astype(np.int32),
                np.full(count, quadrant, np.int8),
                is_convex[is_corner],
            )
        )
    return found


# ---- rings


def _close_rings(corners: _Corners) -> list[np.ndarray]:
    """Return the corners of each ring in order, the class on the right.

    Along a line of the grid the corners of a class are the ends of its edges, two for each edge.
    """
    horizontal = _partners(corners.label, corners.y, corners.x, corners.horizontal_side)
    vertical = _partners(corners.label, corners.x, corners.y, corners.vertical_side)
    following = np.where(corners.leaves_horizontally, horizontal, vertical).tolist()
    is_done = bytearray(len(following))
    rings = []
    for first in range(len(following)):
        if is_done[first]:
            continue
        ring, corner = [], first
        while not is_done[corner]:
            is_done[corner] = True
            ring.append(corner)
            corner = following[corner]
        rings.append(np.array(ring))
    return rings


def _partners(label: np.ndarray, line: np.ndarray, place: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return for each corner the other end of its edge along the lines of one direction."""
    order = np.lexsort((side, place, line, label))
    partners = np.empty_like(order)
    partners[order[0::2]] = order[1::2]
    partners[order[1::2]] = order[0::2]
    return partners


def _find_holes(corners: _Corners, rings: Sequence[np.ndarray]) -> list[int]:
    """Return the numbers of the rings that go counter-clockwise as seen: their signed areas are negative."""
    starts = np.cumsum([0, *(len(ring) for ring in rings[:-1])])
    here, there = np.concatenate(rings), np.concatenate([np.roll(ring, -1) for ring in rings])
    x, y = corners.x.astype(np.int64), corners.y.astype(np.int64)
    areas = np.add.reduceat(x[here] * y[there] - x[there] * y[here], starts)
    return np.flatnonzero(areas < 0).tolist()


# ---- polygons


class _UpwardEdges:
    """Finds the edge that a line to the left meets: one with its class to the right of it.

    Args:
        corners: all corners.
        rings: the corners of each ring.
        shape: (H, W) of the label map.
    """

    def __init__(self, corners: _Corners, rings: Sequence[np.ndarray], shape: tuple[int, int]):
        self._shape = shape
        lengths = [len(ring) for ring in rings]
        starts = np.concatenate(rings)
        ends = np.concatenate([np.roll(ring, -1) for ring in rings])
        is_upward = (corners.x[starts] == corners.x[ends]) & (corners.y[ends] < corners.y[starts])
        keys = self._key(corners.label[ends], corners.x[ends], corners.y[ends])[is_upward]
        order = np.argsort(keys)
        self._keys = keys[order]
        self._rings = np.repeat(np.arange(len(rings)), lengths)[is_upward][order]
        self._places = np.concatenate([np.arange(length) for length in lengths])[is_upward][order]

    def find(self, label: int, x: int, y: int) -> tuple[int, int]:
        """Return the ring of the edge at ``x`` in row ``y``, and the place of its first corner in it."""
        found = np.searchsorted(self._keys, self._key(label, x, y), "right") - 1
        return int(self._rings[found]), int(self._places[found])

    def _key(self, label: np.ndarray | int, x: np.ndarray | int, y: np.ndarray | int) -> np.ndarray:
        height, width = self._shape
        return (np.asarray(label, np.int64) * (width + 1) + x) * (height + 1) + y


def _assemble(label_map: np.ndarray, corners: _Corners, rings: list[np.ndarray]) -> list[Polygon]:
    """Return the polygons of all rings."""
    if not rings:
        return []
    holes = _find_holes(corners, rings)
    for number in holes:
        ring = rings[number]
        upper_left = np.lexsort((corners.y[ring], corners.x[ring]))[0]
        rings[number] = np.roll(ring, -1 - upper_left)
    edges = _UpwardEdges(corners, rings, label_map.shape)
    members = {number: [number] for number in range(len(rings))}  # of each outer ring: itself, then its holes
    owners = {number: (number, 0) for number in range(len(rings))}  # the outer ring, and the index in members
    cuts: dict[int, list[Cut]] = {number: [] for number in range(len(rings))}
    for number in holes:
        del members[number]
    for number in sorted(holes, key=lambda number: corners.x[rings[number][-1]]):
        last = rings[number][-1]
        label, x, y = int(corners.label[last]), int(corners.x[last]), int(corners.y[last])
        others = np.flatnonzero(label_map[y, :x] != label)
        column = int(others[-1]) + 1 if len(others) else 0
        ring, edge = edges.find(label, column, y)
        owner, index = owners[ring]
        owners[number] = owner, len(members[owner])
        members[owner].append(number)
        cuts[owner].append(Cut(index, edge, column))
    points = np.column_stack([corners.x, corners.y]).astype(np.float64)
    inward = np.column_stack([corners.inward_x, corners.inward_y]).astype(np.int8)
    polygons = []
    for outer, numbers in members.items():
        exterior, *inner = (Ring(points[rings[number]], inward[rings[number]]) for number in numbers)
        label = int(corners.label[rings[outer][0]])
        polygons.append(Polygon(label, exterior, tuple(inner), tuple(cuts[outer])))
    return sorted(polygons, key=_place)


def _place(polygon: Polygon) -> tuple[float, ...]:
    """Return the class, and the row and column of the first corner from the top."""
    points = polygon.exterior.points
    return polygon.label, *points[np.lexsort(points.T)[0], ::-1].tolist()


# ---- cuts


def _with_detours(ring: Ring, detours: Sequence[tuple[int, float, Ring]]) -> Ring:
    """Return a ring that takes each detour after the point with the detour's number."""
    if not detours:
        return ring
    pieces, start = [], 0
    for edge, _, loop in sorted(detours, key=lambda detour: detour[:2]):
        pieces += [Ring(ring.points[start : edge + 1], ring.inward[start : edge + 1]), loop]
        start = edge + 1
    return _join([*pieces, Ring(ring.points[start:], ring.inward[start:])])


def _join(rings: Sequence[Ring]) -> Ring:
    return Ring(*(np.concatenate(parts) for parts in zip(*rings, strict=True)))
