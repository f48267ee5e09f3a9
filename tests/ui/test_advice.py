"""What is said beside a map about its class names and its image."""

import numpy as np
import pytest

from ovseg_demo.ui.request import Request
from tests.ui.colour_world import VEILED_RED, landscape, save_image, stripes
from tests.ui.updates import analyze, found


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


@pytest.fixture
def veiled(tmp_path):
    """A red image with a blue stripe that two masks of the whole image outvote."""
    pixels = stripes(VEILED_RED, VEILED_RED, VEILED_RED, (0, 0, 255))
    return str(save_image(tmp_path / "veiled.png", pixels))


def test_a_name_that_other_masks_outvote_gets_the_granularity_that_shows_it(controller, veiled):
    session, newest = analyze(controller, veiled, Request(prompt="red, blue"))
    assert found(newest["map"]) == ["red"]
    (remedy,) = newest["notice"]["remedies"]
    assert remedy["text"] == (
        "“blue” is the best name of a mask (score 1.00), but other masks outvote it at granularity 0.8."
    )
    assert remedy["button"] == {"label": "Set granularity to 1", "granularity": 1}
    updates = controller.edit(session, Request(prompt="red, blue", granularity=1))
    assert found(updates["map"]) == ["red", "blue"]
    assert "remedies" not in updates["notice"]
    always = controller.edit(session, Request(prompt="red, blue, unicorn"))
    (remedy,) = always["notice"]["remedies"]
    assert "outvote it at every granularity" in remedy["text"], "of blue; the unicorn is not there"
    assert "button" not in remedy


def test_a_name_that_is_left_out_gets_the_least_score_that_shows_it(controller, image):
    names = "red, orangered, green"
    session, newest = analyze(controller, image, Request(prompt=names, min_scores='{"red": 1}'))
    assert "red" not in found(newest["map"])
    (remedy,) = newest["notice"]["remedies"]
    assert remedy["text"].endswith("but stays below its least score of 1.00.")
    assert remedy["button"] == {"label": "Lower its least score to 0.95", "name": "red", "minScore": 0.95}
    updates = controller.edit(session, Request(prompt=names, min_scores='{"red": 0.95}'))
    assert "red" in found(updates["map"])
    assert "remedies" not in updates["notice"]


def test_a_name_that_a_correction_hides_needs_no_remedy(controller, image):
    session, _ = analyze(controller, image, Request(prompt="red, green, skyblue, yellow"))
    corrected = controller.correct(session, {"kind": "name", "x": 80, "y": 100, "name": "house"})
    assert "red" not in found(corrected["map"])
    assert "remedies" not in corrected["notice"]
