"""YOLO labels come back exactly from readers that round coordinates and from those that cut them off."""

import io
import zipfile

import cv2
import numpy as np
import pytest
import supervision
import yaml
from PIL import Image

from ovseg_demo.export.formats import dataset_files, encode, write
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.images import SourceImage
from tests.export.samples import SHAPES, with_label_map


def read_with_supervision(folder):
    dataset = supervision.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml"), force_masks=True
    )
    ((path, _, detections),) = list(dataset)
    return dataset.classes, path, detections


@pytest.mark.parametrize("name", SHAPES)
def test_supervision_reads_the_masks(tmp_path, name):
    """It rounds coordinates."""
    label_map = SHAPES[name]
    segmentation = with_label_map(label_map, 'red, green / lime, "blue"')
    options = ExportOptions(source=SourceImage("photo.png", *label_map.shape[::-1]))
    write(segmentation, tmp_path, ["yolo"], options)
    (tmp_path / "yolo" / "images").mkdir()
    Image.fromarray(segmentation.image).save(tmp_path / "yolo" / "images" / "photo.png")
    classes, path, detections = read_with_supervision(tmp_path / "yolo")
    assert classes == list(segmentation.class_names)
    assert path.endswith("photo.png")
    read = np.full(label_map.shape, -1, np.int32)
    for index, mask in zip(detections.class_id, detections.mask if len(detections) else (), strict=True):
        read[mask] = index
    np.testing.assert_array_equal(read, label_map)


@pytest.mark.parametrize("name", SHAPES)
def test_readers_that_cut_coordinates_off_find_the_masks(name):
    """As Ultralytics does: single precision, width and height, whole pixels, OpenCV's ``fillPoly``."""
    label_map = SHAPES[name]
    archive = zipfile.ZipFile(io.BytesIO(encode(with_label_map(label_map), "yolo")))
    read = np.full(label_map.shape, -1, np.int32)
    for line in archive.read("labels/image.txt").decode().splitlines():
        index, *values = line.split()
        points = np.array(values, np.float32).reshape(-1, 2) * np.array(label_map.shape[::-1], np.float32)
        assert len(points) >= 4
        assert (np.ptp(points, axis=0) > 0).all(), "a box has a size"
        assert points.min() >= 0 and (points < label_map.shape[::-1]).all()
        cv2.fillPoly(read, [points.astype(np.int32)], int(index))
    np.testing.assert_array_equal(read, label_map)


def test_yaml_reads_every_name():
    names = ["🐈 cat", '"quoted" \\ back', "a\tb\x07\x7f\x85", "Größe 猫", "yes", "line\u2028end", "𝒳: y # z"]
    ((_, content),) = dataset_files(["yolo"], names, ["a"])
    assert yaml.safe_load(content.decode())["names"] == dict(enumerate(names))
