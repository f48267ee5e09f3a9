from itertools import pairwise

import gradio as gr
import pytest

from ovseg_demo.ui import PageSettings
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.handlers import Steps
from ovseg_demo.ui.layout import lay_out
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.session import Session
from tests.ui.colour_world import colour_segmenter, landscape, save_image


@pytest.fixture
def steps():
    registry, settings = ModelRegistry.of_segmenter(colour_segmenter()), PageSettings()
    with gr.Blocks():
        parts = lay_out(registry, settings, ())
    return Steps(
        parts,
        PageController(registry, settings, lambda content, name: {"path": name}),
        registry,
        settings,
        (),
    )


def test_each_output_of_a_look_repeats_what_was_told_before(steps, tmp_path):
    image = str(save_image(tmp_path / "landscape.png", landscape()))
    outputs = list(steps.look(Session(), image, "red, green", "sam", 0.8, *[None] * 5))
    told = [{key for output in each.values() for key in output} for each in outputs]
    assert {"image", "masks", "map", "progress"} <= told[-1]
    for earlier, later in pairwise(told):
        assert earlier <= later
