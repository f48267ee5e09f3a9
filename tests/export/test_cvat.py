"""CVAT's archive is a COCO data set that pycocotools reads, with labels of the same names."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from ovseg_demo.export.formats import encode, image_files
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.images import SourceImage
from tests.export.samples import SHAPES, two_masks, with_label_map


@pytest.mark.parametrize("name", SHAPES)
def test_pycocotools_reads_the_masks(tmp_path, name):
    label_map = SHAPES[name]
    options = ExportOptions(source=SourceImage("sub/photo.png", *label_map.shape[::-1]))
    archive = zipfile.ZipFile(io.BytesIO(encode(with_label_map(label_map), "cvat", options)))
    (record,) = (name for name in archive.namelist() if name.startswith("annotations/instances_sub-photo"))
    dataset = COCO(archive.extract(record, tmp_path))
    (image,) = dataset.loadImgs(dataset.getImgIds())
    assert image == {"id": 1, "width": 30, "height": 24, "file_name": "sub/photo.png"}
    found = np.full(label_map.shape, -1, np.int32)
    for annotation in dataset.loadAnns(dataset.getAnnIds()):
        mask = dataset.annToMask(annotation).astype(bool)
        assert annotation["iscrowd"] == 1, "CVAT makes a mask of a crowd and polygons of anything else"
        assert annotation["area"] == mask.sum()
        found[mask] = annotation["category_id"] - 1
    np.testing.assert_array_equal(found, label_map)
    labels = json.loads(archive.read("labels.json"))
    assert [label["name"] for label in labels] == ["red", "green", "blue"]
    assert [category["name"] for category in dataset.loadCats([1, 2, 3])] == ["red", "green", "blue"]


def test_stems_with_folders_give_files_of_their_own():
    stems = ["a/b", "a-b", "x" * 150 + "/" + "é" * 90]
    options = [ExportOptions(stem=stem) for stem in stems]
    files = [next(image_files(two_masks(), ["cvat"], option)).name for option in options]
    assert len(set(files)) == 3
    assert all(len(name.rpartition("/")[2].encode()) < 245 for name in files)


def test_datumaro_reads_the_masks(tmp_path):
    """CVAT reads COCO with datumaro, which finds each image's mask, with holes and all parts."""
    datumaro = pytest.importorskip("datumaro", reason="datumaro needs an older OpenCV than this program")
    for number, (name, label_map) in enumerate(SHAPES.items()):
        segmentation = with_label_map(label_map)
        options = ExportOptions(source=SourceImage("sub/photo.png", *label_map.shape[::-1]))
        folder = tmp_path / str(number)
        zipfile.ZipFile(io.BytesIO(encode(segmentation, "cvat", options))).extractall(folder)
        (folder / "images" / "sub").mkdir(parents=True)
        Image.fromarray(segmentation.image).save(folder / "images" / "sub" / "photo.png")
        dataset = datumaro.Dataset.import_from(str(folder), "coco_instances")
        (item,) = dataset
        classes = dataset.categories()[datumaro.AnnotationType.label]
        assert [label.name for label in classes] == ["red", "green", "blue"]
        assert item.media.data.shape[:2] == label_map.shape, "it finds the image by its name"
        found = np.full(label_map.shape, -1, np.int32)
        for annotation in item.annotations:
            if annotation.type == datumaro.AnnotationType.mask:
                found[annotation.image.astype(bool)] = annotation.label
        np.testing.assert_array_equal(found, label_map, err_msg=name)
