"""Class colours: the same for a name in every list, never shared, distinct with any colour vision."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovseg_demo.visualization.palette import (
    BLACK,
    PRIMARY,
    WHITE,
    class_colors,
    distinct_colors,
    hex_color,
    secondary_colors,
    text_color,
)
from tests.visualization.color_vision import ciede2000, lab

NAMES = ["saturn v", "toys", "desk", "wall", "sunflowers", "white roses", "chrysanthemums", "carnations"]
word_lists = st.lists(st.text(min_size=1, max_size=20), max_size=40)


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_yardstick_agrees_with_published_pairs(first, second, difference):
    """Pairs of Sharma, Wu and Dalal's table."""
    assert ciede2000(np.array(first), np.array(second)) == pytest.approx(difference, abs=5e-5)


@pytest.mark.parametrize(
    ("vision", "floor"),
    [("normal", 19.9), ("deuteranopia", 13.2), ("protanopia", 12.45), ("tritanopia", 11.2)],
)
def test_primary_colours_are_distinguishable(vision, floor):
    colors = lab(np.array(PRIMARY), vision)
    difference = ciede2000(colors[:, None], colors[None])
    assert difference[~np.eye(len(PRIMARY), dtype=bool)].min() >= floor


def test_short_lists_use_primary_colours_only():
    assert {tuple(color) for color in class_colors([*NAMES, *"abcdef"])} == set(PRIMARY)


@given(word_lists)
def test_colours_of_a_list_differ_and_do_not_depend_on_what_comes_after(names):
    colors = class_colors(names)
    assert colors.shape == (len(names), 3)
    assert colors.dtype == np.uint8
    assert len(np.unique(colors, axis=0)) == len(names)
    half = len(names) // 2
    np.testing.assert_array_equal(class_colors(names[:half]), colors[:half])


def test_a_thousand_names_get_a_thousand_colours():
    assert len(np.unique(class_colors([f"class {i}" for i in range(1000)]), axis=0)) == 1000
    assert len(np.unique(class_colors(["same"] * 1000), axis=0)) == 1000


def test_more_names_than_colours_get_colours_again():
    names = [f"class {index}" for index in range(2100)]
    colors = class_colors(names)
    assert len(np.unique(colors[:1035], axis=0)) == len(np.unique(colors, axis=0)) == 1035
    np.testing.assert_array_equal(class_colors(names[:1500]), colors[:1500])


def test_a_name_keeps_its_colour_in_other_lists():
    """Only where two names want the same colour does the later one move on, which is rare in short lists."""
    alone = {name: tuple(class_colors([name])[0]) for name in NAMES}
    pairs = [(first, second) for first in NAMES for second in NAMES if first != second]
    kept = [tuple(class_colors(pair)[1]) == alone[pair[1]] for pair in pairs]
    wanted_by_both = [alone[first] == alone[second] for first, second in pairs]
    assert [not clash for clash in wanted_by_both] == kept
    assert sum(kept) >= 0.8 * len(pairs)


@pytest.mark.parametrize("other", ["Saturn V", " saturn  v ", "SATURN V", "ｓaturn v"])
def test_spelling_variants_share_a_colour(other):
    np.testing.assert_array_equal(class_colors([other]), class_colors(["saturn v"]))


def test_colours_are_the_same_in_another_process():
    code = (
        f"from ovseg_demo.visualization.palette import class_colors; print(class_colors({NAMES!r}).tolist())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == str(class_colors(NAMES).tolist())


def test_no_names_have_no_colours():
    assert class_colors([]).shape == (0, 3)


def test_lone_surrogates_have_a_colour():
    assert class_colors(["\ud800"]).shape == (1, 3)


def test_secondary_colours_repeat_nothing():
    assert len(set(PRIMARY) | set(secondary_colors())) == len(PRIMARY) + 1021


def test_distinct_colors_start_with_the_primary_ones():
    np.testing.assert_array_equal(distinct_colors(len(PRIMARY)), PRIMARY)
    assert len(np.unique(distinct_colors(1000), axis=0)) == 1000
    assert distinct_colors(5000).shape == (5000, 3)
    assert distinct_colors(0).shape == (0, 3)


@pytest.mark.parametrize(
    ("background", "expected"), [(WHITE, BLACK), (BLACK, WHITE), ((255, 225, 0), BLACK), ((0, 0, 139), WHITE)]
)
def test_text_contrasts_with_its_background(background, expected):
    assert text_color(background) == expected


def test_hex_colors():
    assert hex_color(np.array([0, 105, 255], np.uint8)) == "#0069ff"
