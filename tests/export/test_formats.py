"""Every format in the registry writes a segmentation."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.errors import OvsegError
from ovseg_demo.export.formats import FORMATS, encode, find_format
from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.export.options import ExportOptions, View
from tests.export.samples import two_masks

READERS = {
    "png": lambda content: Image.open(io.BytesIO(content)).verify(),
    "json": json.loads,
    "zip": lambda content: zipfile.ZipFile(io.BytesIO(content)).testzip(),
}


@pytest.mark.parametrize("name", [name for name, format_ in FORMATS.items() if not format_.for_geotiff])
def test_each_format_writes_a_file_of_the_kind_that_its_suffix_names(name):
    content = encode(two_masks(), name)
    READERS[find_format(name).suffix.rpartition(".")[2]](content)


def test_the_options_reach_the_formats_that_they_concern():
    segmentation = two_masks()
    options = ExportOptions({"model": "photo-mini"}, View(opacity=0, labels=False, outlines=False))
    overlay = Image.open(io.BytesIO(encode(segmentation, "overlay", options)))
    expected = segmentation.overlay(opacity=0, labels=False, outlines=False)
    np.testing.assert_array_equal(np.asarray(overlay), np.asarray(expected))
    record = json.loads(encode(segmentation, "coco", options))
    assert record["info"]["settings"]["model"] == "photo-mini"
    label_map, names = decode_label_map(encode(segmentation, "label-map", options))
    np.testing.assert_array_equal(label_map, segmentation.label_map)
    assert names == segmentation.class_names


def test_an_unknown_format_is_refused_with_the_choice():
    with pytest.raises(OvsegError, match='no export format "virus"; choose one of overlay, label-map'):
        find_format("virus")
