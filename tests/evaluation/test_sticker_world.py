import numpy as np
import pytest

from ovseg_demo.errors import DatasetError
from ovseg_demo.evaluation.catalogue import open_dataset
from ovseg_demo.evaluation.sticker_world import BASE_NOUNS, NOVEL, STUFF, StickerScenes, is_thing, label_scene
from ovseg_demo.sticker_world import BENCHMARK_SEEDS, CLASS_NAMES, NOVEL_CLASSES, render_scene


@pytest.fixture(scope="module")
def scene():
    return render_scene(3, "validation", (160, 120))


def test_the_benchmark_is_the_fixed_scenes_with_all_classes():
    dataset = open_dataset("sticker-world")
    assert dataset.keys == tuple(map(str, BENCHMARK_SEEDS))
    assert len(dataset.keys) == 200
    assert dataset.size == (640, 480)
    assert dataset.vocabulary.all_names == CLASS_NAMES, "without synonyms"
    assert {CLASS_NAMES[i] for i in dataset.novel_classes} == set(NOVEL_CLASSES)


def test_the_groups_part_the_classes():
    assert sorted((*BASE_NOUNS, *NOVEL, *STUFF)) == list(range(len(CLASS_NAMES)))


@pytest.mark.parametrize(
    ("options", "seeds"),
    [({"scenes": 3, "seed": 7}, (7, 8, 9)), ({"scenes": 2}, (0, 1)), ({"seed": 5}, tuple(range(5, 205)))],
    ids=str,
)
def test_other_scenes_are_chosen_by_number_and_seed(options, seeds):
    assert open_dataset("sticker-world", **options).seeds == seeds


def test_a_scene_is_loaded_by_its_seed(scene):
    sample = StickerScenes((3,), (160, 120)).load("3")
    np.testing.assert_array_equal(sample.image, scene.image)
    np.testing.assert_array_equal(sample.labels, scene.label_map)


def test_segments_are_the_objects_and_each_stuff(scene):
    sample = label_scene(scene)
    np.testing.assert_array_equal(sample.segment_classes[sample.segments], sample.labels)
    assert len(sample.segment_classes) == len(scene.objects) + len(scene.stuff)
    areas = np.bincount(sample.segments.ravel())
    assert areas[: len(scene.objects)].tolist() == [thing.area for thing in scene.objects]
    assert is_thing(sample.segment_classes).tolist() == [True] * len(scene.objects) + [False] * len(
        scene.stuff
    )


@pytest.mark.parametrize("options", [{"scenes": 0}, {"scenes": 2, "seed": -1}], ids=str)
def test_impossible_scenes_are_an_error(options):
    with pytest.raises(DatasetError, match="choose at least 1 scene"):
        open_dataset("sticker-world", **options)


def test_it_is_not_read_from_a_folder(tmp_path):
    with pytest.raises(DatasetError, match="leave out --root"):
        open_dataset("sticker-world", tmp_path)
