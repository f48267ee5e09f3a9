"""Presenting: image and class names alone, by keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.browser.test_hands import PHONE, drop, places
from tests.browser.test_page import PROMPT, legend, wait_for_legend, wait_for_map, wait_for_prompt
from tests.browser.waiting import wait_in
from tests.ui import colour_world
from tests.ui.colour_world import save_image, stripes

HIDDEN = ("#controls", "#gallery", "#submit", ".viewer-bar", ".viewer-foot", ".legend", ".suggestions")


def test_examples_and_names_by_keys_alone(open_page):
    page = open_page()
    page.keyboard.press("p")
    wait_for_prompt(page, "red, green, sky blue, yellow, unicorn")
    wait_for_map(page)
    for selector in HIDDEN:
        assert not page.locator(selector).first.is_visible()
    assert page.locator(".names span").count() == 4
    fixed = (PROMPT, ".chips", ".stage")
    before = places(page, *fixed)
    heights = page.evaluate("[document.documentElement.scrollHeight, innerHeight]")
    assert before[0]["y"] + before[0]["height"] <= before[2]["y"]
    assert before[2]["y"] + before[2]["height"] <= before[1]["y"]
    assert before[2]["height"] > 0.7 * heights[1]

    page.keyboard.press("ArrowRight")
    wait_for_prompt(page, "blue, red")
    wait_for_legend(page, ["blue", "red"])
    page.keyboard.type(", white")
    wait_for_legend(page, ["blue", "red", "white"])
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA", "arrows move in what is typed"
    assert places(page, *fixed) == before, "nothing moves"
    page.keyboard.press("PageUp")
    wait_for_prompt(page, "red, green, sky blue, yellow, unicorn")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.tagName === 'BODY'")
    page.keyboard.press("ArrowRight")
    wait_for_prompt(page, "blue, red")
    wait_for_legend(page, ["blue", "red"])

    page.keyboard.press("Escape")
    page.locator("#submit").wait_for()
    assert "present" not in page.evaluate("location.search")
    assert page.locator(".legend").is_visible()


def test_a_link_presents_an_example(open_page):
    page = open_page("?present=1&example=Stripes", is_ready="#page.presenting")
    wait_for_map(page)
    assert set(legend(page)) == {"blue", "red"}
    page.wait_for_function("() => location.search.includes('prompt=')")
    assert "present=1" in page.evaluate("location.search"), "a reload presents again"
    page.keyboard.press("ArrowLeft")
    wait_for_prompt(page, "red, green, sky blue, yellow, unicorn")
    page.locator(".leave").click()
    page.locator("#gallery").wait_for()


def test_a_swipe_leads_to_the_next_example_and_back(open_page):
    page = open_page("?present=1&example=Stripes", is_ready="#page.presenting", **PHONE)
    wait_for_map(page)
    swipe(page, 300, 80)
    wait_for_prompt(page, "red, magenta")
    swipe(page, 80, 300)
    wait_for_prompt(page, "blue, red")


def swipe(page, start: int, end: int) -> None:
    """Draw a finger across the middle of the window, from one column to another."""
    touch = page.context.new_cdp_session(page)
    for kind, columns in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
        points = [{"x": x, "y": 420} for x in columns]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def asks_to_prefetch(images: list[str], examples: list[int]) -> Callable[[Any], bool]:
    """Return what is true of the request that has these analyzed ahead, and no others."""

    def is_it(request) -> bool:
        if '"examples"' not in (request.post_data or ""):
            return False
        sent = request.post_data_json["event_data"]
        is_counted = sent.get("number", 0) > 0  # without it, the server cannot tell the newest
        return is_counted and (sent["images"], sent["examples"]) == (images, examples)

    return is_it


def test_neighbours_and_waiting_images_are_analyzed_ahead(open_page, tmp_path, monkeypatch, request):
    page = open_page()
    analyzed = []
    propose = colour_world._Generator.__call__

    def record(generator, image, **options):
        proposals = propose(generator, image, **options)
        analyzed.append(tuple(image[0, 0]))
        return proposals

    monkeypatch.setattr(colour_world._Generator, "__call__", record)
    with page.expect_request(asks_to_prefetch([], [1, 2])):
        page.keyboard.press("p")
        wait_for_prompt(page, "red, green, sky blue, yellow, unicorn")
        wait_for_map(page)

    before = page.locator(".viewer").get_attribute("data-map")
    note = page.locator(".queued")
    waiting = [(255, 255, 255), (0, 128, 0)]
    for number, colour in enumerate(waiting):
        # A second try would find images of the first one in the cache.
        image = stripes(colour, (255, 0, 0), width=200 + request.node.execution_count)
        drop(page, save_image(tmp_path / f"{number}.tif", image), ".stage")
    assert note.text_content() == "2 images wait"
    wait_in(page, lambda: set(waiting) <= set(analyzed))
    assert note.bounding_box()["height"] >= 24
    assert page.locator(".viewer").get_attribute("data-map") == before, "the image on the page stays"

    page.locator(PROMPT).fill("red, white, green")
    wait_for_legend(page, ["red", "white", "green"])
    page.evaluate("document.activeElement.blur()")
    before = page.locator(".viewer").get_attribute("data-map")
    page.keyboard.press("ArrowRight")
    wait_for_map(page, before)
    assert set(legend(page)) == {"white", "red"}
    assert note.text_content() == "1 image waits"
    before = page.locator(".viewer").get_attribute("data-map")
    note.click()
    wait_for_map(page, before)
    assert set(legend(page)) == {"green", "red"}
    assert not note.is_visible()
    assert [analyzed.count(colour) for colour in waiting] == [1, 1], "their maps come from the cache"

    page.keyboard.press("ArrowLeft")
    wait_for_prompt(page, "red, green, sky blue, yellow, unicorn")
    page.keyboard.press("ArrowRight")
    wait_for_prompt(page, "blue, red")
    wait_for_legend(page, ["blue", "red"])
    with page.expect_request(asks_to_prefetch([], [])):  # leaving ends the work
        page.keyboard.press("Escape")
        page.locator("#submit").wait_for()
