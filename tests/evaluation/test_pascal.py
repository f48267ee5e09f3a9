"""Made-up folders in the official layouts of PASCAL VOC and PASCAL Context."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.catalogue import DATASETS, open_dataset
from ovseg_demo.evaluation.metrics import IGNORED
from ovseg_demo.vocabularies.class_lists import load_vocabulary

CONTEXT_59, CONTEXT_459 = (load_vocabulary(f"pascal-context-{n}").class_names for n in (59, 459))


def save_voc(root, key="2007_000033", size=(5, 4), values=None):
    """VOC 2012 with one validation image."""
    folder = root / "VOCdevkit/VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "green").save(folder / "JPEGImages" / f"{key}.jpg")
    if values is None:
        values = np.zeros((size[1], size[0]), np.uint8)
        values[1:3], values[0, 0], values[3, 0] = 1, 255, 20
    labels = Image.fromarray(values)
    if values.ndim == 2:
        labels.putpalette(list(range(256)) * 3)
    labels.save(folder / "SegmentationClass" / f"{key}.png")
    (folder / "ImageSets/Segmentation/val.txt").write_text(f"{key}\n")
    return folder


def save_context(root, values, list_name="Main", key="2008_000002"):
    folder = root / "VOCdevkit/VOC2010"
    for name in ("JPEGImages", "trainval", f"ImageSets/{list_name}"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", values.shape[::-1], "blue").save(folder / "JPEGImages" / f"{key}.jpg")
    savemat(folder / "trainval" / f"{key}.mat", {"LabelMap": values.astype(np.uint16)})
    (folder / f"ImageSets/{list_name}/val.txt").write_text(f"{key}\n\n")
    return folder


# ---- VOC


@pytest.mark.parametrize("root", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_ignores_background_and_void(tmp_path, root):
    save_voc(tmp_path)
    dataset = open_dataset("pascal-voc-20", tmp_path / root)
    assert dataset.keys == ("2007_000033",)
    sample = dataset.load("2007_000033")
    assert sample.labels[1:3].tolist() == [[0] * 5] * 2
    assert sample.labels[3].tolist() == [19] + [IGNORED] * 4
    assert (sample.labels[0] == IGNORED).all()
    assert dataset.vocabulary.class_names[19] == "tvmonitor"
    assert sample.segment_classes.tolist() == [0, 19]


def test_labels_beyond_the_classes_are_an_error(tmp_path):
    save_voc(tmp_path, values=np.full((4, 5), 21, np.uint8))
    with pytest.raises(DatasetError, match="hold class 20, but pascal-voc-20 ends at 19"):
        open_dataset("pascal-voc-20", tmp_path).load("2007_000033")


def test_coloured_labels_are_an_error(tmp_path):
    save_voc(tmp_path, values=np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(DatasetError, match="3 channels"):
        open_dataset("pascal-voc-20", tmp_path).load("2007_000033")


def test_labels_of_another_size_are_an_error(tmp_path):
    save_voc(tmp_path, values=np.zeros((5, 4), np.uint8))
    with pytest.raises(DatasetError, match=r"5×4 pixels, but its labels 4×5"):
        open_dataset("pascal-voc-20", tmp_path).load("2007_000033")


def test_a_damaged_image_is_named(tmp_path):
    folder = save_voc(tmp_path)
    (folder / "JPEGImages/2007_000033.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    with pytest.raises(DatasetError, match=r"2007_000033\.jpg. cannot be read"):
        open_dataset("pascal-voc-20", tmp_path).load("2007_000033")


@pytest.mark.parametrize(("content", "message"), [(None, "is missing"), ("\n", "is empty")])
def test_the_list_of_images_is_needed(tmp_path, content, message):
    names = save_voc(tmp_path) / "ImageSets/Segmentation/val.txt"
    names.unlink() if content is None else names.write_text(content)
    with pytest.raises(DatasetError, match=message):
        open_dataset("pascal-voc-20", tmp_path)


def test_images_are_read_as_they_are_stored(tmp_path):
    """Labels belong to the stored pixels, whatever the camera noted about "up"."""
    folder = save_voc(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (5, 4), "green").save(folder / "JPEGImages/2007_000033.jpg", exif=exif)
    assert open_dataset("pascal-voc-20", tmp_path).load("2007_000033").image.shape == (4, 5, 3)


# ---- Context


def test_the_459_classes_are_the_value_less_one(tmp_path):
    save_context(tmp_path, np.array([[0, 1, 2], [459, 431, 300]]))
    sample = open_dataset("pascal-context-459", tmp_path).load("2008_000002")
    assert sample.labels.tolist() == [[IGNORED, 0, 1], [458, 430, 299]]


def test_the_59_classes_are_those_of_the_same_names(tmp_path):
    every_value = np.arange(460).reshape(20, 23)
    save_context(tmp_path, every_value)
    labels = open_dataset("pascal-context-59", tmp_path / "VOCdevkit").load("2008_000002").labels.ravel()
    assert sorted(labels[labels != IGNORED]) == list(range(59))
    for value in np.flatnonzero(labels != IGNORED):
        assert CONTEXT_459[value - 1] == CONTEXT_59[labels[value]]


def test_the_59_classes_have_the_numbers_that_other_tools_use(tmp_path):
    """A few of the values that are in use for PASCAL Context's frequent classes."""
    save_context(tmp_path, np.array([[2, 259, 260, 415, 324, 9, 115]]))
    labels = open_dataset("pascal-context-59", tmp_path).load("2008_000002").labels[0]
    names = ["aeroplane", "mountain", "mouse", "track", "road", "bag", "door"]
    assert [CONTEXT_59[label] if label != IGNORED else None for label in labels] == [
        name if name in CONTEXT_59 else None for name in names
    ]


def test_the_list_in_wide_use_is_preferred(tmp_path):
    save_context(tmp_path, np.ones((2, 2)), key="2008_000002")
    save_context(tmp_path, np.ones((2, 2)), "SegmentationContext", key="2008_000003")
    assert open_dataset("pascal-context-59", tmp_path).keys == ("2008_000003",)


def test_label_maps_are_needed_and_must_be_label_maps(tmp_path):
    with pytest.raises(DatasetError, match=r"trainval.*--root"):
        open_dataset("pascal-context-59", tmp_path)
    folder = save_context(tmp_path, np.full((2, 2), 460))
    dataset = open_dataset("pascal-context-459", tmp_path)
    with pytest.raises(DatasetError, match="holds the label 460"):
        dataset.load("2008_000002")
    (folder / "trainval/2008_000002.mat").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="holds no label map"):
        dataset.load("2008_000002")
    savemat(folder / "trainval/2008_000002.mat", {"other": np.ones(3)})
    with pytest.raises(DatasetError, match="holds no label map"):
        dataset.load("2008_000002")
    (folder / "trainval/2008_000002.mat").unlink()
    with pytest.raises(DatasetError, match="is missing"):
        dataset.load("2008_000002")
    (folder / "ImageSets/Main/val.txt").unlink()
    with pytest.raises(DatasetError, match="Neither of the lists"):
        open_dataset("pascal-context-459", tmp_path)


# ---- the catalogue


def test_data_sets_in_files_need_a_folder_and_take_no_seeds(tmp_path):
    for name in DATASETS[1:]:
        with pytest.raises(DatasetError, match="--root"):
            open_dataset(name)
        with pytest.raises(DatasetError, match="fixed images"):
            open_dataset(name, tmp_path, scenes=3)


def test_an_unknown_data_set_is_named_with_the_choices():
    with pytest.raises(DatasetError, match='no data set "coco"; choose one of sticker-world, ade20k-150'):
        open_dataset("coco")
