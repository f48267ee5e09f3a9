from types import SimpleNamespace

import numpy as np
import pytest

from ovseg_demo import vocabulary
from ovseg_demo.sticker_world import STUFF, object_caption, stuff_caption
from ovseg_demo.sticker_world.captions import TEMPLATES, describe, pluralise, scene_caption

RED_CAR = SimpleNamespace(name_used="car", colour="red")


@pytest.mark.parametrize(
    "singular, plural",
    [
        ("cat", "cats"),
        ("mouse", "mice"),
        ("fish", "fish"),
        ("pony", "ponies"),
        ("toy", "toys"),
        ("bus", "buses"),
        ("box", "boxes"),
        ("kitchen knife", "kitchen knives"),
        ("loaf of bread", "loaves of bread"),
        ("cup of coffee", "cups of coffee"),
        ("tomato", "tomatoes"),
    ],
)
def test_plurals(singular, plural):
    assert pluralise(singular) == plural


@pytest.mark.parametrize(
    "name, colour, count, phrase",
    [
        ("car", "red", 1, "a red car"),
        ("apple", None, 1, "an apple"),
        ("car", "orange", 1, "an orange car"),
        ("unicorn", None, 1, "a unicorn"),
        ("umbrella", None, 1, "an umbrella"),
        ("hourglass", None, 1, "an hourglass"),
        ("UFO", None, 1, "a UFO"),
        ("house", "blue", 3, "three blue houses"),
        ("corn", None, 2, "corn"),
        ("scissors", "red", 1, "red scissors"),
        ("pair of scissors", "red", 1, "a red pair of scissors"),
    ],
)
def test_noun_phrases(name, colour, count, phrase):
    assert describe(name, colour, count) == phrase


def test_object_captions_vary_and_name_the_object():
    rng = np.random.default_rng(0)
    captions = [object_caption(RED_CAR, "grass", rng) for _ in range(300)]
    assert len(set(captions)) > 40
    assert all("car" in caption for caption in captions)
    assert {"car", "red car", "a photo of a red car."} <= set(captions)
    assert 0.15 < np.mean(["grass" in caption or "lawn" in caption for caption in captions]) < 0.5
    from_templates = {template.format("red car") for template in TEMPLATES}
    assert from_templates <= set(captions)


def test_captions_use_the_prompts_that_the_classifier_uses():
    assert vocabulary.TEMPLATES["vild"] == TEMPLATES


def test_an_object_on_nothing_known_is_described_alone():
    rng = np.random.default_rng(0)
    stuff_names = {name for stuff in STUFF for name in stuff.names}
    captions = [object_caption(RED_CAR, None, rng) for _ in range(100)]
    assert not any(name in caption for caption in captions for name in stuff_names)


@pytest.mark.parametrize("stuff", STUFF, ids=lambda stuff: stuff.name)
def test_stuff_captions_use_one_of_its_names(stuff):
    rng = np.random.default_rng(0)
    captions = {stuff_caption(stuff.name, rng) for _ in range(60)}
    assert len(captions) > 10
    assert all(any(name in caption for name in stuff.names) for caption in captions)


def test_scene_captions_count_what_is_alike():
    rng = np.random.default_rng(0)
    captions = {scene_caption([RED_CAR] * 2, ["road"] * 2, ["road"], rng) for _ in range(50)}
    assert "two red cars" in captions
    assert any("road" in caption or "street" in caption for caption in captions)


def test_an_empty_scene_is_called_by_its_stuff():
    assert "the sky and grass" in scene_caption([], [], ["sky", "grass"], np.random.default_rng(0))
