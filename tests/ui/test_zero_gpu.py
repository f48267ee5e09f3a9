"""Lent GPUs, with a stand-in for ``spaces`` that does what matters: it pickles what goes in and out."""

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ovseg_demo.errors import Cancelled, VocabularyError
from ovseg_demo.proposals.sam.generator import SamProposalGenerator
from ovseg_demo.proposals.types import MaskPrompt
from ovseg_demo.runtime.caching import LazyModel
from ovseg_demo.segmenter import Segmenter
from ovseg_demo.ui import PageSettings
from ovseg_demo.ui.application import make_registry
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.options import AppOptions
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.zero_gpu import is_zero_gpu, lending
from tests.test_segmenter import make_clip, random_image
from tests.tiny.checkpoints import save_tiny_ovseg
from tests.tiny.sam import TINY_SAM_THRESHOLDS, tiny_sam
from tests.ui.colour_world import colour_segmenter, landscape, save_image


class Spaces(SimpleNamespace):
    """Counts decorated functions and lent calls."""

    def GPU(self, duration):  # noqa: N802 (its name there)
        def decorate(function):
            self.decorated += 1

            def call(*arguments):
                self.lent += 1
                return pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps(arguments)))))

            return call

        assert 0 < duration <= 120
        return decorate


@pytest.fixture
def spaces(monkeypatch):
    spaces = Spaces(decorated=0, lent=0)
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    return spaces


def test_an_environment_variable_marks_such_a_space():
    assert is_zero_gpu({"SPACES_ZERO_GPU": "true"})
    assert not is_zero_gpu({})


def test_a_lent_segmenter_gives_the_same(spaces):
    devices = []

    def load(device="auto", precision="auto"):
        devices.append((device, precision))
        return colour_segmenter()

    lent, own = lending(load)(precision="float16"), colour_segmenter()
    assert (lent.generators, lent.classifiers) == (own.generators, own.classifiers)
    assert lent.templates == own.templates
    assert (spaces.decorated, spaces.lent, devices) == (1, 0, [("cpu", "auto")])
    image = landscape()
    found = lent.segment(image, "red, green", granularity=0.3)
    np.testing.assert_array_equal(
        found.label_map, own.segment(image, "red, green", granularity=0.3).label_map
    )
    assert found.explain(0, 239).name == "green"
    assert (spaces.lent, devices) == (2, [("cpu", "auto"), ("auto", "float16")]), (
        "one call for the image, one for the names"
    )
    analysis = lent.analyze(image, generator="maskformer")
    assert len(analysis.proposals) == len(own.propose(image, generator="maskformer"))
    assert analysis.segment("green, red").class_names == ("green", "red")
    assert spaces.lent == 3, "known names need no GPU"


def test_a_new_mask_is_made_on_the_lent_gpu(spaces):
    def load(**options):
        generator = SamProposalGenerator(tiny_sam(), **TINY_SAM_THRESHOLDS)
        return Segmenter({"sam": LazyModel(lambda: generator)}, LazyModel(make_clip))

    lent, own = lending(load)(), load()
    image, prompt = random_image(), MaskPrompt(inside=((20, 10),))
    analysis, calls = lent.analyze(image), spaces.lent
    np.testing.assert_array_equal(lent.mask_at(analysis, prompt), own.mask_at(own.analyze(image), prompt))
    assert spaces.lent == calls + 1


def test_the_page_works_with_a_lent_segmenter(spaces, tmp_path):
    registry = ModelRegistry.of_segmenter(lending(lambda **options: colour_segmenter())())
    controller = PageController(PageResources(registry, PageSettings(), lambda content, name: {"path": name}))
    image = save_image(tmp_path / "landscape.png", landscape())
    *_, newest = (
        update["map"]
        for update in controller.analyze(Session(), str(image), Request(prompt="green, red"))
        if "map" in update
    )
    assert {entry["name"] for entry in newest["classes"] if entry["isFound"]} >= {"green", "red"}


def test_errors_and_leaving_before_a_call_are_as_ever(spaces):
    lent = lending(lambda **options: colour_segmenter())()
    with pytest.raises(VocabularyError, match="No class name was given"):
        lent.segment(landscape(), " , ")

    def leave(stage, done, total):
        raise Cancelled("The run was cancelled.")

    calls = spaces.lent
    with pytest.raises(Cancelled):
        lent.analyze(landscape(), progress=leave)
    assert spaces.lent == calls


def test_the_space_knows_before_the_page_opens_that_a_gpu_is_wanted(spaces, tmp_path):
    ovseg = save_tiny_ovseg(tmp_path / "ovseg.pth")
    registry = make_registry(AppOptions(weights={"ovseg": ovseg}), on_lent_gpu=True)
    assert (spaces.decorated, spaces.lent) == (1, 0)
    assert registry.default.generators == ("maskformer",)
    assert make_registry(AppOptions(model="sticker-world"), on_lent_gpu=True).default.name == "sticker-world"
    assert spaces.decorated == 2
