"""The camera, live: what becomes of its frames on the server."""

import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.errors import ImageError, OvsegError
from ovseg_demo.ui import camera, live
from ovseg_demo.ui.controller import PageController
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.resources import PageResources
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.settings import PageSettings
from tests.ui.colour_world import SLOW_COLOUR, colour_segmenter, landscape, stripes
from tests.ui.updates import REQUEST, analyze, found, labels
from tests.ui.waiting import wait_until

FRAMES = Request(prompt="red, green, skyblue, yellow", generator="maskformer")


def encoded(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")  # exact colours; a browser sends JPEG
    return base64.b64encode(buffer.getvalue()).decode()


LANDSCAPE = encoded(landscape())


class Visitor:
    """A page with a live camera."""

    def __init__(
        self,
        controller: PageController,
        request: Request = FRAMES,
        session: Session | None = None,
        view: int = 1,
    ):
        self.session = session or Session()
        self.controller = controller
        self.request = request
        self.frames = 0
        updates, self.generator = controller.live.start(self.session, view, request)
        assert updates["start"]["view"] == view
        self.view = view

    def send(self, image: str = LANDSCAPE, request: Request | None = None) -> dict:
        self.frames += 1
        data = {"view": self.view, "frame": self.frames, "image": image}
        return self.controller.live.answer(self.session, data, request or self.request)

    def stop(self) -> dict:
        return self.controller.live.stop(self.session, self.view)


def in_thread(work) -> tuple[threading.Thread, list]:
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    return thread, results


def test_each_frame_gets_its_map_and_leaves_no_trace(controller, published):
    visitor = Visitor(controller)
    assert visitor.generator == "maskformer", "which takes the least time"
    for number in (1, 2):
        updates = visitor.send()
        assert found(updates["map"]) == ["green", "skyblue", "red", "yellow"]
        assert (labels(updates["map"]).shape, updates["map"]["frame"]) == ((240, 320), number)
        assert updates["live"]["event"] == "answers"
        assert updates["live"]["hasMap"]
        assert updates["live"]["image"] == updates["map"]["image"]
    assert not published, "no frame is written to disk"
    assert not visitor.session.image.path
    assert len(controller._registry.segmenter("").caches.analyses) == 0, "frames push no analysis out"


def test_names_may_be_edited_between_two_frames(controller):
    visitor = Visitor(controller)
    visitor.send()
    edited = controller.edit(visitor.session, Request(prompt="red, purple", generator="maskformer"))
    assert edited["map"]["frame"] == 1
    assert found(edited["map"]) == ["red"]
    visitor.request = Request(prompt="green, blue", generator="maskformer")
    assert found(visitor.send()["map"]) == ["green", "blue"]
    too_many = visitor.send(request=Request(prompt=", ".join(f"name {n}" for n in range(21))))
    assert "use at most 20" in too_many["chips"]["problem"]
    assert found(too_many["map"]) == ["green", "blue"], "the map goes on with the names before"


def test_an_empty_prompt_gets_names_once(controller):
    visitor = Visitor(controller, Request(generator="maskformer"))
    first = visitor.send()
    assert first["suggestions"]["names"][:2] == ["green", "sky blue"]
    prompt = first["suggestions"]["prompt"]
    second = visitor.send(encoded(stripes((0, 0, 255), (255, 0, 0))), Request(prompt=prompt))
    assert "suggestions" not in second, "names do not change under the visitor's eyes"


def test_a_newer_frame_ends_the_work_on_an_older_one(controller):
    visitor = Visitor(controller)
    slow = encoded(stripes(SLOW_COLOUR, (255, 0, 0)))
    older, results = in_thread(lambda: visitor.send(slow))
    wait_until(lambda: visitor.session.runs.is_running("live"))
    assert visitor.send()["map"]["frame"] == 2
    older.join(5)
    assert results[0]["live"]["event"] == "drops"
    assert "map" not in results[0]


def test_a_frame_whose_turn_does_not_come_asks_for_a_newer_one(monkeypatch, published):
    monkeypatch.setattr(camera, "LONGEST_WAIT", 0.1)
    settings = PageSettings(concurrent_analyses=1)
    controller = PageController(
        PageResources(ModelRegistry.of_segmenter(colour_segmenter()), settings, lambda *_: {})
    )
    busy, waiting = Visitor(controller), Visitor(controller)
    thread, _ = in_thread(lambda: busy.send(encoded(stripes(SLOW_COLOUR, (255, 0, 0)))))
    wait_until(lambda: busy.session.runs.is_running("live"))
    while waiting.send()["live"]["event"] != "drops":  # until the other one has its turn
        pass
    busy.stop()
    thread.join(5)
    assert found(waiting.send()["map"]), "the turn is free again"


def test_a_live_camera_leaves_others_their_turn(image):
    settings = PageSettings(concurrent_analyses=1)
    controller = PageController(
        PageResources(ModelRegistry.of_segmenter(colour_segmenter()), settings, lambda *_: {})
    )
    visitor, is_over = Visitor(controller), threading.Event()

    def film() -> int:
        maps = 0
        while not is_over.is_set():
            maps += "map" in visitor.send()
        return maps

    thread, results = in_thread(film)
    wait_until(lambda: visitor.frames > 3)
    for _ in range(5):
        _, newest = analyze(controller, image)
        assert found(newest["map"])
    is_over.set()
    thread.join(10)
    assert results[0] > 3


def test_stop_ends_the_work_and_the_last_frame_is_an_image_like_any_other(controller):
    visitor = Visitor(controller)
    visitor.send()
    session = visitor.session
    late, results = in_thread(lambda: visitor.send(encoded(stripes(SLOW_COLOUR, (255, 0, 0)))))
    wait_until(lambda: session.runs.is_running("live"))
    updates = visitor.stop()
    late.join(5)
    assert "live" not in results[0]
    assert updates["masks"]["frame"] == updates["map"]["frame"] == 1
    assert updates["map"]["rivals"]
    assert visitor.send() == {}, "no later frame is read"
    assert found(controller.edit(session, Request(prompt="yellow", generator="maskformer"))["map"]) == [
        "yellow"
    ]
    assert controller.explain(session, 80, 100)["why"]["name"] == "yellow"
    named = controller.correct(session, {"kind": "name", "x": 80, "y": 100, "name": "house"})
    assert "house" in found(named["map"])
    _, newest = analyze(controller, None, REQUEST, session)
    assert found(newest["map"])[:2] == ["green", "skyblue"], "with another generator"


def test_an_image_ends_the_live_view_and_a_prompt_does_not(controller, image):
    visitor = Visitor(controller)
    visitor.send()
    _, newest = analyze(controller, None, Request(prompt="red", generator="maskformer"), visitor.session)
    assert found(newest["map"]) == ["red"]
    assert visitor.send()["live"]["event"] == "answers"
    analyze(controller, image, REQUEST, visitor.session)
    assert set(visitor.send()) == {"still"}, "which the visitor has not stopped"
    assert visitor.session.image.path == image


def test_a_model_that_is_too_slow_says_so_with_its_seconds(controller, monkeypatch):
    monkeypatch.setattr(live, "SLOWEST", 0.0)
    visitor = Visitor(controller)
    assert visitor.send()["live"]["event"] == "answers", "the networks may have to warm up"
    updates = visitor.send()
    assert updates["still"]["view"] == visitor.view
    assert found(updates["map"]), "one map is there"
    assert updates["status"]["isProblem"]
    assert " ms for a frame on this machine; a live view needs at most 0 ms" in updates["status"]["text"]


@pytest.mark.parametrize("image", ["", "no base64", base64.b64encode(b"no image").decode(), 7])
def test_what_is_no_frame_is_refused(controller, image):
    visitor = Visitor(controller)
    with pytest.raises(ImageError):
        visitor.send(image)
    assert visitor.session.runs.live is None


def test_without_a_model_there_is_no_live_view(controller):
    with pytest.raises(OvsegError, match="no model"):
        controller.live.start(Session(), 1, Request(model="unknown"))
