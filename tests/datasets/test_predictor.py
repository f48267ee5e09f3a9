"""A predictor in the hands of tools that process data sets: pickled, in other processes, batch by batch."""

import json
import multiprocessing
import pickle
import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from ovseg_demo import Predictor, load_segmenter
from ovseg_demo.classification.rules import GranularityRule
from ovseg_demo.errors import OvsegError, VocabularyError
from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.vocabulary import Vocabulary
from tests.datasets.processes import fresh_processes
from tests.datasets.small_images import SIZES, save_image
from tests.tiny.checkpoints import save_tiny_ovseg


@pytest.fixture(scope="module")
def ovseg(tmp_path_factory):
    return save_tiny_ovseg(tmp_path_factory.mktemp("weights") / "ovseg.pth", "narrow")


@pytest.fixture(scope="module")
def predictor(ovseg):
    return Predictor(classes="cat, grass", ovseg=ovseg, precision="float32")


@pytest.fixture
def paths(tmp_path):
    return [str(save_image(tmp_path / f"{seed}.png", seed)) for seed in range(3)]


def predict(pickled: bytes, batch: dict) -> dict:
    return pickle.loads(pickled)(batch)


def predict_here_and_in_a_fork(pickled: bytes, batch: dict) -> None:
    """Exit with an error unless both give the same; the networks are loaded before the fork."""
    here = predict(pickled, batch)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(predict, (pickled, batch)) == here


def test_a_batch_gets_the_maps_that_the_segmenter_gives(ovseg, predictor, paths):
    result = predictor({"image": paths, "n": np.arange(3)})
    assert result["n"] == [0, 1, 2]
    assert "image" not in result
    assert list(zip(result["width"], result["height"], strict=True)) == list(SIZES)
    segmenter = load_segmenter(ovseg=ovseg, precision="float32")
    for path, png, text, error in zip(
        paths, result["label_map"], result["annotations"], result["error"], strict=True
    ):
        expected = segmenter.segment(path, "cat, grass")
        label_map, names = decode_label_map(png)
        np.testing.assert_array_equal(label_map, expected.label_map)
        assert (names, error) == (("cat", "grass"), "")
        for annotation in json.loads(text):
            mask = coco_mask.decode(annotation["segmentation"]).astype(bool)
            np.testing.assert_array_equal(mask, label_map == names.index(annotation["name"]))
            assert annotation["area"] == mask.sum()


def test_images_come_in_any_form(predictor, paths):
    forms = [
        paths[0],
        open(paths[0], "rb").read(),  # noqa: PTH123, SIM115
        {"bytes": None, "path": paths[0]},
        {"bytes": open(paths[0], "rb").read(), "path": None},  # noqa: PTH123, SIM115
        Image.open(paths[0]),
        np.asarray(Image.open(paths[0])),
        np.asarray(Image.open(paths[0])).tolist(),
        (np.asarray(Image.open(paths[0])) / 255).tolist(),
    ]
    maps = predictor({"image": forms})["label_map"]
    assert len(set(maps)) == 1
    assert len(maps) == len(forms)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        ([[0, 300], [1, 2]], "values from 0 to 300; use 0 to 255"),
        ([[1, 2], [3]], "rows of different lengths"),
    ],
)
def test_lists_that_are_no_image_stop_no_other(predictor, paths, pixels, reason):
    result = predictor({"image": [pixels, paths[0]]})
    assert reason in result["error"][0] and result["error"][1] == ""


def test_an_image_that_fails_stops_no_other(predictor, paths, monkeypatch):
    real = MaskFormerProposalGenerator.__call__

    def propose(generator, image, **options):
        if image.shape[:2] == (30, 30):
            raise RuntimeError("CUDA out of memory")
        return real(generator, image, **options)

    monkeypatch.setattr(MaskFormerProposalGenerator, "__call__", propose)
    large = np.zeros((30, 30, 3), np.uint8)
    result = predictor({"image": ["nowhere.png", paths[0], 7, large]})
    assert "does not exist" in result["error"][0]
    assert result["error"][1] == ""
    assert "not a int" in result["error"][2]
    assert "too little memory" in result["error"][3]
    assert result["label_map"][0] == b""
    assert (result["annotations"][0], result["width"][0]) == ("[]", 0)


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("(-4:Insufficient memory) Failed to allocate")])
def test_an_image_whose_map_does_not_fit_into_memory_stops_no_other(predictor, paths, monkeypatch, error):
    real = GranularityRule.label

    def label(rule, masks):
        if masks.proposals.image_size == (30, 30):
            raise error
        return real(rule, masks)

    monkeypatch.setattr(GranularityRule, "label", label)
    large = np.zeros((30, 30, 3), np.uint8)
    failed, done = predictor({"image": [large, paths[0]]})["error"]
    assert "too little memory" in failed and not done


def test_rows_may_have_class_names_of_their_own(predictor, ovseg, paths):
    batch = {"image": paths, "classes": [["dog", "sky"], None, "!!!"]}
    result = predictor(batch)
    assert [decode_label_map(png)[1] for png in result["label_map"][:2]] == [("dog", "sky"), ("cat", "grass")]
    assert "No class name can be used" in result["error"][2]
    with pytest.raises(VocabularyError, match='a column "classes"'):
        Predictor(ovseg=ovseg)({"image": paths})


def test_each_text_of_a_list_is_one_class(ovseg, paths):
    predictor = Predictor(classes=["crane, bird", "sky"], ovseg=ovseg, precision="float32")
    batch = {"image": paths[:2], "classes": [None, ["Mt. Fuji. In snow", "cup / mug"]]}
    names = [decode_label_map(png)[1] for png in predictor(batch)["label_map"]]
    assert names == [("crane, bird", "sky"), ("Mt. Fuji. In snow", "cup")]


@pytest.mark.parametrize("values", [[3, 4], np.array([3, 4]), [3.0, float("nan")], [[3], [4]]])
def test_a_column_of_other_values_than_class_names_is_named(predictor, paths, values):
    with pytest.raises(VocabularyError, match=r'"classes" has the value .*3.*neither .*classes_column='):
        predictor({"image": paths[:2], "classes": values})


def test_arrays_are_given_on_request(ovseg, paths):
    predictor = Predictor(classes="cat", ovseg=ovseg, arrays=True, granularity=0.2)
    label_map, missing = predictor({"image": [paths[0], "nowhere.png"]})["label_map"]
    assert (label_map.shape, label_map.dtype) == (SIZES[0][::-1], np.int32)
    assert missing.shape == (0, 0)


def test_what_cannot_be_used_is_refused_at_once(ovseg):
    with pytest.raises(VocabularyError):
        Predictor(classes=" , ", ovseg=ovseg)
    with pytest.raises(VocabularyError, match="classes is a Vocabulary, which is neither a text"):
        Predictor(classes=Vocabulary.parse("cat"), ovseg=ovseg)
    with pytest.raises(VocabularyError, match="classes is a list, which is neither a text"):
        Predictor(classes=[1, 2], ovseg=ovseg)
    with pytest.raises(OvsegError, match="granularity"):
        Predictor(classes="cat", granularity=7)
    with pytest.raises(OvsegError, match="its columns: a"):
        Predictor(classes="cat", ovseg=ovseg)({"a": []})


def test_a_copy_holds_no_networks_and_a_process_loads_them_once(predictor, ovseg, paths):
    before = predictor({"image": paths})
    pickled = pickle.dumps(predictor)
    assert len(pickled) < 2000
    copy = pickle.loads(pickled)
    assert copy.segmenter is predictor.segmenter
    assert copy({"image": paths}) == before


@pytest.mark.skipif(sys.platform != "linux", reason="forks a process")
def test_another_process_gives_the_same(predictor, paths):
    """A forked process has its parent's networks in memory and does not use them."""
    arguments = (pickle.dumps(predictor), {"image": paths})
    process = fresh_processes().Process(target=predict_here_and_in_a_fork, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_datasets_can_map_with_it(predictor, paths):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "n": datasets.Value("int64")})
    data = datasets.Dataset.from_dict({"image": paths, "n": [0, 1, 2]}, features=features)
    mapped = data.map(predictor, batched=True, batch_size=2, remove_columns=["image"])
    expected = predictor({"image": paths})
    assert mapped["n"][:] == [0, 1, 2]
    assert [bytes(png) for png in mapped["label_map"][:]] == expected["label_map"]
    assert mapped["annotations"][:] == expected["annotations"]
    undecoded = data.cast_column("image", datasets.Image(decode=False))
    assert predictor(undecoded[:2])["label_map"] == expected["label_map"][:2]
