"""Sticker World tells its own scenes from photographs."""

import pytest

from ovseg_demo import load_segmenter
from ovseg_demo.ui.examples import EXAMPLES
from ovseg_demo.ui.familiarity import familiarity, is_foreign
from ovseg_demo.vocabularies.class_lists import load_vocabulary

WORLD = load_vocabulary("sticker-world")


@pytest.fixture(scope="module")
def segmenter():
    return load_segmenter("sticker-world", device="cpu")


@pytest.mark.parametrize(("image", "foreign"), [("shelf.jpg", False), ("cat.jpg", True)])
def test_photographs_are_foreign_and_scenes_are_not(segmenter, image, foreign):
    analysis = segmenter.analyze(EXAMPLES / image, generator="maskformer")
    assert is_foreign(analysis, WORLD) is foreign
    assert 0 < familiarity(analysis, WORLD) < 1
