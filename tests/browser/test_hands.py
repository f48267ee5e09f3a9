"""Images that are dropped or pasted, previews, and what stays in view and in place."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.browser.test_page import PROMPT, choose, click_image, legend, wait_for_map
from tests.ui.colour_world import landscape, save_image, stripes

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}

PREVIEW = "#image .image-frame img"


def drop(page, path: Path, target: str) -> None:
    """Drag a file of no known type over an element, and drop it there."""
    page.evaluate(
        """([data, name, target]) => {
            const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], name));
            const node = document.querySelector(target);
            for (const kind of ["dragenter", "dragover", "drop"]) {
                const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
                node.dispatchEvent(event);
                if (!event.defaultPrevented) throw Error(`the page leaves ${kind} to the browser`);
                if (document.querySelector(".drop-target").hidden !== (kind === "drop")) throw Error(kind);
            }
        }""",
        [base64.b64encode(path.read_bytes()).decode(), path.name, target],
    )


def places(page, *selectors: str) -> list[dict]:
    return [page.locator(selector).first.bounding_box() for selector in selectors]


def distances(page, *selectors: str) -> list[list[float]]:
    """How far parts of the page are from the first one, however the page is being scrolled."""
    return page.evaluate(
        """selectors => {
            const boxes = selectors.map(selector => document.querySelector(selector).getBoundingClientRect());
            return boxes.map(({ x, y }) => [x - boxes[0].x, y - boxes[0].y]);
        }""",
        selectors,
    )


def test_an_image_may_be_dropped_or_pasted_anywhere(open_page, tmp_path):
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(PROMPT).fill("red, green, white")
    drop(page, save_image(tmp_path / "landscape.tif", landscape()), "#how")
    wait_for_map(page)
    assert "red" in legend(page)
    page.wait_for_function(f"() => document.querySelector({PREVIEW!r})?.naturalWidth === 320")
    assert page.locator(PREVIEW).is_visible(), "the server's preview of what the browser cannot draw"

    before = page.locator(".viewer").get_attribute("data-map")
    stripe = save_image(tmp_path / "stripes.png", stripes((255, 255, 255), (0, 128, 0), width=200))
    page.evaluate(
        """async data => {
            const image = await (await fetch("data:image/png;base64," + data)).blob();
            await navigator.clipboard.write([new ClipboardItem({ "image/png": image })]);
        }""",
        base64.b64encode(stripe.read_bytes()).decode(),
    )
    page.locator(PROMPT).press("Control+v")
    wait_for_map(page, before)
    assert set(legend(page)) == {"white", "green"}
    page.wait_for_function(f"() => document.querySelector({PREVIEW!r})?.naturalWidth === 200")


def test_an_image_that_is_dropped_during_an_upload_comes_after_it(open_page, tmp_path):
    page, held = open_page(), []
    page.locator(PROMPT).fill("red, green, white")
    page.context.route("**/upload*", lambda route: route.continue_() if held else held.append(route))
    drop(page, save_image(tmp_path / "first.tif", stripes((255, 0, 0), (0, 128, 0))), "#how")
    page.locator("#image input[type=file]").wait_for(state="detached")
    drop(page, save_image(tmp_path / "second.tif", stripes((255, 255, 255), (0, 128, 0), width=200)), "#how")
    held[0].continue_()
    page.locator(".legend .entry:not(.missing)", has_text="white").wait_for()


def test_on_a_phone_names_granularity_and_map_are_on_one_screen(open_page):
    page = open_page(**PHONE, reduced_motion="reduce")
    choose(page, "Landscape")
    page.wait_for_function("() => document.querySelector('#ask').getBoundingClientRect().top < 1")
    prompt, *others = places(page, PROMPT, "#chips", "#granularity input[type=range]", ".frame")
    above = prompt["y"] + prompt["height"]
    for box in others:
        assert above <= box["y"] and box["y"] + box["height"] <= 844
    page.locator("#advanced").scroll_into_view_if_needed()
    assert abs(places(page, PROMPT)[0]["y"] - prompt["y"]) < 1, "the names stay in view"


def test_examples_beyond_the_edge_are_hinted_at(open_page):
    page = open_page(viewport={"width": 320, "height": 600}, reduced_motion="reduce")
    page.locator(".gallery.more").wait_for()
    page.locator(".further").click()
    page.locator(".gallery:not(.more)").wait_for()
    assert not page.locator(".further").is_visible()
    page.set_viewport_size({"width": 1000, "height": 600})
    page.locator(".further").wait_for(state="hidden")


def test_on_a_phone_the_answer_does_not_cover_the_place(open_page):
    page = open_page(**PHONE, reduced_motion="reduce")
    choose(page, "Landscape")
    page.locator(".suggestions button").first.wait_for()
    page.wait_for_function("() => document.querySelector('#ask').getBoundingClientRect().top < 1")
    (map_,) = places(page, ".frame")
    y = map_["y"] + 0.9 * map_["height"]
    page.touchscreen.tap(map_["x"] + 0.5 * map_["width"], y)
    page.locator(".why b").first.wait_for()
    assert places(page, ".why")[0]["y"] < y, "where the place was"
    page.wait_for_function(
        """() => {
            const { top, height } = document.querySelector('.frame').getBoundingClientRect();
            return top + 0.9 * height < document.querySelector('.why').getBoundingClientRect().top;
        }"""
    )


@pytest.mark.parametrize("screen", [{"viewport": {"width": 1400, "height": 900}}, PHONE])
def test_opening_why_moves_nothing(open_page, screen):
    page = open_page(**screen, reduced_motion="reduce")
    choose(page, "Landscape")
    page.locator(".suggestions button").first.wait_for()
    page.locator(".frame").scroll_into_view_if_needed()
    seen = (".frame", ".legend .entry", ".notice", ".status", ".actions", "#advanced", "#gallery")
    before = distances(page, *seen)
    click_image(page, 0.3, 0.5)
    page.locator(".why b", has_text="red").wait_for()
    assert distances(page, *seen) == before
