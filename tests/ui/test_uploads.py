"""Visitors' images."""

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.uploads import display_jpeg, open_upload
from tests.ui.colour_world import landscape, save_image


def test_large_images_are_scaled_down_and_keep_their_original_size(tmp_path):
    path = save_image(tmp_path / "a.png", landscape(80, 60))
    image, pixels = open_upload(str(path), 1, PageSettings(max_side=40))
    assert (image.width, image.height, image.original_size) == (40, 30, (80, 60))
    assert pixels.shape == (30, 40, 3)
    image, pixels = open_upload(str(path), 2, PageSettings())
    assert image.original_size is None
    np.testing.assert_array_equal(pixels, landscape(80, 60))


def test_a_file_that_was_deleted_is_asked_for_again(tmp_path):
    with pytest.raises(ImageError, match="choose it again"):
        open_upload(str(tmp_path / "gone.png"), 1, PageSettings())


def test_the_operators_limit_on_pixels_holds(tmp_path):
    path = save_image(tmp_path / "a.png", landscape(80, 60))
    with pytest.raises(ImageError, match="scale it down"):
        open_upload(str(path), 1, PageSettings(max_pixels=4000))


def test_browsers_get_at_most_1600_pixels_a_side(tmp_path):
    (tmp_path / "a.jpg").write_bytes(display_jpeg(np.zeros((100, 3200, 3), np.uint8)))
    assert Image.open(tmp_path / "a.jpg").size == (1600, 50)
