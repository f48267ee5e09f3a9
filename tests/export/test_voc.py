"""torchvision's reader of Pascal VOC finds the masks, whose colours are VOC's."""

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import VOCSegmentation

from ovseg_demo.errors import OvsegError
from ovseg_demo.export.formats import dataset_files, encode, write
from ovseg_demo.export.options import ExportOptions
from ovseg_demo.images import SourceImage
from tests.export.samples import SHAPES, with_label_map


@pytest.mark.parametrize("name", SHAPES)
def test_torchvision_reads_the_masks(tmp_path, name):
    label_map = SHAPES[name]
    segmentation = with_label_map(label_map)
    write(segmentation, tmp_path, ["voc"], ExportOptions(source=SourceImage("a.jpg", *label_map.shape[::-1])))
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    folder.parent.mkdir()
    (tmp_path / "voc").rename(folder)
    (folder / "ImageSets/Segmentation/default.txt").rename(folder / "ImageSets/Segmentation/train.txt")
    (folder / "JPEGImages").mkdir()
    Image.fromarray(segmentation.image).save(folder / "JPEGImages" / "a.jpg")
    ((image, mask),) = VOCSegmentation(str(tmp_path), image_set="train")
    assert image.size == mask.size
    assert mask.mode == "P"
    np.testing.assert_array_equal(np.asarray(mask), label_map + 1)
    colors = read_label_map(folder / "labelmap.txt")
    assert list(colors) == ["background", "red", "green", "blue"]
    np.testing.assert_array_equal(
        np.asarray(mask.convert("RGB")), np.array(list(colors.values()))[label_map + 1]
    )


def test_the_colours_are_those_of_pascal_voc(tmp_path):
    names = [f"class {index}" for index in range(20)]
    (path, content), _ = dataset_files(["voc"], names, ["a"])
    (tmp_path / "labelmap.txt").write_bytes(content)
    colors = list(read_label_map(tmp_path / "labelmap.txt").values())
    assert path == "voc/labelmap.txt"
    assert colors[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    assert colors[15] == (192, 128, 128), "the person's colour"
    assert colors[20] == (0, 64, 128), "the television's colour"


def test_a_class_may_be_called_background():
    (_, content), _ = dataset_files(["voc"], ["background", "sky: blue"], ["a"])
    _, *lines = content.decode().splitlines()
    assert lines == ["unlabelled:0,0,0::", "background:128,0,0::", "sky  blue:0,128,0::"]


def test_each_class_has_a_label_that_is_read_and_of_its_own(tmp_path):
    names = ["#1 fan", "background", "unlabelled", "a:b", "a b", "a b 2", "#"]
    (_, content), _ = dataset_files(["voc"], names, ["a"])
    (tmp_path / "labelmap.txt").write_bytes(content)
    labels = list(read_label_map(tmp_path / "labelmap.txt"))
    assert labels == [
        "unlabelled 2", "1 fan", "background", "unlabelled", "a b", "a b 2", "a b 2 2", "class",
    ]  # fmt: skip


def test_more_classes_than_an_indexed_image_holds_are_refused():
    names = ", ".join(f"class {index}" for index in range(255))
    segmentation = with_label_map(np.zeros((8, 8), np.int32), names)
    with pytest.raises(OvsegError, match="room for 254 classes, and there are 255; choose another format"):
        encode(segmentation, "voc")


def read_label_map(path):
    rows = [line.split(":") for line in path.read_text().splitlines() if not line.startswith("#")]
    return {name: tuple(map(int, color.split(","))) for name, color, _, _ in rows}
