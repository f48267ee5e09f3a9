"""Painting on arrays: what is coloured, what stays, where names go."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ovseg_demo.visualization.overlay import (
    draw_labels,
    label_points,
    overlay_array,
)
from ovseg_demo.visualization.palette import class_colors

GREY = np.full((40, 60, 3), 100, np.uint8)
COLORS = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)


def two_squares() -> np.ndarray:
    label_map = np.full((40, 60), -1, np.int32)
    label_map[8:32, 4:28] = 0
    label_map[8:32, 28:52] = 1
    return label_map


def test_colours_are_mixed_in_by_opacity_and_unlabelled_pixels_stay():
    result = overlay_array(GREY, two_squares(), COLORS, opacity=0.5, outlines=False)
    expected = GREY.copy()
    expected[8:32, 4:28] = (178, 50, 50)
    expected[8:32, 28:52] = (50, 50, 178)
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert (result[two_squares() < 0] == 100).all()


def test_full_and_no_opacity():
    painted = overlay_array(GREY, two_squares(), COLORS, opacity=1, outlines=False)
    assert (painted[8:32, 4:28] == COLORS[0]).all()
    np.testing.assert_array_equal(overlay_array(GREY, two_squares(), COLORS, opacity=0, outlines=False), GREY)


def test_outlines_edge_regions_in_full_colour_with_a_white_line_between():
    result = overlay_array(GREY, two_squares(), COLORS, opacity=0.5, outlines=True)
    row = result[20]
    assert (row[6] == COLORS[0]).all()  # inside the left edge
    assert (row[49] == COLORS[1]).all()  # inside the right edge
    white = (row == 255).all(axis=1)
    assert white[26:30].any()
    assert white.sum() == 3  # left edge, where the two meet, right edge
    assert (row[16] == overlay_array(GREY, two_squares(), COLORS, opacity=0.5, outlines=False)[20, 16]).all()


def test_the_image_itself_is_left_alone():
    image = GREY.copy()
    overlay_array(image, two_squares(), COLORS)
    draw_labels(image, two_squares(), ["a", "b"], COLORS)
    np.testing.assert_array_equal(image, GREY)


@pytest.mark.parametrize("classes", [0, 1, 255, 256, 1000])
def test_any_number_of_classes_is_painted_exactly(classes):
    label_map = (np.arange(40 * 60).reshape(40, 60) % (classes + 1) - 1).astype(np.int32)
    colors = class_colors([f"class {index}" for index in range(classes)])
    result = overlay_array(GREY, label_map, colors, opacity=1, outlines=False)
    expected = np.vstack([colors, [[100, 100, 100]]])[label_map]
    np.testing.assert_array_equal(result, expected)


def test_a_map_without_labels_shows_the_image():
    nothing = np.full((40, 60), -1, np.int32)
    np.testing.assert_array_equal(overlay_array(GREY, nothing, COLORS), GREY)
    np.testing.assert_array_equal(draw_labels(GREY, nothing, ["a", "b"], COLORS), GREY)
    assert label_points(nothing) == {}


def test_names_go_into_the_largest_region_away_from_its_edge():
    label_map = np.full((100, 200), -1, np.int32)
    label_map[10:20, 10:20] = 0
    label_map[30:91, 100:161] = 0
    label_map[0:5, 0:5] = 1
    points = label_points(label_map)
    assert list(points) == [0, 1]
    assert points[0] == (130, 60)
    assert points[1] == (2, 2)


def test_names_of_long_regions_stand_in_their_middle():
    x, y = label_points(np.zeros((100, 300), np.int32))[0]
    assert abs(x - 150) <= 1
    assert abs(y - 50) <= 1


def test_a_ring_is_named_on_its_band_and_not_in_its_hole():
    label_map = np.full((101, 101), 1, np.int32)
    label_map[20:81, 20:81] = -1
    x, y = label_points(label_map)[1]
    assert label_map[y, x] == 1


@settings(max_examples=30)
@given(
    arrays(np.int32, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(-1, 4)),
    st.booleans(),
)
def test_every_class_is_named_on_one_of_its_own_pixels(label_map, is_large):
    if is_large:
        label_map = label_map.repeat(35, axis=0).repeat(35, axis=1)
    points = label_points(label_map)
    assert set(points) == set(np.unique(label_map)) - {-1}
    for index, (x, y) in points.items():
        assert label_map[y, x] == index


@pytest.mark.parametrize("name", ["dog", "", "猫" * 50, "x" * 1000, "$a_b$", "a\nb", "🍄", "\ud800"])
@pytest.mark.parametrize("shape", [(8, 8), (40, 60), (8, 400)])
def test_any_name_can_be_written_on_any_map(name, shape):
    image = np.zeros((*shape, 3), np.uint8)
    result = draw_labels(image, np.zeros(shape, np.int32), [name], COLORS[:1])
    assert result.shape == image.shape
    assert (result == COLORS[0]).all(axis=2).any()


def test_names_do_not_cover_each_other():
    label_map = np.zeros((200, 300), np.int32)
    label_map[:, 150:] = 1
    result = draw_labels(np.zeros((200, 300, 3), np.uint8), label_map, ["left", "right"], COLORS)
    red, blue = ((result == color).all(axis=2) for color in COLORS)
    assert red[:, :150].any() and not red[:, 150:].any()
    assert blue[:, 150:].any() and not blue[:, :150].any()
