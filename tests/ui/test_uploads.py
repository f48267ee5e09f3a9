"""Visitors' images in memory."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.ui.settings import PageSettings
from ovseg_demo.ui.uploads import ImageStore, display_jpeg
from tests.ui.colour_world import landscape, save_image


def test_an_image_is_kept_and_scaled_down_once(tmp_path):
    path = save_image(tmp_path / "a.png", landscape(80, 60))
    images = ImageStore(PageSettings(max_side=40))
    image = images.open(str(path), 1)
    assert (image.width, image.height, image.original_size) == (40, 30, (80, 60))
    assert images.pixels(image) is images.pixels(image)


def test_what_made_room_is_read_again_while_its_file_is_there(tmp_path):
    path = save_image(tmp_path / "a.png", landscape(80, 60))
    images = ImageStore(replace(PageSettings(), kept_images=10))
    image = images.open(str(path), 1)
    np.testing.assert_array_equal(images.pixels(image), landscape(80, 60))
    path.unlink()
    with pytest.raises(ImageError, match="choose it again"):
        images.pixels(image)


def test_the_operators_limit_on_pixels_holds(tmp_path):
    path = save_image(tmp_path / "a.png", landscape(80, 60))
    with pytest.raises(ImageError, match="scale it down"):
        ImageStore(PageSettings(max_pixels=4000)).open(str(path), 1)


def test_browsers_get_at_most_1600_pixels_a_side(tmp_path):
    (tmp_path / "a.jpg").write_bytes(display_jpeg(np.zeros((100, 3200, 3), np.uint8)))
    assert Image.open(tmp_path / "a.jpg").size == (1600, 50)
