"""Simplified polygons stay within the tolerance and keep their small parts."""

import numpy as np
import pytest
from pycocotools import mask as coco

from ovseg_demo.export.coco import flat_points
from ovseg_demo.export.polygons import trace_polygons
from ovseg_demo.export.simplification import simplify
from tests.export.samples import SHAPES


def disc(rows, columns, row, column, radius):
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def rings_of_discs():
    """A disc with two round holes, one of them behind the other, and a small one."""
    rows, columns = np.indices((200, 200))
    label_map = np.where(disc(rows, columns, 99, 90, 80), 0, -1)
    for row, column, radius in ((99, 50, 20), (105, 110, 25), (40, 90, 1.5)):
        label_map[disc(rows, columns, row, column, radius)] = -1
    return label_map.astype(np.int32)


def distances(points, line):
    """The distance of each point from a closed line."""
    start, end = line, np.roll(line, -1, axis=0)
    lengths = np.linalg.norm(end - start, axis=1)
    along = (end - start) / lengths[:, None]
    relative = points[:, None] - start
    place = np.clip((relative * along).sum(-1), 0, lengths)
    return np.linalg.norm(relative - place[..., None] * along, axis=-1).min(axis=1)


@pytest.mark.parametrize("tolerance", [0.75, 1.5, 4])
def test_a_simplified_ring_stays_within_the_tolerance(tolerance):
    (polygon,) = trace_polygons(rings_of_discs())
    simple = simplify(polygon, tolerance)
    for ring, exact in zip((simple.exterior, *simple.holes), (polygon.exterior, *polygon.holes), strict=True):
        assert distances(exact.points, ring.points).max() <= tolerance
        if len(exact.points) > 50:
            assert len(ring.points) < 0.6 * len(exact.points)


@pytest.mark.parametrize("tolerance", [0.75, 1.5, 4])
def test_holes_stay_holes(tolerance):
    label_map = rings_of_discs()
    (polygon,) = trace_polygons(label_map)
    ring = flat_points(simplify(polygon, tolerance).cut_open())
    mask = coco.decode(coco.merge(coco.frPyObjects([ring], *label_map.shape))) > 0
    expected = label_map == 0
    differing = np.count_nonzero(mask != expected)
    border = sum(len(one.points) for one in (polygon.exterior, *polygon.holes)) * 2
    assert differing <= border * tolerance
    assert np.count_nonzero(mask & expected) / np.count_nonzero(mask | expected) > 0.95


@pytest.mark.parametrize("name", ["one pixel", "a chessboard", "noise", "many holes in a row"])
def test_small_parts_keep_all_their_points(name):
    for polygon in trace_polygons(SHAPES[name]):
        simple = simplify(polygon, 10)
        np.testing.assert_array_equal(simple.cut_open().points, polygon.cut_open().points)
