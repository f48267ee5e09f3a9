"""A visitor changes between models, and compares them."""

import gc
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from ovseg_demo.errors import VocabularyError
from ovseg_demo.segmenter import Caches, Segmenter
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.model_registry import MAX_LOADED, ModelEntry, ModelRegistry
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.settings import PageSettings
from tests.ui import colour_world
from tests.ui.colour_world import colour_segmenter
from tests.ui.updates import analyze, collect, found

NAMES = [f"model-{number}" for number in range(MAX_LOADED + 1)]


def page_of(load: Callable[[str], Segmenter], generators: tuple[str, ...] = ("sam",)) -> PageController:
    """Return a page whose first model has both generators, and whose others have these."""
    first = ModelEntry(NAMES[0], "First", "", ("sam", "maskformer"))
    others = [ModelEntry(name, name, "", generators) for name in NAMES[1:]]
    registry = ModelRegistry([first, *others], load)
    return PageController(PageResources(registry, PageSettings(), lambda content, name: {"path": name}))


def test_a_model_that_makes_room_is_held_by_no_session(image):
    loaded = weakref.WeakSet()

    def load(name):
        segmenter = colour_segmenter(caches=Caches())
        loaded.add(segmenter.text_encoder()._model)
        return segmenter

    controller = page_of(load)
    sessions = [analyze(controller, image, Request("red, green", model=name))[0] for name in NAMES]
    assert [session.is_expired for session in sessions] == [True, False, False]
    gc.collect()
    assert len(loaded) == MAX_LOADED
    assert "press Submit" in controller.edit(sessions[0], Request("red", model=NAMES[0]))["status"]["text"]
    _, newest = analyze(controller, image, Request("red, green", model=NAMES[0]), sessions[0])
    assert found(newest["map"]) == ["green", "red"]


def test_a_session_that_compares_with_such_a_model_expires_too(image):
    controller = page_of(lambda name: colour_segmenter())
    session, _ = analyze(controller, image, Request("red, green"))
    collect(controller.compare(session, f"model:{NAMES[1]}"))
    analyze(controller, image, Request("red, green"))  # the first model is the newer one now
    analyze(controller, image, Request("red, green", model=NAMES[2]))
    assert session.is_expired and session.comparison is None


def test_a_new_mask_is_made_by_the_model_that_analyzed_the_image(image):
    asked = []

    def load(name):
        segmenter = colour_segmenter()
        size = (240, 320)
        segmenter.mask_at = lambda analysis, prompt: asked.append((name, analysis)) or np.ones(size, bool)
        return segmenter

    controller = page_of(load)
    session, _ = analyze(controller, image, Request("red, green"))
    with pytest.raises(VocabularyError):
        analyze(controller, image, Request("狗", model=NAMES[1]), session)
    assert session.displayed.request.model == "", "the map of the first model stays"
    controller.correct(session, {"kind": "mask", "mask": 1, "name": "barn", "inside": [[80, 100]]})
    assert asked == [(NAMES[1], session.analysis)]


def test_a_model_that_lacks_the_chosen_generator_uses_its_first(image):
    controller = page_of(lambda name: colour_segmenter())
    session, newest = analyze(controller, image, Request("red, green", "maskformer", model=NAMES[1]))
    assert session.analysis.generator == "sam" and found(newest["map"]) == ["green", "red"]


def test_another_model_is_compared_with_its_own_templates(image, monkeypatch):
    asked = []
    real = colour_world.Classifier.embed_names

    def embed_names(self, names, templates, **options):
        asked.append(templates)
        return real(self, names, templates, **options)

    monkeypatch.setattr(colour_world.Classifier, "embed_names", embed_names)
    controller = page_of(lambda name: colour_segmenter(caches=Caches(), templates="photo"))
    session, _ = analyze(controller, image, Request("red, green", templates="imagenet"))
    assert asked == ["imagenet"]
    collect(controller.compare(session, f"model:{NAMES[1]}"))
    assert asked == ["imagenet", "photo"]


def test_a_comparison_that_another_choice_rules_out_ends(image):
    controller = page_of(lambda name: colour_segmenter())
    session, _ = analyze(controller, image, Request("red, green"))
    collect(controller.compare(session, "generator:maskformer"))
    _, newest = analyze(controller, image, Request("red, green", "maskformer"), session)
    assert found(newest["map"]) == ["green", "red"] and "other" not in newest
    assert session.compares == ""


def test_a_comparison_that_is_chosen_while_an_analysis_ends_is_made(image, monkeypatch):
    controller = page_of(lambda name: colour_segmenter(caches=Caches()))
    session, _ = analyze(controller, image, Request("red, green"))
    encodes, may_go_on = threading.Event(), threading.Event()
    real = colour_world.Classifier.embed_names

    def slow(self, names, templates, **options):
        encodes.set()
        assert may_go_on.wait(60)
        return real(self, names, templates, **options)

    monkeypatch.setattr(colour_world.Classifier, "embed_names", slow)
    request = Request("red, green, blue", model=NAMES[1])
    updates = []
    analysis = threading.Thread(target=lambda: updates.extend(controller.analyze(session, image, request)))
    analysis.start()
    assert encodes.wait(60), "the image is analyzed, its names are being encoded"
    assert list(controller.compare(session, "clips")) == []
    may_go_on.set()
    analysis.join(60)
    assert collect(updates)["other"]["rival"] == "clips"
