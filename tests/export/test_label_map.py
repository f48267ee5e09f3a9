"""Label maps come back exactly from a PNG, and other readers see the same numbers and colours."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from PIL import Image

from ovseg_demo.errors import ImageError
from ovseg_demo.export.label_map import decode_label_map, encode_label_map
from ovseg_demo.visualization.palette import class_colors
from tests.export.samples import label_maps


def names_of(classes: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(classes))


@settings(max_examples=60)
@given(label_maps)
@example((np.full((3, 4), -1, np.int32), 1))
@example((np.arange(-1, 255, dtype=np.int32).reshape(16, 16), 255))
@example((np.arange(-1, 256, dtype=np.int32).reshape(1, 257), 256))
@example((np.arange(-1, 1000, dtype=np.int32).reshape(1, 1001), 1000))
def test_label_maps_come_back_from_png(case):
    label_map, classes = case
    read, names = decode_label_map(encode_label_map(label_map, names_of(classes)))
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, label_map)
    assert names == names_of(classes)


@pytest.mark.parametrize("classes", [1, 3, 15, 16, 200, 255])
def test_the_palette_holds_the_colours_of_the_classes(classes):
    label_map = (np.arange(1600).reshape(40, 40) % (classes + 1) - 1).astype(np.int32)
    image = Image.open(io.BytesIO(encode_label_map(label_map, names_of(classes))))
    assert image.mode == "P"
    colors = np.vstack([[[0, 0, 0]], class_colors(names_of(classes))])
    np.testing.assert_array_equal(np.asarray(image), label_map + 1)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colors[label_map + 1])


def test_label_maps_of_many_classes_are_sixteen_bit_for_other_readers_too():
    label_map = np.arange(-1, 999, dtype=np.int32).reshape(20, 50)
    data = encode_label_map(label_map, names_of(1000))
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert values.dtype == np.uint16
    np.testing.assert_array_equal(values, label_map + 1)


def test_names_in_any_script_travel_with_the_png(tmp_path):
    names = ("猫", 'a "quoted" name', "🍄", "x" * 100)
    path = tmp_path / "map.png"
    path.write_bytes(encode_label_map(np.zeros((2, 2), np.int32), names))
    assert decode_label_map(path)[1] == names
    long_names = tuple("🍄" * 96 + f"{index:04d}" for index in range(1000))
    assert decode_label_map(encode_label_map(np.zeros((2, 2), np.int32), long_names))[1] == long_names


def test_another_png_is_refused(tmp_path):
    Image.new("L", (4, 3)).save(tmp_path / "other.png")
    with pytest.raises(ImageError, match='no text "classes"'):
        decode_label_map(tmp_path / "other.png")
