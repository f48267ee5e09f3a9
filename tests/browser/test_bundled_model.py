"""The page as it opens for everybody: the bundled models, their examples, the whole catalogue on the menu."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from ovseg_demo.models.catalogue import CATALOGUE
from ovseg_demo.models.loading import DEFAULT_MODEL, load_segmenter
from ovseg_demo.ui import PageSettings, create_demo
from ovseg_demo.ui.examples import EXAMPLES
from ovseg_demo.ui.model_registry import ModelRegistry
from ovseg_demo.ui.server import launch
from tests.browser.test_page import choose, legend, type_names, upload, wait_for_map


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    registry = ModelRegistry.of_catalogue(DEFAULT_MODEL, partial(load_segmenter, device="cpu"))
    demo = create_demo(registry, PageSettings())
    _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


@pytest.fixture
def page(open_page):
    return open_page()


def test_a_photograph_gets_its_map_and_the_notice_names_the_model(page):
    choose(page, "Cat")
    assert "cat" in legend(page)
    notice = page.locator(".notice")
    assert "Answered by Photo mini" in notice.text_content()
    assert "758 MB, MIT, Apache-2.0" in notice.text_content()
    assert notice.locator("code").text_content() == "python -m ovseg_demo download fast-photo"
    assert notice.locator(".larger").count() == 0, "strangers may not download"


def test_segment_anything_makes_a_mask_at_points_and_in_a_box(page):
    choose(page, "Cat")
    why = page.locator(".why")

    def place(x, y):
        """Where a point of the image is in the window, which may have scrolled."""
        box = page.locator(".frame").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def act(do):
        before = page.locator(".viewer").get_attribute("data-map")
        do()
        wait_for_map(page, before)

    def drag():
        page.mouse.move(*place(0.3, 0.3))
        page.mouse.down()
        page.mouse.move(*place(0.7, 0.7), steps=3)
        page.mouse.up()

    page.mouse.click(*place(0.5, 0.5))
    why.locator("input").fill("tom")
    act(lambda: why.locator("button", has_text="New mask here").click())
    why.locator("[data-side=outside]").click()
    act(lambda: page.mouse.click(*place(0.1, 0.3)))
    assert page.locator(".points .outside").count() == 1
    act(drag)
    why.locator("button", has_text="Done").click()
    why.wait_for(state="hidden")
    assert "1 correction" in page.locator(".corrections").text_content()
    assert "tom" in legend(page)


def test_a_photograph_gets_its_map_from_the_other_generator_too(page):
    choose(page, "Espresso")
    before = page.locator(".viewer").get_attribute("data-map")
    page.locator("#generator label", has_text="MaskFormer").click()
    wait_for_map(page, before)
    assert "coffee cup" in legend(page)
    page.locator("[data-mode=masks]").click()
    page.locator(".masks-card", has_text="MaskFormer").wait_for()


def test_sticker_world_has_its_own_examples_and_the_notice_turns_to_photo_mini(page):
    choose_model(page, "Sticker World")
    choose(page, "Open sea")
    assert "water" in legend(page)
    type_names(page, "water, penguin, unicorn")
    assert "water" in legend(page)

    assert "stickers, not photographs" in page.locator(".notice").text_content()
    assert not page.locator(".warning").is_visible()
    upload(page, EXAMPLES / "cat.jpg")
    page.locator(".viewer-bar .warning", has_text="of a kind that Sticker World does not know").wait_for()
    page.locator(".notice button", has_text="Answer with Photo mini").click()
    page.locator(".notice", has_text="Answered by Photo mini").wait_for()
    page.locator(".gallery .card", has_text="Cat").wait_for()


def choose_model(page, title):
    page.locator("#advanced button").first.click()
    page.locator("#model input").click()
    page.locator("[role=option]", has_text=title).click()
    page.locator("#licence", has_text=title).wait_for()


def test_missing_models_are_on_the_menu_with_size_and_licence(page):
    page.locator("#advanced button").first.click()
    page.locator("#model input").click()
    page.locator("[role=option]").first.wait_for()
    assert page.locator("[role=option]").count() == sum(
        spec.classifies and bool(spec.generators) for spec in CATALOGUE.values()
    )
    page.locator("[role=option]", has_text=CATALOGUE["ovseg-r101c-vitb16"].title).click()
    facts = page.locator("#model-facts", has_text="not downloaded")
    facts.wait_for()
    assert "1.2 GB" in facts.text_content()
    assert "CC-BY-NC 4.0" in facts.text_content()
    page.locator(".gallery .card", has_text="Cat").click()
    page.locator(".toast-body", has_text="python -m ovseg_demo download ovseg-r101c-vitb16").wait_for()
    assert page.locator("#licence", has_text="CC-BY-NC 4.0").is_visible()
