"""A saved segmentation comes back exactly from its folder."""

import json

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.export.folder import save_segmentation
from ovseg_demo.export.label_map import decode_label_map
from tests.closed_folders import file_limit
from tests.export.samples import two_masks


def test_a_saved_segmentation_comes_back_exactly(tmp_path):
    segmentation = two_masks()
    folder = tmp_path / "new" / "folder"
    save_segmentation(segmentation, folder, settings={"model": "photo-mini"})
    assert sorted(path.name for path in folder.iterdir()) == [
        "label_map.png",
        "overlay.png",
        "segmentation.json",
    ]
    label_map, names = decode_label_map(folder / "label_map.png")
    np.testing.assert_array_equal(label_map, segmentation.label_map)
    assert names == ("left", "right", "nowhere")
    np.testing.assert_array_equal(
        np.asarray(Image.open(folder / "overlay.png")), np.asarray(segmentation.overlay())
    )
    record = json.loads((folder / "segmentation.json").read_text(encoding="utf-8"))
    assert [category["found"] for category in record["categories"]] == [True, True, False]
    assert record["categories"][0]["synonyms"] == ["port"]
    assert record["categories"][2]["best_score"] == pytest.approx(0.3)
    assert record["info"]["settings"] == {
        "generator": "sam",
        "templates": "photo",
        "distractors": ["sky"],
        "masks": 3,
        "kept_masks": 2,
        "segmented_size": [60, 40],
        "min_score": 0.0,
        "ignored_names": {},
        "notes": [],
        "classifier": "mask-adapted",
        "model": "photo-mini",
        "granularity": 0.5,
    }


def test_saving_again_replaces_the_files_and_changes_nothing_else(tmp_path):
    segmentation = two_masks()
    (tmp_path / "mine.txt").write_text("mine")
    segmentation.save(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    segmentation.save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert first["mine.txt"] == b"mine"


def test_a_full_disk_leaves_the_older_files_together(tmp_path):
    """The overlay is larger than a file may be."""
    two_masks().save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with file_limit(len(before["label_map.png"]) + 10), pytest.raises(OSError, match="large"):
        save_segmentation(two_masks(), tmp_path, settings={"model": "another"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
