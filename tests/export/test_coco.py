"""The record of a segmentation is a COCO data set that pycocotools reads."""

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from ovseg_demo.export.coco import coco_record
from ovseg_demo.visualization.palette import class_colors, hex_color
from tests.export.samples import SHAPES, two_masks, with_label_map


def test_the_record_is_a_coco_data_set(tmp_path, capsys):
    segmentation = two_masks()
    path = tmp_path / "segmentation.json"
    path.write_text(json.dumps(coco_record(segmentation), allow_nan=False))
    dataset = COCO(path)
    categories = dataset.loadCats(dataset.getCatIds())
    assert [category["name"] for category in categories] == ["left", "right", "nowhere"]
    annotations = dataset.loadAnns(dataset.getAnnIds())
    assert [annotation["category_id"] for annotation in annotations] == [1, 2]
    for annotation in annotations:
        mask = dataset.annToMask(annotation).astype(bool)
        np.testing.assert_array_equal(mask, segmentation.label_map == annotation["category_id"] - 1)
        assert annotation["area"] == mask.sum()
    assert annotations[0]["bbox"] == [0, 10, 20, 20]


def test_the_record_has_area_share_and_scores_of_every_class():
    segmentation = two_masks()
    left, right, nowhere = coco_record(segmentation)["categories"]
    assert left == {
        "id": 1,
        "name": "left",
        "synonyms": ["port"],
        "color": hex_color(class_colors(["left", "right", "nowhere"])[0]),
        "found": True,
        "area": 400,
        "share": 400 / 2400,
        "score": pytest.approx(0.9),
        "best_score": pytest.approx(0.9),
    }
    assert (right["area"], right["score"]) == (400, pytest.approx(0.7))
    assert nowhere["best_score"] == pytest.approx(0.3)
    assert (nowhere["found"], nowhere["area"], nowhere["share"], nowhere["score"]) == (False, 0, 0, None)


def test_what_the_segmentation_knows_overrides_given_settings():
    settings = coco_record(two_masks(), settings={"model": "photo-mini", "generator": ""})["info"]["settings"]
    assert (settings["model"], settings["generator"]) == ("photo-mini", "sam")


@pytest.mark.parametrize("shapes", ["rle", "polygons"])
@pytest.mark.parametrize("name", SHAPES)
def test_masks_of_all_shapes_come_back(name, shapes):
    label_map = SHAPES[name]
    dataset = COCO()
    dataset.dataset = json.loads(json.dumps(coco_record(with_label_map(label_map), shapes=shapes)))
    dataset.createIndex()
    found = np.full(label_map.shape, -1, np.int32)
    for annotation in dataset.loadAnns(dataset.getAnnIds()):
        mask = dataset.annToMask(annotation).astype(bool)
        assert annotation["area"] == mask.sum()
        found[mask] = annotation["category_id"] - 1
        if shapes == "polygons":
            assert all(len(ring) >= 8 for ring in annotation["segmentation"])
    np.testing.assert_array_equal(found, label_map)
