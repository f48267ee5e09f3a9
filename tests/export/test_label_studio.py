"""Label Studio's own decoder reads the brushes, and its polygons are those of the map."""

import io
import json
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from label_studio_converter.brush import decode_rle
from pycocotools import mask as coco

from ovseg_demo.export.formats import encode
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.export.run_lengths import class_brushes
from ovseg_demo.images import SourceImage
from tests.export.samples import SHAPES, label_maps, with_label_map


def read(label_map, name):
    options = ExportOptions({"model": "photo-mini"}, source=SourceImage("a b.png", *label_map.shape[::-1]))
    archive = zipfile.ZipFile(io.BytesIO(encode(with_label_map(label_map), name, options)))
    (task,) = json.loads(archive.read("a b.json"))
    return task, ElementTree.fromstring(archive.read("label_config.xml"))


@pytest.mark.parametrize("name", SHAPES)
def test_brushes_come_back(name):
    label_map = SHAPES[name]
    task, _ = read(label_map, "label-studio")
    found = np.full(label_map.shape, -1, np.int32)
    for region in task["predictions"][0]["result"]:
        value = region["value"]
        assert (region["original_width"], region["original_height"]) == label_map.shape[::-1]
        channels = decode_rle(value["rle"]).reshape(*label_map.shape, 4)
        assert (channels == channels[..., 3:]).all()
        assert set(np.unique(channels)) <= {0, 255}
        found[channels[..., 3] > 0] = ["red", "green", "blue"].index(*value["brushlabels"])
    np.testing.assert_array_equal(found, label_map)


@settings(max_examples=30)
@given(label_maps)
def test_brushes_of_any_label_map_come_back(case):
    label_map, classes = case
    for index, brush in enumerate(class_brushes(label_map, classes)):
        if index < 5:
            mask = decode_rle(brush).reshape(*label_map.shape, 4)[..., 3] == 255
            np.testing.assert_array_equal(mask, label_map == index)


@pytest.mark.parametrize("length", [1, 2, 3, 64, 65, 16384, 16385, 40000])
def test_runs_of_any_length_come_back(length):
    """The sizes of a run's length, 3, 4, 8 and 16 bits, end at 2, 4, 64 and 16,384 pixels."""
    label_map = np.array([[0] * length + [-1] * 3 + [0]], np.int32)
    (brush,) = class_brushes(label_map, 1)
    np.testing.assert_array_equal(decode_rle(brush)[::4] == 255, label_map[0] == 0)


@pytest.mark.parametrize(
    "name", ["a ring", "islands in a ring", "two parts", "one pixel", "all of the image", "nothing"]
)
def test_polygons_come_back(name):
    """Percent of the image's sides. Right angles survive the tolerance, so these shapes are exact."""
    label_map = SHAPES[name]
    task, _ = read(label_map, "label-studio-polygons")
    found = np.full(label_map.shape, -1, np.int32)
    height, width = label_map.shape
    for region in task["predictions"][0]["result"]:
        points = np.array(region["value"]["points"]) / 100 * (width, height)
        mask = coco.decode(coco.merge(coco.frPyObjects([points.ravel().tolist()], height, width)))
        found[mask > 0] = ["red", "green", "blue"].index(*region["value"]["polygonlabels"])
    np.testing.assert_array_equal(found, label_map)


@pytest.mark.parametrize(
    ("name", "tag"), [("label-studio", "BrushLabels"), ("label-studio-polygons", "PolygonLabels")]
)
def test_the_configuration_has_the_names_that_the_regions_refer_to(name, tag):
    task, view = read(SHAPES["islands in a ring"], name)
    assert [label.get("value") for label in view.find(tag)] == ["red", "green", "blue"]
    variable = view.find("Image").get("value").removeprefix("$")
    assert task["data"] == {variable: "/data/local-files/?d=a%20b.png"}
    assert task["predictions"][0]["model_version"] == "photo-mini"
    for region in task["predictions"][0]["result"]:
        assert region["from_name"] == view.find(tag).get("name")
        assert region["to_name"] == view.find("Image").get("name") == view.find(tag).get("toName")
