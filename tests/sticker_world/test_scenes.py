import numpy as np
import pytest

from ovseg_demo.sticker_world import CLASS_NAMES, COLOURS, NOUNS, STUFF, UNSEEN_PAIRS, render_scene
from ovseg_demo.sticker_world.captions import pluralise

SMALL = (160, 120)
FRAME = """a an the photo picture scene of in with and beside next to near from close by there is are seen
two three four five six seven eight nine ten eleven twelve"""
NOUN_BY_NAME = {noun.name: noun for noun in NOUNS}


@pytest.fixture(scope="module")
def training_scenes():
    return {
        split: [render_scene(seed, split, SMALL) for seed in range(150)]
        for split in ("segmentation", "pretraining")
    }


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(seed, "validation", SMALL) for seed in range(60)]


def test_the_same_seed_gives_the_same_bytes():
    first, again = (render_scene(7, "validation", (200, 150)) for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.label_map.tobytes() == again.label_map.tobytes()
    assert first.instance_map.tobytes() == again.instance_map.tobytes()
    assert (first.objects, first.stuff, first.caption) == (again.objects, again.stuff, again.caption)


def test_other_seeds_and_other_splits_give_other_scenes():
    images = [render_scene(seed, split, SMALL).image.tobytes() for seed in (0, 1) for split in
              ("segmentation", "pretraining", "validation")]  # fmt: skip
    assert len(set(images)) == 6


def test_training_scenes_keep_to_their_splits(training_scenes):
    for split, scenes in training_scenes.items():
        for thing in (thing for scene in scenes for thing in scene.objects):
            assert (thing.colour, thing.noun) not in UNSEEN_PAIRS
            assert split == "pretraining" or not NOUN_BY_NAME[thing.noun].novel
            assert thing.colour is None or NOUN_BY_NAME[thing.noun].colourable


def test_pretraining_shows_novel_nouns_and_validation_unseen_pairs(training_scenes, scenes):
    visible = [thing for scene in training_scenes["pretraining"] for thing in scene.objects]
    assert sum(NOUN_BY_NAME[thing.noun].novel for thing in visible) > 0.1 * len(visible)
    pairs = [(thing.colour, thing.noun) for scene in scenes for thing in scene.objects]
    assert any(pair in UNSEEN_PAIRS for pair in pairs)


def test_about_half_of_the_objects_are_coloured(training_scenes):
    coloured = [
        thing.colour is not None for scenes in training_scenes.values() for s in scenes for thing in s.objects
    ]
    assert 0.4 < np.mean(coloured) < 0.6


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (64, 64), (33, 100)])
def test_arrays_have_the_announced_shapes_and_types(size):
    scene = render_scene(3, "pretraining", size)
    assert scene.image.shape == (size[1], size[0], 3) and scene.image.dtype == np.uint8
    assert scene.label_map.shape == (size[1], size[0]) and scene.label_map.dtype == np.int16
    assert scene.instance_map.shape == (size[1], size[0]) and scene.instance_map.dtype == np.int32


def test_label_map_and_instance_map_agree_with_the_objects(scenes):
    for scene in scenes:
        on_stuff = scene.instance_map == -1
        assert (scene.label_map[on_stuff] >= len(NOUNS)).all()
        assert set(np.unique(scene.instance_map[~on_stuff])) == set(range(len(scene.objects)))
        for number, thing in enumerate(scene.objects):
            mask = scene.instance_map == number
            assert (scene.label_map[mask] == thing.class_index).all()
            assert CLASS_NAMES[thing.class_index] == thing.noun
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert thing.box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
            assert thing.area == mask.sum()
            assert 0 < thing.visible_fraction <= 1


def test_stuff_is_what_the_label_map_shows(scenes):
    for scene in scenes:
        visible = {CLASS_NAMES[index] for index in np.unique(scene.label_map) if index >= len(NOUNS)}
        assert set(scene.stuff) == visible


def test_objects_are_called_by_their_own_names(scenes):
    for thing in (thing for scene in scenes for thing in scene.objects):
        assert thing.name_used in NOUN_BY_NAME[thing.noun].names
        assert thing.stuff_under in {stuff.name for stuff in STUFF}


def test_captions_mention_only_what_is_there(scenes):
    stuff_words = {
        word for stuff in STUFF for text in (*stuff.names, *stuff.phrases) for word in text.split()
    }
    frame_words = set(FRAME.split())
    for scene in scenes:
        words = set(stuff_words | frame_words)
        for thing in scene.objects:
            words |= set(thing.name_used.split()) | set(pluralise(thing.name_used).split())
            words |= {thing.colour} - {None}
        mentioned = set(scene.caption.replace(",", "").split())
        assert mentioned <= words, scene.caption
        colours = {thing.colour for thing in scene.objects} | {"blue"}  # "blue" may be the sky's
        assert mentioned & set(COLOURS) <= colours


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((1, "holiday"), '"holiday"'),
        ((-1, "validation"), "-1"),
        ((1, "validation", (8, 480)), "8×480"),
        ((1, "validation", (640, 10_000)), "640×10000"),
    ],
)
def test_errors_name_bad_requests(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_scene(*arguments)
