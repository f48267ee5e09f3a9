from itertools import pairwise

import gradio as gr
import pytest

from ovseg_demo.ui import PageSettings
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.handlers import EventHandlers
from ovseg_demo.ui.layout import build_layout
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.session import Session
from tests.ui.colour_world import colour_segmenter, landscape, save_image


@pytest.fixture
def handlers():
    registry, settings = ModelRegistry.of_segmenter(colour_segmenter()), PageSettings()
    with gr.Blocks():
        parts = build_layout(registry, settings, ())
    return EventHandlers(
        parts,
        PageController(registry, settings, lambda content, name: {"path": name}),
        registry,
        settings,
        (),
    )


def test_each_output_of_an_analysis_repeats_the_channels_before(handlers, tmp_path):
    image = str(save_image(tmp_path / "landscape.png", landscape()))
    outputs = list(handlers.analyze(Session(), image, "red, green", "sam", 0.8, *[None] * 5))
    channels = [{key for output in each.values() for key in output} for each in outputs]
    assert {"image", "masks", "map", "progress"} <= channels[-1]
    for earlier, later in pairwise(channels):
        assert earlier <= later
