"""The events of a live view in every order: the start, the frames and Stop reach the server independently."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from ovseg_demo.ui.session_memory import SessionMemory
from tests.ui.colour_world import SLOW_COLOUR, landscape, save_image, stripes
from tests.ui.http_visitor import HttpVisitor, values_of
from tests.ui.serving import serve_page
from tests.ui.test_camera import FRAMES, LANDSCAPE, Visitor, encoded, in_thread
from tests.ui.updates import analyze, found
from tests.ui.waiting import wait_until

STRIPES = encoded(stripes((255, 0, 0), (0, 128, 0)))


def test_a_start_that_comes_after_its_stop_starts_nothing(controller, image):
    session, _ = analyze(controller, image)
    assert set(controller.live.stop(session, 1)) == {"still"}
    updates, generator = controller.live.start(session, 1, FRAMES)
    assert updates == {}
    assert generator is None
    assert session.runs.live is None
    assert session.image.path == image


def test_a_stop_leaves_a_newer_view_alone(controller):
    older = Visitor(controller)
    older.send()
    newer = Visitor(controller, session=older.session, view=2)
    stopped = older.stop()
    assert set(stopped) == {"still"}
    assert stopped["still"]["view"] == 1
    assert older.send() == {}, "nothing that could replace a message about the newer view"
    assert newer.send()["live"]["event"] == "answers"
    assert newer.stop()["map"]["frame"] == 1


def test_a_frame_and_a_stop_that_come_after_stop_change_nothing(controller):
    visitor = Visitor(controller)
    visitor.send()
    first, late, second = visitor.stop(), visitor.send(STRIPES), visitor.stop()
    assert late == {}
    for stopped in (first, second):
        assert stopped["map"]["frame"] == stopped["masks"]["frame"] == 1
    assert visitor.session.displayed.image.frame == 1


def test_stop_while_the_answer_to_a_frame_is_on_its_way(controller, monkeypatch):
    visitor = Visitor(controller)
    visitor.send()
    is_mapped, may_go_on = threading.Event(), threading.Event()
    touch = SessionMemory.touch

    def pause(memory, session):
        touch(memory, session)
        if threading.current_thread() is not threading.main_thread():
            is_mapped.set()
            assert may_go_on.wait(30)

    monkeypatch.setattr(SessionMemory, "touch", pause)
    late, results = in_thread(lambda: visitor.send(STRIPES))
    assert is_mapped.wait(30)
    stopped = visitor.stop()
    may_go_on.set()
    late.join(30)
    assert stopped["map"]["frame"] == stopped["masks"]["frame"] == 2
    assert found(stopped["map"]) == ["red", "green"]
    assert stopped["still"]["view"] == 1
    assert "still" not in results[0], "which no answer to a frame replaces"


@pytest.mark.parametrize("change", [{"generator": "sam"}, {"prompt": ""}])
def test_a_last_frame_without_the_newest_map_is_analyzed(controller, change):
    visitor = Visitor(controller)
    visitor.send()
    wanted = replace(FRAMES, **change)
    slow = encoded(stripes(SLOW_COLOUR, (255, 0, 0)))
    late, _ = in_thread(lambda: visitor.send(slow, wanted))
    wait_until(lambda: visitor.session.runs.is_running("live") and visitor.session.wanted.request == wanted)
    stopped = visitor.stop()
    late.join(30)
    assert "map" not in stopped
    assert stopped["masks"]["frame"] == 1
    assert set(stopped["open"]) == {"number", "example"}, "which asks the page to analyze it"
    _, newest = analyze(controller, None, wanted, visitor.session)
    assert set(found(newest["map"])) >= {"green", "red", "yellow"}


def test_a_frame_that_fails_leaves_the_last_one_as_an_image():
    with serve_page() as server:
        visitor = LiveVisitor(server.url)
        visitor.start()
        assert visitor.frame()["live"]["event"] == "answers"
        failed = visitor.frame("no base64")
        assert failed["still"]["view"] == 1
        assert failed["status"]["isProblem"]
        assert failed["masks"]["frame"] == failed["map"]["frame"] == 1


def test_stop_after_a_frame_that_was_refused():
    with serve_page(queued_analyses=1, concurrent_analyses=1) as server:
        visitor, busy = LiveVisitor(server.url), LiveVisitor(server.url)
        for one in (visitor, busy):
            one.start()
        assert visitor.frame()["live"]["event"] == "answers"
        busy.join(
            "map_frame", busy.values, busy.data(encoded(stripes(SLOW_COLOUR, (255, 0, 0))))
        ).raise_for_status()
        refused = visitor.join("map_frame", [*visitor.values], visitor.data(STRIPES))
        assert refused.status_code == 429, "the only place is taken"
        stopped = visitor.stop()
        assert stopped["map"]["frame"] == stopped["masks"]["frame"] == 1
        assert found(stopped["map"])
        busy.stop()


def test_stop_before_the_first_frame_gives_the_image_its_place_back(tmp_path):
    image = save_image(tmp_path / "landscape.png", landscape())
    with serve_page() as server:
        visitor = LiveVisitor(server.url)
        uploaded = visitor.uploaded(image)
        visitor.do("analyze", [None, uploaded, *values_of(prompt="red, green", generator="sam")])
        before, generator = visitor.start()[-2:]
        assert (before, generator) == (None, "maskformer")
        after, generator = visitor.end()[-2:]
        assert after["path"] == uploaded["path"]
        assert generator == "sam"


class LiveVisitor(HttpVisitor):
    """A page with a live camera, over HTTP."""

    values = (None, *values_of(prompt="red, green", generator="maskformer"))
    frames = 0

    def data(self, image: str) -> dict:
        self.frames += 1
        return {"view": 1, "frame": self.frames, "image": image}

    def start(self) -> list:
        return self.do("go_live", [*self.values], {"view": 1})["output"]["data"]

    def frame(self, image: str = LANDSCAPE) -> dict:
        return self.do("map_frame", [*self.values], self.data(image))["output"]["data"][0]["props"]

    def stop(self) -> dict:
        return self.end()[0]["props"]

    def end(self) -> list:
        return self.do("end_live", [None], {"view": 1})["output"]["data"]
