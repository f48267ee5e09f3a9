"""The camera, live: a moving test image, its maps, and what ends them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from ovseg_demo.ui.session_memory import SessionMemory
from tests.browser.test_page import (
    PROMPT,
    choose,
    click_image,
    legend,
    upload,
    wait_for_legend,
    wait_for_map,
)
from tests.browser.waiting import wait_in
from tests.ui import colour_world

START, STOP = "#camera .go-live", ".live-stop"


def watch_frames(page) -> list[int]:
    """The numbers of the frames that the page sends, as they are sent."""
    sent = []

    def note(request) -> None:
        if "/queue/join" in request.url:
            data = json.loads(request.post_data).get("event_data")
            if isinstance(data, dict) and "frame" in data:
                sent.append(data["frame"])

    page.on("request", note)
    return sent


def go_live(page, names: str) -> list[int]:
    sent = watch_frames(page)
    page.locator(PROMPT).fill(names)
    page.locator(START).click()
    wait_for_map(page)
    return sent


def wait_for_maps(page, count: int) -> None:
    """Wait until so many further maps were on the page."""
    for _ in range(count):
        wait_for_map(page, page.locator(".viewer").get_attribute("data-map"))


class Calls:
    """Holds the page's calls of some events back, until they are let go."""

    def __init__(self, page):
        self._page = page
        self._names = dict(page.evaluate("gradio_config.dependencies.map(one => [one.id, one.api_name])"))
        self._held: dict[str, list] = {}
        page.route("**/queue/join*", self._take)

    def hold(self, name: str) -> None:
        self._held[name] = []

    def wait_for(self, name: str) -> None:
        """Wait until the page has made a call that is held."""
        wait_in(self._page, lambda: self._held[name])

    def let_go(self, name: str) -> None:
        for route in self._held.pop(name):
            route.continue_()

    def _take(self, route) -> None:
        name = self._names[json.loads(route.request.post_data)["fn_index"]]
        if name in self._held:
            self._held[name].append(route)
        else:
            route.continue_()


def wait_for_live(page, state: str) -> None:
    """Wait until the view is "on", "ending" or over."""
    page.wait_for_function("state => document.querySelector('.viewer').dataset.live === state", arg=state)


def wait_for_still(page) -> None:
    """Wait until the last frame is an image with a map like any other; ask it why."""
    wait_for_live(page, "")
    page.locator(".actions").wait_for()
    click_image(page, 0.5, 0.5)
    page.locator(".why h3").first.wait_for()


def test_the_map_follows_the_camera_until_stop(open_page):
    page = open_page()
    sent = go_live(page, "green, red")
    first = page.locator("img.image").get_attribute("src")
    wait_for_maps(page, 3)
    assert page.locator("img.image").get_attribute("src") != first
    page.locator(".live-rate", has_text="frames a second").wait_for()
    assert not page.locator(".actions").is_visible()
    page.wait_for_function("() => document.querySelector('.self').currentTime > 0")

    page.locator(PROMPT).fill("lime, purple")
    wait_for_legend(page, ["lime", "purple"])
    page.locator(PROMPT).press("Enter")
    wait_for_maps(page, 2)
    assert page.locator(".live-view").is_visible(), "Enter does not end it"
    assert "lime" in legend(page)

    page.locator(STOP).click()
    page.locator(".live-view").wait_for(state="hidden")
    assert page.locator(START).text_content() == "Live camera"
    assert page.evaluate("document.querySelector('.self').srcObject") is None, "the camera is off"
    page.locator(".actions").wait_for()
    count = len(sent)
    assert sent == list(range(1, count + 1))
    click_image(page, 0.5, 0.5)
    page.locator(".why h3").first.wait_for()
    with page.expect_download() as download:
        page.locator("[data-file=label-map]").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    assert len(sent) == count, "no frame comes after Stop"


def test_a_new_frame_is_sent_only_after_the_answer_to_the_last_one(open_page, monkeypatch):
    monkeypatch.setattr(colour_world.Classifier, "seconds_a_region", 0.02)
    page, other = open_page(), open_page()
    sent, of_other = go_live(page, "green"), go_live(other, "lime")
    for _ in range(3):
        for one, frames in ((page, sent), (other, of_other)):
            wait_for_maps(one, 1)
            count = len(frames)
            answered = one.evaluate("Number(document.querySelector('.viewer').dataset.frame)")
            assert answered >= count - 1, "nothing waits behind the frame that is being answered"
    assert legend(page) == ["green"]
    assert legend(other) == ["lime"]
    other.close()
    before = len(sent)
    wait_for_maps(page, 2)
    assert len(sent) > before, "the other visitor goes on"
    page.locator(START).click()
    page.locator(".live-view").wait_for(state="hidden")


def test_an_image_ends_the_live_view(open_page, images):
    page = open_page()
    go_live(page, "sky blue, green, red, yellow")
    upload(page, images["landscape"])
    wait_for_legend(page, ["sky blue", "green", "red", "yellow"])
    page.locator(".live-view").wait_for(state="hidden")
    page.wait_for_function("() => document.querySelector('img.image').naturalWidth === 320")
    page.locator(".legend .entry[data-index]:not(.missing)").nth(3).wait_for()  # a frame has fewer classes
    assert legend(page) == ["green", "sky blue", "red", "yellow"]


def test_without_a_camera_a_sentence_says_so(open_page):
    page = open_page()
    page.evaluate(
        """() => {
            const refuse = async () => { throw new DOMException("", "NotAllowedError") };
            navigator.mediaDevices.getUserMedia = refuse;
        }"""
    )
    page.locator(START).click()
    page.locator(".empty-problem", has_text="does not let this page use the camera").wait_for()
    assert not page.locator(".live-view").is_visible()
    assert page.locator(START).text_content() == "Live camera"


def test_stop_leaves_a_map_in_whatever_order_events_arrive(open_page, monkeypatch):
    page = open_page()
    calls = Calls(page)
    sent = go_live(page, "green, red")
    wait_for_maps(page, 1)

    calls.hold("end_live")
    page.locator(STOP).click()
    calls.wait_for("end_live")
    frame = str(sent[-1])  # which is answered before Stop arrives
    page.wait_for_function("frame => document.querySelector('.viewer').dataset.frame === frame", arg=frame)
    assert page.locator(".viewer").get_attribute("data-live") == "ending"
    page.locator(START).click()
    wait_for_maps(page, 1)
    calls.let_go("end_live")
    wait_for_maps(page, 2)
    assert page.locator(".live-view").is_visible(), "Stop ends its own view, and no later one"

    calls.hold("map_frame")
    calls.wait_for("map_frame")
    page.locator(STOP).click()
    wait_for_still(page)
    calls.let_go("map_frame")
    with page.expect_download():
        page.locator("[data-file=label-map]").click()
    assert page.locator(".viewer").get_attribute("data-live") == ""

    is_mapped, may_go_on, has_gone_on = threading.Event(), threading.Event(), threading.Event()
    touch = SessionMemory.touch

    def pause(memory, session):
        touch(memory, session)
        if session.runs.live is not None and not is_mapped.is_set():
            is_mapped.set()
            assert may_go_on.wait(60)
            has_gone_on.set()

    page.locator(START).click()
    wait_for_maps(page, 1)
    monkeypatch.setattr(SessionMemory, "touch", pause)
    wait_in(page, is_mapped.is_set)
    page.locator(STOP).click()
    wait_for_still(page)
    may_go_on.set()
    assert has_gone_on.wait(60)
    before = page.locator(".viewer").get_attribute("data-map")
    page.locator(PROMPT).fill("purple, green")
    wait_for_map(page, before)
    wait_for_legend(page, ["purple", "green"])
    assert page.locator(".actions").is_visible()


def test_stop_before_the_first_frame_leaves_the_image_that_was_there(open_page):
    page = open_page()
    choose(page, "Landscape")
    page.locator("#image .image-frame img").wait_for()
    calls = Calls(page)
    for number, late in enumerate(("go_live", "map_frame")):
        calls.hold(late)
        page.locator(START).click()
        calls.wait_for(late)
        page.locator(START).click()
        wait_for_live(page, "")
        calls.let_go(late)
        page.locator("#image .image-frame img").wait_for()
        before = page.locator(".viewer").get_attribute("data-map")
        names = ["green", "red", f"name {number}"]
        page.locator(PROMPT).fill(", ".join(names))
        wait_for_map(page, before)
        wait_for_legend(page, names)
        assert page.locator(".actions").is_visible()
    page.locator(START).click()
    wait_for_live(page, "on")
    wait_for_maps(page, 2)
    page.locator(STOP).click()
    wait_for_still(page)
