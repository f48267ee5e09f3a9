"""The entries of a legend, their order, and that it can be drawn for any number of any names."""

import numpy as np
import pytest

from ovseg_demo.visualization.legend import MAX_NOT_FOUND, draw_legend, legend_entries
from ovseg_demo.visualization.palette import class_colors

NAMES = ("desk", "saturn v", "wall", "tea", "cup")


def entries_of(names, areas=None, scores=None, best_scores=None, pixels=10_000):
    count = len(names)
    areas = np.arange(1, count + 1) if areas is None else areas
    return legend_entries(
        names,
        areas,
        np.full(count, 0.9) if scores is None else scores,
        best_scores or np.full(count, 0.1),
        pixels,
    )


def test_found_classes_come_first_by_area_then_the_others_by_best_score():
    entries = entries_of(
        NAMES, [100, 0, 2500, 0, 100], [0.5, np.nan, 0.7, np.nan, 0.6], [0.9, 0.1, 0.9, 0.3, 0.9], 5000
    )
    assert [entry.name for entry in entries] == ["wall", "cup", "desk", "tea", "saturn v"]
    assert [entry.score for entry in entries] == [0.7, 0.6, 0.5, 0.3, 0.1]
    assert [entry.is_found for entry in entries] == [True, True, True, False, False]
    assert entries[0].share == 0.5
    assert [entry.index for entry in entries] == [2, 4, 0, 3, 1]


def test_an_entry_has_the_colour_of_its_name():
    colors = class_colors(NAMES)
    for entry in entries_of(NAMES):
        assert entry.color == tuple(colors[entry.index])


@pytest.mark.parametrize("count", [0, 1, 8, 200])
@pytest.mark.parametrize(("width", "height"), [(1600, 1200), (16, 1600), (1600, 16)])
def test_a_legend_fits_its_map(count, width, height):
    legend, is_beside = draw_legend(entries_of([f"class {i}" for i in range(count)]), width, height)
    assert legend.dtype == np.uint8
    if is_beside:
        assert legend.shape[0] == height
        assert legend.shape[1] <= 0.6 * max(width, height)
    else:
        assert legend.shape[1] == width or width == 16
    margins = np.concatenate([legend[0], legend[-1], legend[:, 0], legend[:, -1]])
    assert (margins == 255).all(), "something is cut off at an edge"


def test_a_legend_of_hundreds_of_classes_can_be_drawn():
    legend, is_beside = draw_legend(entries_of([f"class {i}" for i in range(400)]), 1600, 1200)
    assert not is_beside
    assert legend.shape[0] < 2400


def test_each_found_class_shows_its_colour():
    names = [f"class {i}" for i in range(40)]
    entries = entries_of(names)
    legend, _ = draw_legend(entries, 1600, 1200)
    for entry in entries:
        assert (legend == entry.color).all(axis=2).sum() > 50


def test_a_class_that_was_not_found_has_a_hollow_swatch():
    found, _ = draw_legend(entries_of(["cup"], [9]), 1600, 1200)
    missing, _ = draw_legend(entries_of(["cup"], [0]), 1600, 1200)
    color = class_colors(["cup"])[0]
    assert 0 < (missing == color).all(axis=2).sum() < (found == color).all(axis=2).sum() / 2


def test_most_of_many_classes_that_were_not_found_are_only_counted():
    names = [f"class {i}" for i in range(MAX_NOT_FOUND + 100)]
    legend, _ = draw_legend(entries_of(names, np.zeros(len(names))), 1600, 1200)
    drawn = sum((legend == color).all(axis=2).any() for color in class_colors(names))
    assert drawn == MAX_NOT_FOUND


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "name", ["$x_1^2", "$\\frac{", "猫", "🍄", "كلب", "a\nb", "", "\ud800", "W" * 100, "<b>&amp;"]
)
def test_any_name_is_drawn_without_a_warning(name):
    legend, _ = draw_legend(entries_of([name, "dog"]), 1600, 1200)
    assert (legend == 255).any()
