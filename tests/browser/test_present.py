"""Presenting: image and class names alone, by keys."""

from __future__ import annotations

from tests.browser.test_hands import places
from tests.browser.test_page import PROMPT, legend, wait_for_legend, wait_for_map, wait_for_prompt

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
