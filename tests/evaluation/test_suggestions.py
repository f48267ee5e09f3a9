"""The share of true names among suggestions, on scenes whose suggestions can be foretold."""

import numpy as np
import pytest

from ovseg_demo.evaluation.sticker_world import StickerScenes
from ovseg_demo.evaluation.suggestions import (
    SAME,
    NamedScene,
    is_suggested,
    measure_suggestions,
    sticker_scenes,
)
from ovseg_demo.vocabularies.class_lists import load_vocabulary, suggestion_candidates
from tests.ui.colour_world import colour_segmenter, landscape, stripes


def test_true_names_among_the_first_are_counted():
    scenes = [
        NamedScene(landscape(), {"red": 0.1, "green": 0.4, "sky blue": 0.4, "unicorn": 0.001}),
        NamedScene(stripes((0, 0, 255), (255, 0, 0)), {"blue": 0.5}),
    ]
    figures = measure_suggestions(colour_segmenter(), scenes, count=4)
    assert (figures["scenes"], figures["true names"]) == (2, 5)
    assert figures["among the first 4"] == pytest.approx(4 / 5)
    assert figures["the same, of names that cover 1% of their image"] == 1
    fewer = measure_suggestions(colour_segmenter(), scenes, count=2)
    assert fewer["among the first 2"] == pytest.approx(3 / 5)


def test_names_that_mean_the_same_count_apart():
    assert is_suggested("couch", {"sofa"}, SAME)
    assert not is_suggested("couch", {"chair"}, SAME)
    assert is_suggested("zebra", {"zebra"}, SAME)


def test_the_table_of_names_has_classes_of_coco_and_candidates():
    assert set(SAME) <= set(load_vocabulary("coco-stuff-171").class_names[:80])
    assert set().union(*SAME.values()) <= {candidate.name for candidate in suggestion_candidates()}


def test_scenes_of_sticker_world_have_their_names():
    scenes = StickerScenes.from_seed(5_000_000, 1)
    (scene,) = sticker_scenes(StickerScenes(scenes.seeds, size=(160, 120)))
    assert scene.image.shape == (120, 160, 3)
    assert set(scene.shares) <= set(scenes.vocabulary.class_names)
    assert np.isclose(sum(scene.shares.values()), 1)
