"""What is said beside a map about its class names and its image."""

import numpy as np
import pytest

from ovseg_demo.ui.request import Request
from tests.ui.colour_world import landscape, save_image
from tests.ui.updates import analyze


def advice_for(controller, image, prompt, **settings):
    _, newest = analyze(controller, image, Request(prompt=prompt, **settings))
    return newest["notice"]["advice"]


@pytest.mark.parametrize(
    "prompt, part",
    [
        ("red", "“red” has no rival"),
        ("green, no snowman", "“no snowman”: the model does not read negations"),
        ("green, two cups", "“two cups”: the model does not count"),
        ("green, 3 cups", "“3 cups”: the model does not count"),
        ("green, left button", "“left button”: the model does not read positions"),
        ("green, cup next to the plate", "does not read positions"),
    ],
)
def test_what_a_model_does_not_read_is_said(controller, image, prompt, part):
    (sentence,) = advice_for(controller, image, prompt)
    assert part in sentence


@pytest.mark.parametrize("prompt", ["red, green", "red, notebook, twocolour, bright red, tennis"])
def test_usual_names_need_no_advice(controller, image, prompt):
    assert advice_for(controller, image, prompt) == []


def test_rivals_of_the_visitor_are_rivals(controller, image):
    assert advice_for(controller, image, "red", distractors="own", own_distractors="green") == []
    assert len(advice_for(controller, image, "red", distractors="none")) == 1


def test_an_image_that_was_scaled_is_told(controller, tmp_path):
    pixels = np.tile(landscape(), (10, 10, 1))
    (sentence,) = advice_for(controller, str(save_image(tmp_path / "large.png", pixels)), "red, green")
    assert sentence.startswith("The image was scaled from 3,200×2,400 to ")
