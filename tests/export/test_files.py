"""Files that keep a segmentation: everything comes back exactly, and common tools can read it."""

import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco
from pycocotools.coco import COCO

from ovseg_demo.classification.rules import GranularityRule
from ovseg_demo.classification.score_maps import HardMasks, ScoreMap
from ovseg_demo.export.files import (
    class_rles,
    decode_label_map,
    encode_label_map,
    kept_masks,
    masks_zip,
    save_segmentation,
    segmentation_record,
    slug,
    unique_slugs,
)
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.visualization.palette import class_colors, hex_color
from ovseg_demo.vocabulary import Vocabulary

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
label_maps = st.integers(1, 1000).flatmap(
    lambda classes: st.tuples(
        arrays(np.int32, shapes, elements=st.integers(-1, classes - 1)), st.just(classes)
    )
)


def names_of(classes: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(classes))


@settings(max_examples=60)
@given(label_maps)
@example((np.full((3, 4), -1, np.int32), 1))
@example((np.arange(-1, 255, dtype=np.int32).reshape(16, 16), 255))
@example((np.arange(-1, 256, dtype=np.int32).reshape(1, 257), 256))
@example((np.arange(-1, 1000, dtype=np.int32).reshape(1, 1001), 1000))
def test_label_maps_come_back_from_png(case):
    label_map, classes = case
    read, names = decode_label_map(encode_label_map(label_map, names_of(classes)))
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, label_map)
    assert names == names_of(classes)


@pytest.mark.parametrize("classes", [1, 3, 15, 16, 200, 255])
def test_the_palette_holds_the_colours_of_the_classes(classes):
    label_map = (np.arange(1600).reshape(40, 40) % (classes + 1) - 1).astype(np.int32)
    image = Image.open(io.BytesIO(encode_label_map(label_map, names_of(classes))))
    assert image.mode == "P"
    colors = np.vstack([[[0, 0, 0]], class_colors(names_of(classes))])
    np.testing.assert_array_equal(np.asarray(image), label_map + 1)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colors[label_map + 1])


def test_label_maps_of_many_classes_are_sixteen_bit_for_other_readers_too():
    label_map = np.arange(-1, 999, dtype=np.int32).reshape(20, 50)
    data = encode_label_map(label_map, names_of(1000))
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert values.dtype == np.uint16
    np.testing.assert_array_equal(values, label_map + 1)


def test_names_in_any_script_travel_with_the_png(tmp_path):
    names = ("猫", 'a "quoted" name', "🍄", "x" * 100)
    path = tmp_path / "map.png"
    path.write_bytes(encode_label_map(np.zeros((2, 2), np.int32), names))
    assert decode_label_map(path)[1] == names
    long_names = tuple("🍄" * 96 + f"{index:04d}" for index in range(1000))
    assert decode_label_map(encode_label_map(np.zeros((2, 2), np.int32), long_names))[1] == long_names


@settings(max_examples=60)
@given(label_maps)
@example((np.full((3, 4), -1, np.int32), 2))
@example((np.zeros((1, 1), np.int32), 1))
def test_run_lengths_are_those_of_pycocotools(case):
    label_map, classes = case
    rles = class_rles(label_map, classes)
    assert len(rles) == classes
    for index in {0, classes - 1, *np.unique(label_map[label_map >= 0]).tolist()}:
        mask = label_map == index
        expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert rles[index]["counts"] == expected["counts"].decode()
        assert rles[index]["size"] == list(label_map.shape)
        np.testing.assert_array_equal(coco.decode(rles[index]).astype(bool), mask)
    assert sum(int(coco.area(rle)) for rle in rles) == np.count_nonzero(label_map >= 0)


def test_no_classes_have_no_run_lengths():
    assert class_rles(np.full((3, 4), -1, np.int32), 0) == []


def example_record():
    label_map = np.full((30, 40), -1, np.int32)
    label_map[:10] = 2
    label_map[20:25, 8:18] = 0
    record = segmentation_record(
        label_map,
        ("cup", "tea", "desk"),
        [0.75, float("nan"), 0.5],
        [0.9, 0.25, 0.8],
        synonyms=[("mug",), (), ()],
        settings={"granularity": 0.8},
    )
    return label_map, record


def test_the_record_is_a_coco_data_set(tmp_path, capsys):
    label_map, record = example_record()
    path = tmp_path / "segmentation.json"
    path.write_text(json.dumps(record, allow_nan=False))
    dataset = COCO(path)
    assert [category["name"] for category in dataset.loadCats(dataset.getCatIds())] == ["cup", "tea", "desk"]
    annotations = dataset.loadAnns(dataset.getAnnIds())
    assert [annotation["category_id"] for annotation in annotations] == [1, 3]
    for annotation in annotations:
        mask = dataset.annToMask(annotation).astype(bool)
        np.testing.assert_array_equal(mask, label_map == annotation["category_id"] - 1)
        assert annotation["area"] == mask.sum()
    assert annotations[0]["bbox"] == [8, 20, 10, 5]


def test_the_record_tells_area_share_score_and_what_was_not_found():
    _, record = example_record()
    cup, tea, desk = record["categories"]
    assert cup == {
        "id": 1,
        "name": "cup",
        "synonyms": ["mug"],
        "color": hex_color(class_colors(["cup", "tea", "desk"])[0]),
        "found": True,
        "area": 50,
        "share": 50 / 1200,
        "score": 0.75,
        "best_score": 0.9,
    }
    assert (tea["found"], tea["area"], tea["share"], tea["score"], tea["best_score"]) == (
        False,
        0,
        0,
        None,
        0.25,
    )
    assert desk["share"] == pytest.approx(1 / 3)
    assert record["info"]["settings"] == {"granularity": 0.8}


@given(st.lists(arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))), max_size=6))
def test_masks_come_back_from_the_zip(masks):
    data = masks_zip(("a mask", mask) for mask in masks)
    assert data == masks_zip(("a mask", mask) for mask in masks)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        for number, (name, mask) in enumerate(zip(sorted(archive.namelist()), masks, strict=True), start=1):
            assert name == f"{number:04d}-a-mask.png"
            image = Image.open(io.BytesIO(archive.read(name)))
            assert image.mode == "1"
            np.testing.assert_array_equal(np.asarray(image), mask)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Saturn V", "saturn-v"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\boot.ini", "c-boot-ini"),
        ("toys / plush", "toys-plush"),
        ("a_b__c", "a-b-c"),
        ("猫 と 犬", "猫-と-犬"),
        ("CON", "con-"),
        ("com1", "com1-"),
        ("...", "unnamed"),
        ("", "unnamed"),
        ("\x00", "unnamed"),
        ("ﬁne", "fine"),
    ],
)
def test_slugs(name, expected):
    assert slug(name) == expected


@given(st.text())
def test_slugs_are_safe_file_names(name):
    result = slug(name)
    assert 0 < len(result.encode()) <= 255
    assert result[0] not in "-."
    assert all(character.isalnum() or character == "-" for character in result)


@given(st.lists(st.sampled_from(["a", "A", "a!", "a-2", "b", "", "?"]), max_size=12))
def test_slugs_of_a_list_differ(names):
    slugs = unique_slugs(names)
    assert len(set(slugs)) == len(names)
    assert len({*unique_slugs(["a", "a", "a-2"])}) == 3


def two_masks(names: str = "left / port, right, nowhere") -> Segmentation:
    """Two of three masks are kept, at half the image's resolution; the third class gets no pixel."""
    vocabulary = Vocabulary.parse(names, distractors="sky")
    masks = np.zeros((3, 20, 30), bool)
    masks[0, 5:15, :10] = True
    masks[1, 5:15, 20:] = True
    masks[2] = True
    probabilities = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.1, 0.3]], np.float32)
    kept = np.array([True, True, False])
    proposals = Proposals.from_masks(masks, np.ones(3), np.zeros((20, 30, 3), np.uint8), (40, 60), "sam")
    score_map = ScoreMap(
        HardMasks(proposals, np.flatnonzero(kept)), probabilities[kept], 3, (40, 60), "nearest"
    )
    labels = score_map.label()
    areas, scores = labels.summarise(3)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return Segmentation(
        image=image,
        vocabulary=vocabulary,
        proposals=proposals,
        probabilities=probabilities,
        kept=kept,
        label_map=labels.labels,
        areas=areas,
        scores=scores,
        score_map=score_map,
        rule=GranularityRule(0.5),
        classifier="mask-adapted",
        templates="photo",
    )


def test_a_saved_segmentation_comes_back_exactly(tmp_path):
    segmentation = two_masks()
    folder = tmp_path / "new" / "folder"
    save_segmentation(segmentation, folder, settings={"granularity": 0.5})
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


def test_kept_masks_have_the_size_of_the_image_and_the_name_of_their_best_class():
    segmentation = two_masks()
    named = dict(kept_masks(segmentation))
    assert list(named) == ["left", "right"]
    np.testing.assert_array_equal(named["left"], segmentation.label_map == 0)
    np.testing.assert_array_equal(named["right"], segmentation.label_map == 1)
