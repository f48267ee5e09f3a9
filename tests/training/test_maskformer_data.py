import numpy as np
import pytest
import torch
from PIL import Image

from ovseg_demo.errors import DatasetError
from ovseg_demo.proposals.normalization import PIXEL_MEAN
from ovseg_demo.sticker_world import BASE_CLASSES, CLASS_NAMES, NOVEL_CLASSES, render_scene
from ovseg_demo.training.maskformer_data import (
    VALIDATION_SEED,
    CocoStuffImages,
    LabelledScenes,
    coco_training_ids,
    crop,
    open_images,
    vary_colours,
)
from ovseg_demo.training.presets.types import ImageSizes
from ovseg_demo.vocabularies.class_lists import load_vocabulary
from tests.training.coco_folder import make_coco_folder

SIZES = ImageSizes(shortest=64, longest=128, crop=(128, 96))


def test_official_ids_become_training_ids_in_the_order_of_the_vocabulary():
    names = load_vocabulary("coco-stuff-171").class_names
    official = {"person": 1, "traffic light": 10, "fire hydrant": 11, "stop sign": 13, "toothbrush": 90}
    official |= {"banner": 92, "grass": 124, "wood": 182}
    ids = coco_training_ids(np.array([number - 1 for number in official.values()]))
    assert [names[i] for i in ids] == list(official)
    assert sorted(set(coco_training_ids(np.arange(182)).tolist())) == [-1, *range(171)]
    assert (coco_training_ids(np.array([255, 12 - 1, 91 - 1, 200])) == -1).all()


def test_scenes_are_a_function_of_seed_and_index():
    first, again = LabelledScenes().training(SIZES, 0), LabelledScenes().training(SIZES, 0)
    other = LabelledScenes().training(SIZES, 1)
    assert torch.equal(first[3]["image"], again[3]["image"])
    assert torch.equal(first[3]["labels"], again[3]["labels"])
    assert not torch.equal(first[3]["image"], other[3]["image"])
    assert first[3]["image"].shape == (3, 96, 128) and first[3]["image"].dtype == torch.uint8
    assert first[3]["labels"].shape == (24, 32)


def test_a_scene_is_seen_in_several_views():
    images = LabelledScenes().training(SIZES, 0)
    scenes = [render_scene(number, "segmentation") for number in (0, 1)]
    names = [set(np.unique(scene.label_map)) for scene in scenes]
    views = [images[i] for i in range(8)]
    visible = [
        {CLASS_NAMES.index(BASE_CLASSES[i]) for i in view["labels"].unique() if i >= 0} for view in views
    ]
    assert all(classes <= names[i // 4] for i, classes in enumerate(visible))
    assert len({view["image"].numpy().tobytes() for view in views}) > 6


def test_training_scenes_hold_base_classes_only():
    images = LabelledScenes().training(SIZES, 0)
    labels = torch.cat([images[i]["labels"].flatten() for i in range(0, 48, 4)])
    assert len(labels.unique()) > 20
    assert labels.max() < len(BASE_CLASSES)


def test_labels_lie_on_their_images():
    """A scene drawn with one grey a class: what is under a label is that class's grey."""
    labels = np.repeat(np.repeat(np.arange(48).reshape(6, 8), 16, axis=0), 16, axis=1)
    image = np.repeat((5 * labels)[..., None], 3, axis=2).astype(np.uint8)
    sample = crop(image, labels, (96, 64), np.random.default_rng(3))
    centres = sample["image"][0, 2::4, 2::4]
    assert torch.equal(centres, (5 * sample["labels"]).to(torch.uint8))


def test_what_an_image_does_not_fill_has_no_label_and_the_mean_colour():
    image, labels = np.zeros((40, 50, 3), dtype=np.uint8), np.zeros((40, 50), dtype=np.int64)
    sample = crop(image, labels, (96, 64), np.random.default_rng(0))
    assert (sample["labels"][:10, :12] == 0).all()
    assert (sample["labels"][10:] == -1).all() and (sample["labels"][:, 13:] == -1).all()
    assert sample["image"][:, 50, 60].tolist() == [round(mean) for mean in PIXEL_MEAN]


def test_novel_nouns_are_beyond_the_known_classes_in_validation():
    images = LabelledScenes()
    (image, labels), *_ = images.validation(2)
    scene = render_scene(VALIDATION_SEED, "validation", (640, 480))
    assert np.array_equal(image, scene.image)
    for index in np.unique(scene.label_map):
        found = np.unique(labels[scene.label_map == index])
        assert len(found) == 1
        if CLASS_NAMES[index] in NOVEL_CLASSES:
            assert found[0] >= len(images.class_names)
        else:
            assert images.class_names[found[0]] == CLASS_NAMES[index]


@pytest.mark.parametrize(
    "labels",
    ["annotations/stuffthingmaps", "stuffthingmaps_trainval2017", "stuffthingmaps", "annotations"],
)
def test_coco_stuff_is_read_from_its_official_folders(tmp_path, labels):
    images = open_images(make_coco_folder(tmp_path, labels=labels))
    names = images.class_names
    sample = images.training(SIZES, 0)[5]
    known = {names[i] for i in sample["labels"].unique().tolist() if i >= 0}
    assert known <= {"person", "grass"} and "grass" in known
    assert sample["image"].shape == (3, 96, 128)


def test_each_pass_over_coco_shows_every_image_in_other_tones(tmp_path):
    dataset = CocoStuffImages(make_coco_folder(tmp_path)).training(SIZES, 0)
    assert not torch.equal(dataset[0]["image"], dataset[3]["image"])
    assert torch.equal(dataset[4]["image"], dataset[4]["image"])


def test_coco_validation_comes_as_it_is(tmp_path):
    make_coco_folder(tmp_path, part="val2017")
    images = CocoStuffImages(tmp_path).validation(2)
    assert len(images) == 2
    assert all(image.shape == (80, 96, 3) and labels.shape == (80, 96) for image, labels in images)


def test_a_folder_that_is_not_coco_is_named(tmp_path):
    with pytest.raises(DatasetError, match="train2017"):
        CocoStuffImages(tmp_path).training(SIZES, 0)


def test_labels_of_another_image_are_refused(tmp_path):
    make_coco_folder(tmp_path)
    Image.new("L", (30, 30)).save(tmp_path / "annotations/stuffthingmaps/train2017/000000000000.png")
    with pytest.raises(DatasetError, match=r"96×80 pixels, but its labels 30×30"):
        CocoStuffImages(tmp_path).training(SIZES, 0)[0]


def test_colours_vary_and_stay_bytes():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    rng = np.random.default_rng(1)
    varied = [vary_colours(image, rng) for _ in range(5)]
    assert all(one.dtype == np.uint8 and one.shape == image.shape for one in varied)
    assert len({one.tobytes() for one in varied}) > 1
