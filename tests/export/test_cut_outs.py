"""Cut-outs laid back at their places give the pixels and the masks of the image."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.export.formats import encode
from tests.export.samples import SHAPES, with_label_map


def lay_back(segmentation, name):
    archive = zipfile.ZipFile(io.BytesIO(encode(segmentation, name)))
    record = json.loads(archive.read("image/cut-outs.json"))
    height, width = segmentation.label_map.shape
    assert record["size"] == [width, height]
    label_map = np.full((height, width), -1, np.int32)
    for entry in record["cut_outs"]:
        cut_out = np.asarray(Image.open(archive.open(f"image/{entry['file']}")))
        left, top, box_width, box_height = entry["box"]
        assert cut_out.shape == (box_height, box_width, 4)
        is_opaque = cut_out[..., 3] == 255
        assert (cut_out[~is_opaque] == 0).all()
        assert is_opaque[[0, -1]].any(axis=1).all() and is_opaque[:, [0, -1]].any(axis=0).all(), "a tight box"
        place = np.s_[top : top + box_height, left : left + box_width]
        np.testing.assert_array_equal(cut_out[is_opaque, :3], segmentation.image[place][is_opaque])
        assert (label_map[place][is_opaque] == -1).all()
        label_map[place][is_opaque] = segmentation.class_names.index(entry["class"])
    assert len(archive.namelist()) == len(record["cut_outs"]) + 1
    return label_map, record


@pytest.mark.parametrize("format_name", ["cut-outs", "cut-outs-parts"])
@pytest.mark.parametrize("name", SHAPES)
def test_cut_outs_come_back(name, format_name):
    label_map, record = lay_back(with_label_map(SHAPES[name]), format_name)
    np.testing.assert_array_equal(label_map, SHAPES[name])
    assert record["left_out"] == 0


def test_one_for_each_class_or_for_each_part():
    segmentation = with_label_map(SHAPES["islands in a ring"])
    classes = [entry["class"] for entry in lay_back(segmentation, "cut-outs")[1]["cut_outs"]]
    assert classes == ["red", "green", "blue"]
    parts = [entry["class"] for entry in lay_back(segmentation, "cut-outs-parts")[1]["cut_outs"]]
    assert parts == ["red", "red", "green", "blue"]


def test_of_very_many_parts_the_largest_are_written():
    label_map = np.full((60, 200), -1, np.int32)
    label_map[::2, ::2] = 0
    label_map[:3, :3] = 1
    _, record = lay_back(with_label_map(label_map), "cut-outs-parts")
    assert len(record["cut_outs"]) == 1000
    assert record["left_out"] == 30 * 100 - 4 + 1 - 1000
    assert record["cut_outs"][-1] == {"file": "1000-green.png", "class": "green", "box": [0, 0, 3, 3]}
