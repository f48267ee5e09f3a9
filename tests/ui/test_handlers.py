from dataclasses import fields
from itertools import pairwise

import gradio as gr
import pytest

from ovseg_demo.errors import OvsegError
from ovseg_demo.ui import PageSettings
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.handlers import EventHandlers
from ovseg_demo.ui.layout import build_layout
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.session import Session
from tests.ui.colour_world import colour_segmenter, landscape, save_image

DEFAULTS = [None] * (len(fields(Request)) - 3)
"""The components behind prompt, generator and granularity, as the browser leaves them empty."""


@pytest.fixture
def handlers():
    registry, settings = ModelRegistry.of_segmenter(colour_segmenter()), PageSettings()
    with gr.Blocks():
        parts = build_layout(registry, settings, ())
    return EventHandlers(
        parts,
        PageController(PageResources(registry, settings, lambda content, name: {"path": name})),
        registry,
        settings,
        (),
    )


def test_each_output_of_an_analysis_repeats_the_channels_before(handlers, tmp_path):
    image = str(save_image(tmp_path / "landscape.png", landscape()))
    outputs = list(handlers.analyze(Session(), image, "red, green", "sam", 0.8, *DEFAULTS))
    channels = [{key for output in each.values() for key in output} for each in outputs]
    assert {"image", "masks", "map", "progress"} <= channels[-1]
    for earlier, later in pairwise(channels):
        assert earlier <= later


def test_an_error_of_an_analysis_is_also_a_message_of_the_viewer(handlers):
    outputs, session = [], Session()
    with pytest.raises(OvsegError, match="There is no image yet"):
        for output in handlers.analyze(session, None, "red", "sam", 0.8, *DEFAULTS):
            outputs.append(output)
    status = outputs[-1][handlers._parts.viewer]["status"]
    assert status["isProblem"] and status["text"].startswith("There is no image yet; choose an example")


def test_the_address_is_the_newest_request(handlers):
    session = Session()
    chips = handlers._parts.chips
    assert handlers.edit(session, "red, green", "sam", 0.5, *DEFAULTS)[chips]["link"] == (
        "?prompt=red%2C+green&generator=sam&granularity=0.5"
    )
    assert handlers.edit(session, "x" * 101, "sam", 0.8, *DEFAULTS)[chips]["link"].startswith("?prompt=xxx")
    assert handlers.edit(session, "", "sam", 0.8, *DEFAULTS)[chips]["link"] == "?prompt=&generator=sam"
    assert handlers.edit(session, "a, " * 6000, "sam", 0.8, *DEFAULTS)[chips]["link"] is None


def test_clear_forgets_the_prompt_everywhere(handlers):
    saved = {"recent": ["red"], "settings": {"prompt": "red", "granularity": 0.5}}
    outputs = handlers.clear(Session(), saved)
    parts = handlers._parts
    assert outputs[parts.prompt] == "" and outputs[parts.chips]["link"] == ""
    assert outputs[parts.saved] == {"recent": ["red"], "settings": {"granularity": 0.5}}
    assert handlers.clear(Session(), "made up")[parts.saved] == {"recent": [], "settings": {}}
