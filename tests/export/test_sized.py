"""Exports have the size of the file, whatever the size of the segmentation."""

import io
import json
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.export.coco import coco_record
from ovseg_demo.export.folder import save_segmentation
from ovseg_demo.export.formats import FORMATS, encode
from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.images import SourceImage, load_image, read_source
from tests.export.samples import SHAPES, two_masks, with_label_map

FACTOR = 3


@pytest.fixture
def photo(tmp_path):
    """A JPEG three times as large as the shapes, stored turned by a quarter."""
    pixels = np.random.default_rng(2).integers(0, 256, (FACTOR * 24, FACTOR * 30, 3), np.uint8)
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "photo.jpg"
    Image.fromarray(np.rot90(pixels).copy()).save(path, exif=exif, quality=95)
    return path


def enlarged(label_map):
    return label_map.repeat(FACTOR, axis=0).repeat(FACTOR, axis=1)


@pytest.mark.parametrize("name", SHAPES)
def test_label_maps_and_records_have_the_size_of_the_upright_file(photo, name):
    segmentation, source = with_label_map(SHAPES[name]), read_source(photo)
    options = ExportOptions(source=source, file=photo)
    label_map, _ = decode_label_map(encode(segmentation, "label-map", options))
    np.testing.assert_array_equal(label_map, enlarged(SHAPES[name]))
    record = coco_record(segmentation, source=source)
    (image,) = record["images"]
    assert (image["width"], image["height"]) == (FACTOR * 30, FACTOR * 24) == load_image(photo).shape[1::-1]
    stored = {"width": FACTOR * 24, "height": FACTOR * 30}
    assert image["source"] == {"file_name": "photo.jpg", **stored, "is_turned": True}
    assert record["info"]["settings"]["segmented_size"] == [30, 24]
    assert sum(category["area"] for category in record["categories"]) == np.count_nonzero(label_map >= 0)
    assert sum(category["share"] for category in record["categories"]) == pytest.approx(
        (label_map >= 0).mean()
    )


def test_cut_outs_have_the_pixels_of_the_file(photo):
    segmentation = with_label_map(SHAPES["all of the image"])
    options = ExportOptions(source=read_source(photo), file=photo)
    archive = zipfile.ZipFile(io.BytesIO(encode(segmentation, "cut-outs", options)))
    cut_out = np.asarray(Image.open(archive.open("photo/0001-red.png")))
    np.testing.assert_array_equal(cut_out[..., :3], load_image(photo))


def test_masks_are_enlarged_from_their_own_resolution():
    segmentation = two_masks()
    options = ExportOptions(source=SourceImage("a.png", 90, 60))
    archive = zipfile.ZipFile(io.BytesIO(encode(segmentation, "masks", options)))
    left = np.asarray(Image.open(archive.open("a/0001-left.png")))
    np.testing.assert_array_equal(left, segmentation.proposals.unpack(0).repeat(3, 0).repeat(3, 1))


def test_a_saved_folder_has_the_size_of_the_file(photo, tmp_path):
    segmentation = with_label_map(SHAPES["islands in a ring"])
    save_segmentation(segmentation, tmp_path / "out", source=read_source(photo), path=photo)
    label_map, _ = decode_label_map(tmp_path / "out" / "label_map.png")
    np.testing.assert_array_equal(label_map, enlarged(segmentation.label_map))
    record = json.loads((tmp_path / "out" / "segmentation.json").read_bytes())
    assert record["images"][0]["height"] == len(label_map)


NOT_MEASURED = {"geojson", "overlay"}  # one needs a GeoTIFF, the other paints the image as it always did


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - NOT_MEASURED))
def test_memory_does_not_grow_with_classes_times_pixels(name):
    """200 classes and 6 megapixels: 1.2 GB as masks of one byte a pixel."""
    rows, columns = np.indices((150, 200))
    label_map = (rows // 10 * 14 + columns // 15).astype(np.int32)
    segmentation = with_label_map(label_map, ", ".join(f"class {index}" for index in range(250)))
    segmentation = replace(segmentation, image=np.zeros_like(segmentation.image))
    options = ExportOptions(source=SourceImage("a.png", 3000, 2000))
    tracemalloc.start()
    try:
        encode(segmentation, name, options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120e6
