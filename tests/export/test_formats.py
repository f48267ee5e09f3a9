"""Every format in the registry writes a segmentation."""

import io
import json
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.errors import Cancelled, OvsegError
from ovseg_demo.export.formats import FORMATS, dataset_files, encode, find_format, image_files, write
from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.export.options import ExportOptions, View
from ovseg_demo.images import SourceImage, read_source
from tests.closed_folders import full_disk
from tests.export.samples import two_masks

READERS = {
    "png": lambda content: Image.open(io.BytesIO(content)).verify(),
    "json": json.loads,
    "zip": lambda content: zipfile.ZipFile(io.BytesIO(content)).testzip(),
}


ALL = [name for name, format_ in FORMATS.items() if not format_.for_geotiff]


@pytest.mark.parametrize("name", ALL)
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


def test_several_formats_are_written_at_once(tmp_path):
    """In a folder each; what is downloaded as an archive has the same files."""
    options = ExportOptions(source=SourceImage("photo.jpg", 60, 40))
    paths = write(two_masks(), tmp_path, ALL, options)
    assert sorted(paths) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for name in ALL:
        folder = tmp_path / name
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
        content = encode(two_masks(), name, options)
        if find_format(name).suffix.endswith(".zip"):
            archive = zipfile.ZipFile(io.BytesIO(content))
            assert files == {entry: archive.read(entry) for entry in archive.namelist()}
        else:
            assert list(files.values()) == [content]
            assert next(iter(files)).startswith("photo.")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
def test_a_file_that_cannot_be_written_leaves_the_older_one(tmp_path):
    (path,) = write(two_masks(), tmp_path, ["overlay"])
    older = path.read_bytes()
    with full_disk(tmp_path), pytest.raises(OSError):
        write(two_masks("other, names, here"), tmp_path, ["overlay"])
    assert path.read_bytes() == older
    assert list(path.parent.iterdir()) == [path]


def test_a_data_set_has_the_files_of_each_image_and_those_that_it_has_once():
    formats = ["coco", "yolo", "voc", "label-studio", "cvat"]
    files = {}
    stems = ["a", "sub/a", "sub/b"]
    for stem in stems:
        options = ExportOptions(source=SourceImage(f"{stem}.jpg", 60, 40), stem=stem)
        of_image = dict(image_files(two_masks(), formats, options))
        assert not files.keys() & of_image.keys()
        files |= of_image
    of_dataset = dict(dataset_files(formats, two_masks().class_names, iter(stems)))
    assert not files.keys() & of_dataset.keys()
    assert {"yolo/labels/sub/a.txt", "voc/SegmentationClass/a.png", "label-studio/sub/b.json"} < files.keys()
    assert {"yolo/data.yaml", "label-studio/label_config.xml", "cvat/labels.json"} < of_dataset.keys()
    assert of_dataset["voc/ImageSets/Segmentation/default.txt"].decode().split() == stems
    names = [json.loads(files[f"coco/{stem}.json"])["images"][0]["file_name"] for stem in stems]
    assert names == ["a.jpg", "sub/a.jpg", "sub/b.jpg"]


def test_an_image_without_a_file_has_a_name():
    content = io.BytesIO()
    Image.new("RGB", (8, 6)).save(content, "PNG")
    file = content.getvalue()
    options = ExportOptions(source=read_source(file), file=file)
    assert (options.image_name, options.file_stem) == ("image", "image")
    assert encode(two_masks(), "coco", options)


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(OvsegError, match='no export format "virus"'):
        write(two_masks(), tmp_path, ["coco", "virus"])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused_with_the_choice():
    with pytest.raises(OvsegError, match='no export format "virus"; choose one of overlay, label-map'):
        find_format("virus")


@pytest.mark.parametrize("name", ["label-studio", "cut-outs", "cut-outs-parts", "masks"])
def test_a_format_of_many_files_reports_its_progress_and_can_be_stopped(name):
    reports = []
    encode(two_masks(), name, ExportOptions(progress=lambda *report: reports.append(report)))
    done = [(done, total) for _, done, total in reports if done]
    assert len(done) > 1
    assert done == [(number, len(done)) for number in range(1, len(done) + 1)]

    def stop(stage, done, total):
        raise Cancelled("The file is not wanted any more.")

    with pytest.raises(Cancelled):
        encode(two_masks(), name, ExportOptions(progress=stop))
