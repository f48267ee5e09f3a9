"""The map of the regions that are read so far, while an analysis goes on."""

import pytest

import ovseg_demo.ui.controller
from ovseg_demo.errors import VocabularyError
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.session import Session
from tests.ui.colour_world import Classifier
from tests.ui.updates import REQUEST, analyze, clears, collect, found


@pytest.fixture
def often(monkeypatch):
    """A preview after every region."""
    monkeypatch.setattr(ovseg_demo.ui.controller, "PREVIEW_PERIOD", 0.0)


@pytest.fixture
def slowly(monkeypatch):
    """Regions are read so slowly that there is time to do something meanwhile."""
    monkeypatch.setattr(Classifier, "seconds_a_region", 0.5)


def test_a_slow_analysis_shows_what_it_has_read_so_far(controller, image, often):
    session = Session()
    updates = list(controller.analyze(session, image, REQUEST))
    previews = [update["preview"] for update in updates if "preview" in update]
    of_maps = previews[:-1]
    assert [found(message) for message in of_maps] == [
        ["green"],
        ["green", "skyblue"],
        ["green", "skyblue", "red"],
        ["green", "skyblue", "red", "yellow"],
    ]
    assert [message["number"] for message in previews] == sorted(message["number"] for message in previews)
    assert clears({"preview": previews[-1]}, "preview")
    assert found(collect(updates)["map"]) == found(of_maps[-1])


def test_previews_follow_the_newest_valid_class_names(controller, image, often, slowly):
    session = Session()
    updates = controller.analyze(session, image, REQUEST)
    while "preview" not in next(updates):
        pass
    controller.edit(session, Request(prompt="green, blue"))
    too_many = ", ".join(f"name {i}" for i in range(21))
    assert "at most 20" in controller.edit(session, Request(prompt=too_many))["chips"]["problem"]
    *_, last = (update["preview"] for update in updates if "classes" in update.get("preview", {}))
    assert {entry["name"] for entry in last["classes"]} == {"green", "blue"}
    assert session.displayed.request.prompt == "green, blue"


def test_class_names_typed_during_an_analysis_without_any_are_previewed(controller, image, often, slowly):
    session = Session()
    updates = controller.analyze(session, image, Request())
    while "masks" not in next(updates):
        pass
    controller.edit(session, REQUEST)
    previews = [update["preview"] for update in updates if "preview" in update]
    assert "green" in found(previews[0])


def test_a_name_that_cannot_be_encoded_costs_nothing_that_was_read(controller, image, often, monkeypatch):
    encode, read, readings = Classifier.embed_names, Classifier.embed_regions, []

    def refuse(clip, names, templates, **options):
        if "llanfairpwll" in names:
            raise VocabularyError("This name is too long.")
        return encode(clip, names, templates, **options)

    def count(clip, proposals, **options):
        readings.append(proposals)
        return read(clip, proposals, **options)

    monkeypatch.setattr(Classifier, "embed_names", refuse)
    monkeypatch.setattr(Classifier, "embed_regions", count)
    session = Session()
    with pytest.raises(VocabularyError, match="too long"):
        collect(controller.analyze(session, image, Request(prompt="llanfairpwll")))
    assert found(collect(controller.analyze(session, image, REQUEST))["map"])
    assert len(readings) == 1


def test_a_quick_analysis_shows_no_preview(controller, image):
    _, newest = analyze(controller, image)
    assert clears({"preview": newest["preview"]}, "preview")


def test_a_preview_answers_no_questions(controller, image, often, slowly):
    session = Session()
    updates = controller.analyze(session, image, REQUEST)
    while "preview" not in next(updates):
        pass
    assert session.displayed is None
    assert clears(controller.explain(session, 0, 0), "why")
    session.runs.cancel()
    ending = collect(updates)
    assert "map" not in ending
    assert clears({"preview": ending["preview"]}, "preview")
