"""The overlay image: the exact map, and a legend beside or below it."""

import threading

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.visualization.legend import legend_entries
from ovseg_demo.visualization.overlay import overlay_array
from ovseg_demo.visualization.palette import class_colors
from ovseg_demo.visualization.rendering import PRINT_SIDE, render_overlay

NAMES = ("desk", "saturn v")


def scene(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    label_map = np.full((height, width), -1, np.int32)
    label_map[: height // 2] = 0
    areas = [np.count_nonzero(label_map == index) for index in range(2)]
    return image, label_map, legend_entries(NAMES, areas, [0.9, 0.0], [0.9, 0.2], label_map.size)


@pytest.mark.parametrize(
    ("size", "factor"), [((1200, 1600), 1), ((1599, 800), 2), ((64, 96), 17), ((2000, 20), 1), ((8, 800), 2)]
)
def test_small_images_are_enlarged_by_a_whole_number(size, factor):
    rendered = render_overlay(*scene(*size))
    assert rendered.mode == "RGB"
    height, width = size
    beside = rendered.height == height * factor and rendered.width > width * factor
    below = rendered.width == width * factor and rendered.height > height * factor
    assert beside or below
    assert max(size) * factor >= PRINT_SIDE


def test_the_map_is_painted_exactly_and_the_legend_keeps_off_it():
    image, label_map, entries = scene(1200, 1600)
    rendered = np.asarray(render_overlay(image, label_map, entries, opacity=0.4))
    painted = overlay_array(image, label_map, class_colors(NAMES), opacity=0.4)
    np.testing.assert_array_equal(rendered[:1200, :1600], painted)
    assert (rendered[:, 1600:] == class_colors(NAMES)[0]).all(axis=2).any()


def test_outlines_and_labels_can_be_chosen():
    arguments = scene(1200, 1600)
    plain, outlined, labelled = (
        np.asarray(render_overlay(*arguments, outlines=outlines, labels=labels))
        for outlines, labels in [(False, False), (True, False), (False, True)]
    )
    assert (plain != outlined).any()
    assert (plain != labelled).any()
    changed = (plain != labelled).any(axis=2)
    assert changed[300, 800], "the name stands in the middle of its region"
    assert not changed[600:].any(), "the class that was not found is not written into the map"


def test_an_image_without_any_class_has_an_empty_legend():
    image = np.zeros((1200, 1600, 3), np.uint8)
    rendered = render_overlay(image, np.full((1200, 1600), -1, np.int32), ())
    assert not np.asarray(rendered)[:1200, :1600].any()


def test_rendering_is_lossless_through_png(tmp_path):
    rendered = render_overlay(*scene(64, 96), labels=True)
    rendered.save(tmp_path / "overlay.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "overlay.png")), np.asarray(rendered))


def test_several_threads_render_the_same():
    arguments = scene(64, 96)
    expected = np.asarray(render_overlay(*arguments, labels=True))
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(np.asarray(render_overlay(*arguments, labels=True))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, expected)
