"""Suggested class names on the page: a real server, a real browser, clicks and keys."""

from __future__ import annotations

from ovseg_demo.ui.suggestions import CHOSEN
from tests.browser.test_page import PROMPT, choose, legend, type_names, upload, wait_for_legend, wait_for_map
from tests.ui.colour_world import save_image, stripes

CHIP = ".suggestions button[data-name]"
ALL = ".suggestions button.all"


def offered(page) -> list[str]:
    """The names on the chips, once there are some."""
    page.locator(CHIP).first.wait_for()
    return page.locator(CHIP).all_text_contents()


def prompt_names(page) -> list[str]:
    return page.locator(PROMPT).input_value().split(", ")


def wait_for_names(page, count: int) -> None:
    page.wait_for_function(
        "([box, count]) => document.querySelector(box).value.split(', ').length === count",
        arg=[PROMPT, count],
    )


def test_a_dropped_image_has_a_map_without_typing(open_page, images):
    page = open_page()
    upload(page, images["landscape"])
    wait_for_map(page)
    wait_for_names(page, CHOSEN)
    assert prompt_names(page)[:4] == ["green", "sky blue", "red", "yellow"]
    assert legend(page) == ["green", "sky blue", "red", "yellow"]
    assert not set(offered(page)) & set(prompt_names(page)), "chips add names that are not there yet"
    type_names(page, "red, purple")
    assert legend(page) == ["red"]
    assert {"green", "sky blue", "yellow"} <= set(offered(page)), "names that were erased can be added again"


def test_a_chip_adds_its_name_and_the_map_follows(open_page):
    page = open_page()
    choose(page, "Stripes")
    assert "white" in offered(page)
    assert not {"blue", "red"} & set(offered(page))
    page.locator(CHIP, has_text="white").click()
    wait_for_legend(page, ["blue", "red", "white"])
    assert page.locator(PROMPT).input_value() == "blue, red, white"
    assert "white" not in offered(page)


def test_all_names_can_be_added_at_once(open_page):
    page = open_page()
    choose(page, "Stripes")
    names = offered(page)
    page.locator(ALL).click()
    wait_for_legend(page, ["blue", "red", *names])
    assert prompt_names(page) == ["blue", "red", *names]
    page.locator(".suggestions").wait_for(state="hidden")


def test_chips_work_by_keys_and_keep_the_focus(open_page):
    page = open_page()
    choose(page, "Stripes")
    first, second, *_ = offered(page)
    page.locator(CHIP).first.focus()
    page.keyboard.press("Enter")
    wait_for_legend(page, ["blue", "red", first])
    page.keyboard.press("Space")
    wait_for_legend(page, ["blue", "red", first, second])
    assert page.evaluate("() => document.activeElement.closest('.suggestions') !== null")


def test_chips_respect_how_the_prompt_ends(open_page):
    page = open_page()
    choose(page, "Stripes")
    type_names(page, "red / crimson, Blue")
    assert not {"red", "blue"} & set(offered(page)), "a synonym and another case are the same name"
    page.locator(PROMPT).fill("red ;  ")
    page.locator(CHIP, has_text="white").click()
    wait_for_legend(page, ["red", "white"])
    assert page.locator(PROMPT).input_value() == "red, white"


def test_another_image_gets_its_own_suggestions(open_page, images, tmp_path):
    page = open_page()
    upload(page, images["landscape"])
    wait_for_map(page)
    wait_for_names(page, CHOSEN)
    before = page.locator(".viewer").get_attribute("data-map")
    page.locator("#image button[aria-label='Remove Image']").click()
    page.locator(".suggestions").wait_for(state="hidden")
    upload(page, save_image(tmp_path / "two.png", stripes((0, 0, 255), (128, 0, 128))))
    wait_for_map(page, before)
    page.wait_for_function(
        "box => document.querySelector(box).value.startsWith('blue, purple') ||"
        " document.querySelector(box).value.startsWith('purple, blue')",
        arg=PROMPT,
    )
    assert sorted(legend(page)) == ["blue", "purple"]


def test_clear_takes_the_suggestions_away(open_page, images):
    page = open_page()
    upload(page, images["landscape"])
    wait_for_map(page)
    offered(page)
    page.locator("#clear").click()
    page.locator(".suggestions").wait_for(state="hidden")
    page.wait_for_function("box => document.querySelector(box).value === ''", arg=PROMPT)


def test_visitors_at_once_get_their_own_suggestions(open_page, images):
    first, second = open_page(), open_page()
    upload(first, images["landscape"])
    upload(second, images["stripes"])
    for page in (first, second):
        wait_for_map(page)
        wait_for_names(page, CHOSEN)
    assert legend(first) == ["green", "sky blue", "red", "yellow"]
    assert sorted(legend(second)) == ["blue", "red", "white"]
    second.locator(CHIP).first.click()
    wait_for_names(second, CHOSEN + 1)
    assert len(prompt_names(first)) == CHOSEN


def test_chips_fit_on_a_phone(open_page, images):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    upload(page, images["landscape"])
    wait_for_map(page)
    offered(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390, "the row scrolls by itself"
    sizes = page.locator(".suggestions button").evaluate_all(
        "all => all.map(b => [b.offsetTop, b.offsetHeight])"
    )
    assert len({top for top, _ in sizes}) == 1, "one line"
    assert all(height >= 24 for _, height in sizes), "large enough for a finger"
    page.locator(CHIP).first.tap()
    wait_for_names(page, CHOSEN + 1)
    assert page.evaluate("() => document.activeElement.tagName") != "TEXTAREA", "no keyboard covers the map"
