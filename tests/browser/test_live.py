"""The camera, live: a moving test image, its maps, and what ends them."""

from __future__ import annotations

import json
from pathlib import Path

from tests.browser.test_page import PROMPT, click_image, legend, upload, wait_for_legend, wait_for_map
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
