"""Made-up folders in the official layouts of ADE20K."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.catalogue import open_dataset
from ovseg_demo.evaluation.metrics import IGNORED
from ovseg_demo.vocabularies.class_lists import load_vocabulary

WALL, BUILDING = 0, 1  # of the 847 classes
NUMBERS = {"wall": 2978, "building, edifice": 312, "mystery, unknown thing": 14}


def cpu_entry():
    names = load_vocabulary("ade20k-847").classes
    return next((i, entry) for i, entry in enumerate(names) if "mainframe" in entry.names)


def save_image(path, size=(6, 4), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def save_labels(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


# ---- the challenge


@pytest.fixture
def challenge(tmp_path):
    folder = tmp_path / "ADEChallengeData2016"
    for i in (2, 1):
        save_image(folder / f"images/validation/ADE_val_0000000{i}.jpg", seed=i)
        values = np.full((4, 6), i, np.uint8)
        values[0, 0], values[3, 5] = 0, 150
        save_labels(folder / f"annotations/validation/ADE_val_0000000{i}.png", values)
    save_labels(folder / "annotations/training/ADE_train_00000001.png", np.zeros((4, 6), np.uint8))
    return tmp_path


@pytest.mark.parametrize("root", [".", "ADEChallengeData2016"])
def test_150_classes_are_the_value_less_one(challenge, root):
    dataset = open_dataset("ade20k-150", challenge / root)
    assert dataset.keys == ("ADE_val_00000001", "ADE_val_00000002")
    sample = dataset.load("ADE_val_00000002")
    assert sample.image.shape == (4, 6, 3)
    assert sample.labels[0, 0] == IGNORED
    assert sample.labels[3, 5] == 149
    assert sample.labels[1, 1] == 1
    assert dataset.vocabulary.classes[1].name == "building"
    assert dataset.novel_classes == ()


def test_segments_are_the_classes_that_are_there(challenge):
    sample = open_dataset("ade20k-150", challenge).load("ADE_val_00000001")
    assert sample.segment_classes.tolist() == [0, 149]
    named = np.where(sample.segments == IGNORED, IGNORED, sample.segment_classes[sample.segments])
    np.testing.assert_array_equal(named, sample.labels)


# ---- the full data set


def encode(numbers):
    """The official coding of class numbers in red and green, with something of an instance in blue."""
    red, green = numbers // 256 * 10, numbers % 256
    return np.stack([red + 3, green, np.full_like(red, 77)], axis=-1).astype(np.uint8)


@pytest.fixture
def numbers():
    values = np.full((4, 6), NUMBERS["wall"])
    values[0], values[1], values[2, 0] = NUMBERS["building, edifice"], NUMBERS["mystery, unknown thing"], 0
    return values


def check_full(dataset):
    sample = dataset.load(dataset.keys[0])
    assert (sample.labels[3] == WALL).all()
    assert (sample.labels[0] == BUILDING).all()
    assert (sample.labels[1] == IGNORED).all(), "a class outside the 847"
    assert sample.labels[2, 0] == IGNORED, "no class at all"


@pytest.mark.parametrize("root", [".", "ADE20K_2021_17_01"])
def test_847_classes_of_the_release_of_2021_are_named_by_each_images_json(tmp_path, numbers, root):
    scene = tmp_path / "ADE20K_2021_17_01/images/ADE/validation/urban/street"
    save_image(scene / "ADE_val_00000001.jpg")
    save_labels(scene / "ADE_val_00000001_seg.png", encode(numbers))
    objects = [{"id": i, "name": name, "name_ndx": n} for i, (name, n) in enumerate(NUMBERS.items())]
    (scene / "ADE_val_00000001.json").write_text(json.dumps({"annotation": {"object": objects}}))
    save_image(scene.parents[2] / "training/urban/street/ADE_train_00000001.jpg")
    dataset = open_dataset("ade20k-847", tmp_path / root)
    assert dataset.keys == ("urban/street/ADE_val_00000001",)
    check_full(dataset)


def save_index(folder, class_names):
    """An index of 3,148 names, in which the numbers of this file's classes are right."""
    free = [number for number in range(1, 3149) if number not in NUMBERS.values()]
    others = [name for name in class_names if name not in NUMBERS]
    numbered = dict(zip(free, others, strict=False)) | {number: name for name, number in NUMBERS.items()}
    names = np.array([numbered.get(number, "-") for number in range(1, 3149)], dtype=object)
    savemat(
        folder / "index_ade20k.mat", {"index": {"objectnames": names, "filename": np.array(["x"], object)}}
    )


@pytest.fixture
def release_of_2016(tmp_path, numbers):
    release = tmp_path / "ADE20K_2016_07_26"
    scene = release / "images/validation/s/street"
    save_image(scene / "ADE_val_00000001.jpg")
    save_labels(scene / "ADE_val_00000001_seg.png", encode(numbers))
    return release


ALL_NAMES = [", ".join(entry.names) for entry in load_vocabulary("ade20k-847").classes]


def test_847_classes_of_the_release_of_2016_are_named_by_the_index(release_of_2016):
    save_index(release_of_2016, ALL_NAMES)
    check_full(open_dataset("ade20k-847", release_of_2016.parent))


def test_an_index_that_lacks_classes_is_an_error(release_of_2016):
    save_index(release_of_2016, ALL_NAMES[:5])
    dataset = open_dataset("ade20k-847", release_of_2016)
    with pytest.raises(DatasetError, match=r'lacks 842 of the 847 classes, such as "\w'):
        dataset.load(dataset.keys[0])


def test_a_single_object_and_a_carelessly_written_name_are_understood(tmp_path):
    index, entry = cpu_entry()
    scene = tmp_path / "images/ADE/validation/office"
    save_image(scene / "ADE_val_00000001.jpg")
    save_labels(scene / "ADE_val_00000001_seg.png", encode(np.full((4, 6), 463)))
    name = ", ".join(entry.names).replace("c p u,", "c p u ,")
    (scene / "ADE_val_00000001.json").write_bytes(
        json.dumps({"annotation": {"object": {"name": name, "name_ndx": 463}}}).encode() + b"\n"
    )
    dataset = open_dataset("ade20k-847", tmp_path)
    assert (dataset.load(dataset.keys[0]).labels == index).all()


def test_large_images_of_the_full_data_set_are_scaled_down_with_their_labels(tmp_path):
    scene = tmp_path / "images/ADE/validation/office"
    save_image(scene / "ADE_val_00000001.jpg", size=(1200, 1024))
    values = np.full((1024, 1200), NUMBERS["wall"])
    values[:, :600] = NUMBERS["building, edifice"]
    save_labels(scene / "ADE_val_00000001_seg.png", encode(values))
    objects = [{"name": name, "name_ndx": number} for name, number in NUMBERS.items()]
    (scene / "ADE_val_00000001.json").write_text(json.dumps({"annotation": {"object": objects}}))
    dataset = open_dataset("ade20k-847", tmp_path)
    sample = dataset.load(dataset.keys[0])
    assert sample.image.shape == (512, 600, 3)
    assert sample.labels.shape == (512, 600)
    assert (sample.labels[:, :300] == BUILDING).all()
    assert (sample.labels[:, 300:] == WALL).all()


def test_converted_labels_of_16_bits_are_read_too(tmp_path):
    folder = tmp_path / "ADE20K_2021_17_01"
    save_image(folder / "images_detectron2/validation/ADE_val_00000001.jpg")
    values = np.full((4, 6), 846, np.uint16)
    values[0] = 65535
    save_labels(folder / "annotations_detectron2/validation/ADE_val_00000001.tif", values)
    dataset = open_dataset("ade20k-847", tmp_path)
    sample = dataset.load("ADE_val_00000001")
    assert (sample.labels[0] == IGNORED).all()
    assert (sample.labels[1:] == 846).all()


# ---- what can be missing


def test_the_error_for_an_empty_folder_names_the_expected_files(tmp_path):
    with pytest.raises(DatasetError, match=r"annotations/validation.*--root"):
        open_dataset("ade20k-150", tmp_path)
    with pytest.raises(DatasetError, match=r"ADE20K_2021_17_01.*--root"):
        open_dataset("ade20k-847", tmp_path)
    (tmp_path / "images/ADE/validation").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"no ADE_val_\*\.jpg"):
        open_dataset("ade20k-847", tmp_path)


def test_a_missing_image_is_named(challenge):
    (challenge / "ADEChallengeData2016/images/validation/ADE_val_00000001.jpg").unlink()
    with pytest.raises(DatasetError, match=r"ADE_val_00000001\.jpg. is missing"):
        open_dataset("ade20k-150", challenge).load("ADE_val_00000001")


def test_labels_without_names_are_an_error(tmp_path, numbers):
    scene = tmp_path / "images/validation/s/street"
    save_image(scene / "ADE_val_00000001.jpg")
    save_labels(scene / "ADE_val_00000001_seg.png", encode(numbers))
    dataset = open_dataset("ade20k-847", tmp_path)
    with pytest.raises(DatasetError, match=r"ADE_val_00000001\.json.*index_ade20k\.mat"):
        dataset.load(dataset.keys[0])


@pytest.mark.parametrize("content", ["{", "{}", '{"annotation": {"object": [{"name": "wall"}]}}'])
def test_a_json_that_describes_no_image_is_an_error(tmp_path, numbers, content):
    scene = tmp_path / "images/ADE/validation/street"
    save_image(scene / "ADE_val_00000001.jpg")
    save_labels(scene / "ADE_val_00000001_seg.png", encode(numbers))
    (scene / "ADE_val_00000001.json").write_text(content)
    dataset = open_dataset("ade20k-847", tmp_path)
    with pytest.raises(DatasetError, match="does not describe an image of ADE20K"):
        dataset.load(dataset.keys[0])
