"""Users' own data sets: label images with names for their values, and COCO instance files."""

import json

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.cli.main import main
from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.folders import open_labelled_images, read_names
from ovseg_demo.evaluation.metrics import IGNORED
from ovseg_demo.export.coco import coco_record
from ovseg_demo.images import load_image
from ovseg_demo.vocabulary import ClassName
from tests.export.samples import two_masks
from tests.tiny.checkpoints import save_tiny_ovseg

VALUES = np.array([[0, 0, 7], [7, 7, 9]], np.uint8).repeat(8, axis=0).repeat(8, axis=1)


@pytest.fixture
def folders(tmp_path):
    """An image in a sub-folder with its labels, an image without labels, and names for 0 and 7."""
    for name in ("images/a/1.JPG", "images/2.png", "labels/a/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 256, (*VALUES.shape, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "images/a/1.JPG")
    Image.fromarray(noise).save(tmp_path / "images/2.png")
    labels = Image.fromarray(VALUES).convert("P")
    labels.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    Image.fromarray(VALUES).save(tmp_path / "labels/a/1.png")
    labels.putdata(VALUES.ravel().tolist())
    labels.save(tmp_path / "labels/a/1.png")
    (tmp_path / "names.txt").write_text("7: road / street\n\n0: sky\n")
    return tmp_path


def test_indexed_labels_get_the_classes_of_their_values(folders):
    data = open_labelled_images(folders / "images", folders / "labels", folders / "names.txt")
    assert data.keys == ("a/1",)
    assert data.vocabulary.classes == (ClassName("road", ("street",)), ClassName("sky"))
    sample = data.load("a/1")
    expected = np.select([VALUES == 7, VALUES == 0], [0, 1], IGNORED)
    np.testing.assert_array_equal(sample.labels, expected)
    assert sample.image.shape == (*VALUES.shape, 3)


def test_labels_of_16_bits_may_exceed_all_names(folders):
    Image.fromarray(VALUES.astype(np.uint16) * 1000).save(folders / "labels/a/1.png")
    (folders / "names.json").write_text('{"7000": "road"}')
    data = open_labelled_images(folders / "images", folders / "labels", folders / "names.json")
    np.testing.assert_array_equal(data.load("a/1").labels, np.where(VALUES == 7, 0, IGNORED))


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("n.txt", "road\nsky / heaven\n", {1: ("road",), 2: ("sky", "heaven")}),
        ("n.txt", "3,road\n0\tsky\n", {3: ("road",), 0: ("sky",)}),
        ("n.json", '["road", "sky"]', {1: ("road",), 2: ("sky",)}),
        ("n.json", '{"255": "road"}', {255: ("road",)}),
    ],
)
def test_names_come_with_or_without_values(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    assert {value: entry.names for value, entry in read_names(tmp_path / name).items()} == expected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n.txt", "1: road\nsky\n", "before some names only"),
        ("n.txt", "1: road\n1: sky\n", "several names for the value 1"),
        ("n.txt", "\n", "has no names"),
        ("n.json", "7", "neither a JSON list"),
        ("n.json", '{"a": "b"}', "neither a JSON list"),
        ("n.json", '["/"]', "an empty name"),
        ("n.json", '{"-1": "nothing"}', "a name for the value -1; .* from 0 to 65535"),
        ("n.txt", "99999999999: road\n", "a name for the value 99999999999"),
    ],
)
def test_faulty_names_are_one_sentence(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_names(tmp_path / name)


def save_instances(folder):
    """A COCO file with a large polygon, a small run-length crowd over it, and a sparse category id."""
    crowd = {"size": [16, 24], "counts": [0, 32, 352]}  # the first two columns
    annotations = [
        {"id": 1, "image_id": 5, "category_id": 3, "segmentation": crowd, "area": 32, "iscrowd": 1,
         "bbox": [0, 0, 2, 16]},
        {"id": 2, "image_id": 5, "category_id": 90, "segmentation": [[0, 0, 12, 0, 12, 16, 0, 16]],
         "area": 192, "iscrowd": 0, "bbox": [0, 0, 12, 16]},
    ]  # fmt: skip
    record = {
        "images": [{"id": 5, "file_name": "a/1.JPG", "height": 16, "width": 24}],
        "categories": [{"id": 90, "name": "bus"}, {"id": 3, "name": "people"}],
        "annotations": annotations,
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(record))
    return path


def test_of_coco_instances_the_smaller_counts_and_the_rest_does_not(folders):
    data = open_labelled_images(folders / "images", save_instances(folders), None)
    assert [entry.name for entry in data.vocabulary.classes] == ["people", "bus"]
    labels = data.load("a/1.JPG").labels
    assert (labels[:, :2] == 0).all()
    assert (labels[:, 2:12] == 1).all()
    assert (labels[:, 12:] == IGNORED).all()


def test_a_result_of_ours_is_a_ground_truth(tmp_path):
    segmentation = two_masks()
    record = coco_record(segmentation)
    Image.fromarray(segmentation.image).save(tmp_path / record["images"][0]["file_name"])
    (tmp_path / "r.json").write_text(json.dumps(record))
    data = open_labelled_images(tmp_path, tmp_path / "r.json", None)
    np.testing.assert_array_equal(data.load(data.keys[0]).labels, segmentation.label_map)


def test_the_command_measures_both(folders, tmp_path, capsys):
    ovseg = save_tiny_ovseg(tmp_path / "ovseg.pth", "narrow")
    base = ["evaluate", "--ovseg", ovseg, "--records", tmp_path / "records", "--images", folders / "images"]
    own = ["--labels", folders / "labels", "--names", folders / "names.txt", "--json", tmp_path / "f.json"]
    assert main([str(part) for part in base + own]) == 0
    written = json.loads((tmp_path / "f.json").read_text())
    assert [entry["name"] for entry in written["classes"]] == ["road", "sky"]
    assert sum(entry["true_pixels"] for entry in written["classes"]) == (VALUES != 9).sum()
    assert main([str(part) for part in [*base, "--labels", save_instances(folders)]]) == 0
    assert "1 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "images"], "needs both --images and --labels"),
        (["--images", "images", "--labels", "labels"], "need names"),
        (["--images", "images", "--labels", "labels", "--root", "x"], "leave out one of them"),
        (["--images", "nowhere", "--labels", "labels"], "is no folder"),
        (["--images", "images", "--labels", "nowhere", "--names", "names.txt"], "neither a folder"),
        (["--images", "labels", "--labels", "labels", "--names", "nowhere"], "cannot be read"),
        (["--images", "images", "--labels", "names.json", "--names", "names.txt"], "names of its own"),
        (["--images", "images", "--labels", "broken.json"], "no COCO file"),
    ],
)
def test_what_is_missing_is_named(folders, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folders)
    (folders / "broken.json").write_text("{")
    assert main(["evaluate", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_labels_without_an_image_are_an_error(folders):
    (folders / "images" / "2.png").rename(folders / "labels" / "2.png")
    with pytest.raises(DatasetError, match='The labels "2" have no image'):
        open_labelled_images(folders / "images", folders / "labels", folders / "names.txt")


def test_negative_and_unknown_values_do_not_count(folders):
    values = VALUES.astype(np.int32)
    values[values == 0] = -9999
    Image.fromarray(values).save(folders / "labels/a/1.tif")
    (folders / "labels/a/1.png").unlink()
    data = open_labelled_images(folders / "images", folders / "labels", folders / "names.txt")
    np.testing.assert_array_equal(data.load("a/1").labels, np.where(VALUES == 7, 0, IGNORED))
    Image.fromarray(values.astype(np.float32)).save(folders / "labels/a/1.tif")
    with pytest.raises(DatasetError, match="numbers with fractions"):
        data.load("a/1")


def test_a_label_image_that_pillow_refuses_is_one_sentence(folders):
    Image.new("1", (20_000, 9_500)).save(folders / "labels/a/1.png")
    data = open_labelled_images(folders / "images", folders / "labels", folders / "names.txt")
    with pytest.raises(DatasetError, match="cannot be read"):
        data.load("a/1")


def test_images_are_read_as_they_are_segmented(folders):
    grey = np.full(VALUES.shape, 30_000, np.uint16)
    Image.fromarray(grey).save(folders / "images/2.png")
    Image.fromarray(VALUES).save(folders / "labels/2.png")
    data = open_labelled_images(folders / "images", folders / "labels", folders / "names.txt")
    assert np.unique(data.load("2").image).tolist() == [117]


@pytest.mark.parametrize(
    ("entry", "name"), [("images", "file_name"), ("images", "height"), ("categories", "name")]
)
def test_an_incomplete_coco_file_is_one_sentence(tmp_path, entry, name):
    whole = {
        "images": [{"id": 1, "file_name": "1.png", "height": 4, "width": 5}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [],
    }
    del whole[entry][0][name]
    (tmp_path / "coco.json").write_text(json.dumps(whole))
    with pytest.raises(DatasetError, match=f'without "{name}"'):
        open_labelled_images(tmp_path, tmp_path / "coco.json", None)


@pytest.mark.parametrize("orientation", [6, 8])
def test_labels_of_the_upright_image_and_of_the_stored_pixels_are_read(folders, orientation):
    path = folders / "images/2.png"
    exif = Image.Exif()
    exif[274] = orientation
    Image.open(path).save(path, exif=exif)
    stored, upright = np.array(Image.open(path)), load_image(path)
    for values, expected in ((VALUES, stored), (VALUES.T, upright)):
        Image.fromarray(np.ascontiguousarray(values)).save(folders / "labels/2.png")
        data = open_labelled_images(folders / "images", folders / "labels", folders / "names.txt")
        np.testing.assert_array_equal(data.load("2").image, expected)
