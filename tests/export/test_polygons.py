"""Polygons cover exactly the pixels of their classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from pycocotools import mask as coco

from ovseg_demo.export.coco import flat_points
from ovseg_demo.export.polygons import trace_polygons
from tests.export.samples import SHAPES, label_maps


def decode(points: list[float], shape: tuple[int, int]) -> np.ndarray:
    return coco.decode(coco.merge(coco.frPyObjects([points], *shape))).astype(bool)


def labels_of(polygons, shape):
    """The label map of polygons; none may cover a pixel of another."""
    label_map = np.full(shape, -1, np.int32)
    for polygon in polygons:
        mask = decode(flat_points(polygon.cut_open()), shape)
        assert (label_map[mask] == -1).all()
        label_map[mask] = polygon.label
    return label_map


def signed_area(ring):
    """Positive where the ring goes clockwise as seen."""
    (x, y), (next_x, next_y) = ring.points.T, np.roll(ring.points, -1, axis=0).T
    return (x @ next_y - next_x @ y) / 2


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_come_back(name):
    np.testing.assert_array_equal(labels_of(trace_polygons(SHAPES[name]), SHAPES[name].shape), SHAPES[name])


@settings(max_examples=60)
@given(label_maps)
def test_any_label_map_comes_back(case):
    label_map, _ = case
    np.testing.assert_array_equal(labels_of(trace_polygons(label_map), label_map.shape), label_map)


def test_a_part_has_one_polygon_with_its_holes():
    polygons = trace_polygons(SHAPES["islands in a ring"])
    assert [(polygon.label, len(polygon.holes)) for polygon in polygons] == [(0, 1), (0, 0), (1, 2), (2, 0)]
    outer = polygons[0]
    assert sorted(outer.exterior.points.tolist()) == [[3, 2], [3, 22], [27, 2], [27, 22]]
    assert sorted(outer.holes[0].points.tolist()) == [[6, 5], [6, 19], [24, 5], [24, 19]]
    assert (signed_area(outer.exterior), signed_area(outer.holes[0])) == (24 * 20, -18 * 14)


def test_parts_that_touch_at_a_corner_are_two_polygons():
    assert len(trace_polygons(SHAPES["parts that touch at a corner"])) == 2
    (square, *_) = trace_polygons(SHAPES["holes that touch at a corner"])
    assert len(square.holes) == 1, "around its holes the region is connected; the two holes are one"


def test_large_maps_are_traced_in_blocks(monkeypatch):
    monkeypatch.setattr("ovseg_demo.export.polygons._BLOCK", 100)
    np.testing.assert_array_equal(
        labels_of(trace_polygons(SHAPES["noise"]), SHAPES["noise"].shape), SHAPES["noise"]
    )
