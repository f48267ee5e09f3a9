"""The page as visitors meet it: a real server, a real browser, and a model whose maps can be foretold."""

from __future__ import annotations

import io
import itertools
import json
import re
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from ovseg_demo.errors import OvsegError
from ovseg_demo.export.label_map import decode_label_map
from ovseg_demo.progress import WRITING
from ovseg_demo.ui import controller
from tests.browser.waiting import wait_in
from tests.ui import colour_world
from tests.ui.colour_world import HOUSE, VEILED_RED, landscape, save_image, stripes

PROMPT = "#prompt textarea"

COST = r"(less than|about) \d+ s"
"""What an analysis will take, whatever the machine's load."""

HAS_FOCUS = """selector => Boolean(document.activeElement.closest(selector))"""

BRIGHTNESS = """() => getComputedStyle(document.querySelector('.viewer')).backgroundColor.match(/[0-9]+/g)
    .slice(0, 3).reduce((sum, channel) => sum + Number(channel), 0)"""


def choose(page, title: str) -> None:
    """Click an example, and wait for its map."""
    before = page.locator(".viewer").get_attribute("data-map") or ""
    card = page.locator(".gallery .card", has_text=title)
    prompt = card.locator("span").text_content()
    card.click()
    wait_for_map(page, before)
    wait_for_prompt(page, prompt)


def wait_for_map(page, before: str = "") -> None:
    page.wait_for_function(
        "before => ![before, ''].includes(document.querySelector('.viewer').dataset.map)",
        arg=before,
    )
    page.locator(".work").wait_for(state="hidden")


def type_names(page, names: str) -> None:
    """Replace the class names as a visitor would, key by key, and wait for the map to follow."""
    before = page.locator(".viewer").get_attribute("data-map")
    page.locator(PROMPT).press("Control+a")
    page.keyboard.type(names)
    wait_for_map(page, before)
    wait_for_legend(page, [name.strip() for name in names.split(",")])


def wait_for_prompt(page, prompt: str) -> None:
    page.wait_for_function(
        "([box, prompt]) => document.querySelector(box)?.value === prompt", arg=[PROMPT, prompt]
    )


def wait_for_link(page, prompt: str) -> None:
    """Wait until the address holds the class names: it follows the map after a moment."""
    page.wait_for_function(
        "prompt => new URLSearchParams(location.search).get('prompt') === prompt", arg=prompt
    )


def wait_for_legend(page, names: list[str]) -> None:
    """Wait until just these names are in the legend, found or not."""
    page.wait_for_function(
        """names => {
            const entries = [...document.querySelectorAll('.legend .entry[data-index] .name')];
            const displayed = entries.map(entry => entry.textContent);
            return displayed.length === names.length && names.every(name => displayed.includes(name));
        }""",
        arg=names,
    )


def legend(page, selector: str = ".entry[data-index]:not(.missing)") -> list[str]:
    return page.locator(f".legend {selector} .name").all_text_contents()


def painted(page, x: float, y: float) -> list[int]:
    """What the map's canvas shows at a place: red, green, blue and opacity."""
    return page.evaluate(
        """([x, y]) => {
            const canvas = document.querySelector('canvas.map');
            const place = [Math.floor(x * canvas.width), Math.floor(y * canvas.height)];
            return [...canvas.getContext('2d').getImageData(...place, 1, 1).data];
        }""",
        [x, y],
    )


def click_image(page, x: float, y: float) -> None:
    frame = page.locator(".frame")
    frame.scroll_into_view_if_needed()  # waits until the layout stands still
    box = frame.bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def upload(page, path: str | Path) -> None:
    page.locator("#image input[type=file]").set_input_files(str(path))


# ---- the way to a map


def test_the_page_opens_with_examples_and_advice(open_page):
    page = open_page()
    assert page.title() == "OVSeg Demo"
    assert page.locator(".gallery .card").count() == 3
    assert page.locator(".empty").is_visible()
    assert not page.locator("#classifier").is_visible(), "Advanced is closed at first"


def test_an_example_is_one_click(open_page):
    page = open_page()
    choose(page, "Landscape")
    wait_for_prompt(page, "red, green, sky blue, yellow, unicorn")
    assert legend(page) == ["green", "sky blue", "red", "yellow"]
    assert legend(page, ".entry.missing") == ["unicorn"]
    assert page.locator(".chips .chip:not(.hidden-chip)").count() == 5
    assert page.locator(".chips .hidden-chip").text_content() == "+ hidden: others"
    assert "4 masks" in page.locator(".status").text_content()
    assert page.locator(".names span").count() == 4


def test_the_example_on_the_page_is_marked_and_no_other(open_page, images):
    page = open_page()
    marked = page.locator(".gallery .card.chosen")
    choose(page, "Landscape")
    assert marked.locator("b").all_text_contents() == ["Landscape"]
    before = page.locator(".viewer").get_attribute("data-map")
    upload(page, images["stripes"])
    wait_for_map(page, before)
    assert marked.count() == 0
    choose(page, "Stripes")
    assert marked.locator("b").all_text_contents() == ["Stripes"]
    page.locator("#clear").click()
    page.locator(".empty").wait_for()
    assert marked.count() == 0


def test_an_image_from_the_camera_is_analyzed(open_page):
    page = open_page()
    page.locator(PROMPT).fill("green")
    page.locator("#image button[aria-label='Capture from camera']").click()
    page.locator("#image").get_by_text("Click to Access Webcam").click()
    page.wait_for_function("() => document.querySelector('#image video')?.videoWidth > 0")
    page.locator("#image button[aria-label='capture photo']").click()
    wait_for_map(page)
    assert legend(page) == ["green"]


def test_a_slow_analysis_shows_what_it_has_read_so_far(open_page, tmp_path, monkeypatch):
    monkeypatch.setattr(controller, "PREVIEW_PERIOD", 0.0)
    monkeypatch.setattr(colour_world.Classifier, "seconds_a_region", 1.5)
    page = open_page()
    page.locator(PROMPT).fill("lime, white, pink")
    upload(page, save_image(tmp_path / "two.png", stripes((0, 255, 0), (255, 255, 255), (0, 255, 0))))
    page.wait_for_function("() => document.querySelector('.viewer').dataset.preview")
    page.locator(".legend h3", has_text="Found so far").wait_for()
    assert page.locator(".work").is_visible()
    assert not page.locator(".actions").is_visible(), "there is nothing to take away yet"
    click_image(page, 0.1, 0.5)
    wait_for_map(page)
    assert page.locator(".viewer").get_attribute("data-preview") == ""
    assert legend(page) == ["lime", "white"]
    assert page.locator(".legend h3").all_text_contents() == ["Foundsharescore", "Not foundbest score"]
    assert not page.locator(".why").is_visible()


def test_own_image_own_names_enter(open_page, images):
    page = open_page()
    page.locator(PROMPT).fill("white, blue")
    upload(page, images["stripes"])
    wait_for_map(page)
    page.locator(PROMPT).press("Control+a")
    page.keyboard.type("red / scarlet; white, white")
    page.keyboard.press("Enter")
    wait_for_legend(page, ["red / scarlet", "white"])
    page.locator(".pills button", has_text="red / scarlet; white, white").wait_for()


def test_the_map_follows_the_typing_without_a_progress_bar(open_page):
    page = open_page()
    choose(page, "Landscape")
    page.evaluate(
        """() => {
            const work = document.querySelector('.work');
            window.progressShown = false;
            const watch = () => { window.progressShown ||= !work.hidden; };
            new MutationObserver(watch).observe(work, { attributes: true });
        }"""
    )
    type_names(page, "red, purple, sky blue")
    assert set(legend(page)) <= {"red", "purple", "sky blue"}
    assert not page.evaluate("window.progressShown")


def test_many_new_names_at_once_are_mapped_too(open_page):
    page = open_page()
    choose(page, "Landscape")
    before = page.locator(".viewer").get_attribute("data-map")
    names = ["red", "green", *(f"new thing {number}" for number in range(12))]
    page.locator(PROMPT).fill(", ".join(names))
    wait_for_map(page, before)
    wait_for_legend(page, names)
    page.locator(".work").wait_for(state="hidden")


def test_the_slider_changes_the_masks_in_use(open_page):
    page = open_page()
    choose(page, "Landscape")
    type_names(page, "red, green")
    for key, kept in (("Home", "4 in use"), ("End", "2 in use")):
        before = page.locator(".viewer").get_attribute("data-map")
        page.locator("#granularity input[type=range]").press(key)
        wait_for_map(page, before)
        page.locator(".status", has_text=kept).wait_for()


def test_another_generator_analyzes_again(open_page):
    page = open_page()
    choose(page, "Stripes")
    page.locator("#generator input[value=maskformer]:checked").wait_for(state="attached")
    before = page.locator(".viewer").get_attribute("data-map")
    page.locator("#generator label", has_text="Segment Anything").click()
    wait_for_map(page, before)
    page.locator("[data-mode=masks]").click()
    page.locator(".masks-card", has_text="Segment Anything").wait_for()


def test_one_click_finds_a_name_that_a_mask_has(open_page, tmp_path):
    page = open_page()
    page.locator(PROMPT).fill("red, blue")
    upload(page, save_image(tmp_path / "veiled.png", stripes(*3 * [VEILED_RED], (0, 0, 255))))
    remedy, missing = page.locator(".notice button.remedy"), page.locator(".legend .entry.missing")
    missing.filter(has_text="blue").wait_for()
    page.locator(".notice", has_text="other masks outvote it at granularity 0.8").wait_for()
    remedy.click()
    page.locator(".legend .entry:not(.missing)", has_text="blue").wait_for()
    remedy.wait_for(state="detached")
    assert page.locator("#granularity input[type=range]").input_value() == "1"

    page.locator(PROMPT).fill("red, orangered")
    wait_for_legend(page, ["red", "orangered"])
    page.locator(".tune[data-name=red]").click()
    page.locator(".least input").fill("1")
    missing.filter(has_text="red").filter(has_not_text="orange").wait_for()
    remedy.filter(has_text="Lower its least score to 0.95").focus()
    page.keyboard.press("Enter")
    page.locator(".legend .entry:not(.missing) .name", has_text=re.compile("^red$")).wait_for()
    remedy.wait_for(state="detached")


def test_one_click_asks_at_more_points_until_there_are_64_a_side(open_page, tmp_path):
    page = open_page()
    pixels = np.full((240, 320, 3), (0, 128, 0), np.uint8)
    for index in range(20):  # more than the own grid finds
        pixels[100:108, 10 + 15 * index :][:, :8] = (255, 0, 0)
    page.locator(PROMPT).fill("red, green")
    upload(page, save_image(tmp_path / "dots.png", pixels))
    wait_for_map(page)
    more = page.locator(".notice button.finer[data-points='32']")
    assert re.fullmatch(f"Analyze again with 4 times as many points{COST}", more.text_content())
    assert painted(page, 299 / 320, 104 / 240) == [0, 0, 0, 0], "the last dot is missed"
    before = page.locator(".viewer").get_attribute("data-map")
    more.press("Enter")
    wait_for_map(page, before)
    page.locator(".notice button.finer[data-points='64']").wait_for()
    assert painted(page, 299 / 320, 104 / 240)[3] > 0
    page.locator("#advanced button").first.click()
    page.locator("#points label.selected", has_text="32 × 32").wait_for()
    page.wait_for_function("() => location.search.includes('points_per_side=32')")
    page.locator(".notice button.finer[data-points='0']").click()
    page.locator(".notice button.finer[data-points='32']").wait_for()


def test_a_class_gets_its_own_least_score_by_keys_and_keeps_it(open_page):
    page = open_page()
    choose(page, "Landscape")
    type_names(page, "red, crimson, green")  # which is near red: the share of the house is below 1
    before = page.locator(".viewer").get_attribute("data-map")
    opener = page.locator(".tune[data-name=red]")
    opener.press("Enter")
    slider = page.locator(".least input")
    assert slider.evaluate("slider => slider === document.activeElement")
    slider.press("End")
    wait_for_map(page, before)
    page.locator(".legend .entry.missing", has_text="red").wait_for()
    assert page.locator(".least output").text_content() == "1.00"
    page.keyboard.press("Escape")
    assert opener.evaluate("button => button === document.activeElement"), "the focus goes back"
    assert "own" in opener.get_attribute("class")
    assert opener.get_attribute("aria-label") == "Least score of red: 1.00"

    type_names(page, "green, crimson")
    type_names(page, "red, crimson, green")
    assert "red" in legend(page, ".entry.missing"), "it survives other names"
    wait_for_link(page, "red, crimson, green")
    assert "min_scores" in page.evaluate("location.search")
    page.reload()
    wait_for_prompt(page, "red, crimson, green")
    page.wait_for_function("() => document.querySelector('.viewer').dataset.map")
    assert "red" in legend(page, ".entry.missing"), "a link restores it"
    opener.click()
    page.locator(".least .naming-actions button").click()
    page.locator(".legend .entry:not(.missing)", has_text="red").wait_for()
    page.locator(".least .close").click()
    page.locator(".least").wait_for(state="hidden")


def test_advanced_settings_reach_the_map(open_page):
    page = open_page()
    choose(page, "Landscape")
    type_names(page, "red, green")
    page.locator("#advanced button").first.click()
    page.locator("#distractors label", has_text="Own names").click()
    page.locator("#own-distractors textarea").fill("sky blue, yellow")
    page.locator(".hidden-chip", has_text="sky blue, yellow").wait_for()
    before = page.locator(".viewer").get_attribute("data-map")
    page.locator("#classifier label", has_text="Un-adapted").click()
    wait_for_map(page, before)
    page.locator("#granularity input[type=range]").press("Home")
    page.locator(".legend .rest").wait_for()


# ---- what can be done with a map


def test_legend_entries_highlight_their_class(open_page):
    page = open_page()
    choose(page, "Landscape")
    house, meadow = (0.3, 0.5), (0.6, 0.9)
    opacity = painted(page, *meadow)[3]
    entry = page.locator(".legend .entry", has_text="red")
    entry.hover()
    page.wait_for_function("() => document.querySelectorAll('.names span').length === 1")
    assert painted(page, *meadow)[3] < opacity / 4 < painted(page, *house)[3]
    entry.click()
    page.mouse.move(5, 5)
    assert entry.get_attribute("aria-pressed") == "true"
    assert painted(page, *meadow)[3] < opacity / 4, "a click keeps the highlight"
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelectorAll('.names span').length === 4")
    assert painted(page, *meadow)[3] == opacity


def test_the_pointer_names_what_is_under_it(open_page):
    page = open_page()
    choose(page, "Landscape")
    box = page.locator(".frame").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.locator(".tip", has_text="red").wait_for()
    page.locator(".legend .entry.pointed .name", has_text="red").wait_for()


def test_a_click_on_the_image_explains_the_pixel(open_page):
    page = open_page()
    choose(page, "Landscape")
    click_image(page, 0.3, 0.5)
    why = page.locator(".why")
    why.locator("b", has_text="red").wait_for()
    assert why.locator(".bar .name").first.text_content() == "red"
    assert "One mask lies over this pixel" in why.text_content()
    assert page.locator("canvas.marks").is_visible(), "the mask is outlined"
    why.locator(".close").click()
    why.wait_for(state="hidden")


def test_an_area_is_renamed_undone_and_redone(open_page):
    page = open_page()
    choose(page, "Landscape")
    click_image(page, 0.3, 0.5)
    why = page.locator(".why")
    why.locator("b", has_text="red").wait_for()
    before = page.locator(".viewer").get_attribute("data-map")
    why.locator("input").fill("unicorn")
    why.locator("input").press("Enter")
    wait_for_map(page, before)
    page.locator(".legend .entry", has_text="unicorn").wait_for()
    why.locator("span", has_text="You named this area unicorn").wait_for()
    assert page.locator("canvas.fixes").is_visible(), "the area is edged"
    assert "1 correction" in page.locator(".corrections").text_content()

    page.locator(PROMPT).fill("red, green, purple")
    wait_for_legend(page, ["red", "green", "purple", "unicorn"])  # other names leave it
    page.locator(".frame").click(position={"x": 5, "y": 5})
    page.keyboard.press("Control+z")
    page.locator(".corrections", has_text="0 corrections").wait_for()
    assert not page.locator("canvas.fixes").is_visible()
    page.locator(".corrections button", has_text="Redo").click()
    page.locator(".corrections", has_text="1 correction").wait_for()


def test_keys_alone_correct_a_pixel(open_page):
    page = open_page()
    choose(page, "Landscape")
    page.locator(".frame").focus()
    for key in ("ArrowLeft", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    why = page.locator(".why")
    why.locator("button", has_text="Unlabel").wait_for()
    why.locator("button", has_text="Unlabel").press("Enter")
    why.locator("span", has_text="You left this area without a label").wait_for()
    page.locator(".legend .rest", has_text="unlabelled").wait_for()
    assert page.evaluate(HAS_FOCUS, ".why"), "the panel was filled anew"
    why.locator(".close").press("Enter")
    why.wait_for(state="hidden")
    page.wait_for_function(HAS_FOCUS, arg=".frame")

    page.locator(".legend .entry", has_text="red").focus()
    page.keyboard.press("Control+z")
    page.locator(".corrections", has_text="0 corrections").wait_for()
    assert page.evaluate(HAS_FOCUS, ".legend .entry"), "the legend was filled anew"
    page.locator("[data-option=opacity]").press("ArrowLeft")
    page.keyboard.press("Control+y")
    page.locator(".corrections", has_text="1 correction").wait_for()


def test_keys_alone_explain_a_pixel(open_page):
    page = open_page()
    choose(page, "Landscape")
    entry = page.locator(".legend .entry", has_text="red")
    entry.press("Enter")
    why = page.locator(".why")
    why.locator("b", has_text="red").wait_for()
    entry.press("Enter")
    why.wait_for(state="hidden")


def test_the_image_is_enlarged_by_wheel_double_click_and_keys(open_page):
    page = open_page()
    choose(page, "Landscape")
    frame, label = page.locator(".frame"), page.locator("[data-zoom=reset]")
    box = frame.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.locator("[data-zoom=reset]:enabled").wait_for()
    assert label.text_content() == "135 %"
    page.mouse.dblclick(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.locator("[data-zoom=reset]", has_text="270 %").wait_for()
    page.locator(".why b", has_text="red").wait_for()  # the pixel under the pointer stays under it

    before = frame.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
    page.mouse.up()
    wait_in(page, lambda: frame.bounding_box()["x"] < before["x"] - 0.05 * box["width"])  # a drag moves it

    frame.press("-")
    page.locator("[data-zoom=reset]", has_text="180 %").wait_for()
    frame.press("0")
    page.locator("[data-zoom=reset]", has_text="100 %").wait_for()
    assert frame.bounding_box()["width"] == pytest.approx(box["width"])


def test_the_image_with_its_map_is_copied(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    choose(page, "Landscape")
    page.locator(".copy-image").click()
    page.locator(".copy-image", has_text="Copied").wait_for()
    size = page.evaluate(
        """async () => {
            const [item] = await navigator.clipboard.read();
            const image = await createImageBitmap(await item.getType("image/png"));
            return [image.width, image.height];
        }"""
    )
    assert size == [320, 240]


def test_image_and_map_and_both_classifiers_are_compared(open_page):
    page = open_page()
    choose(page, "Landscape")
    type_names(page, "red, blue")
    page.locator("[data-mode=compare]").click()
    page.locator(".frame .divider[aria-valuenow='50']").wait_for()
    assert page.locator("canvas.map").evaluate("n => n.style.clipPath").endswith("50%)")
    page.locator(".frame .divider").press("ArrowLeft")
    page.locator(".frame .divider[aria-valuenow='48']").wait_for()
    clips = page.locator("[role=tab][data-compare=clips]")
    assert re.fullmatch(COST, clips.locator("small").text_content()), "before the click"
    clips.click()
    page.locator("canvas.other").wait_for()
    assert clips.locator("small").is_hidden(), "nothing is left to compute"
    page.locator(".side-left", has_text="CLIP as it is").wait_for()
    colours = page.evaluate(
        """() => ['other', 'map'].map(name => {
            const canvas = document.querySelector('canvas.' + name);
            const place = [0.3 * canvas.width, 0.5 * canvas.height];
            return [...canvas.getContext('2d').getImageData(...place, 1, 1).data];
        })"""
    )
    assert colours[0] != colours[1], "the un-adapted classifier takes the red house for blue"
    assert page.locator(".shares tbody tr").count() == 2
    page.locator("[data-compare='generator:maskformer']").click()
    page.locator(".side-left", has_text="MaskFormer").wait_for()
    assert page.locator(".shares thead").text_content() == "shareMaskFormerSegment Anything"
    page.locator("[data-mode=map]").click()
    page.locator(".legend .entry", has_text="red").wait_for()


def upload_slow(page, path: Path, width: int) -> None:
    """Upload a slow image that no other test has: an analysis that ends is in the server's cache."""
    page.locator(PROMPT).fill("red, magenta")
    upload(page, save_image(path, stripes(colour_world.SLOW_COLOUR, colour_world.HOUSE, width=width)))


def test_a_comparison_follows_to_the_next_image(open_page, tmp_path, monkeypatch):
    monkeypatch.setattr(colour_world, "SLOW_STEPS", 20)
    page = open_page()
    upload_slow(page, tmp_path / "slow.png", width=200)
    page.locator(".viewer[data-state=image]").wait_for()
    page.locator("[data-mode=compare]").click()
    page.locator("[data-compare=clips]").click()  # there is no map yet
    tag = page.locator(".side-left", has_text="CLIP as it is")
    tag.wait_for()
    choose(page, "Landscape")
    tag.wait_for()
    assert page.locator("canvas.other").is_visible()


def test_a_comparison_that_was_cancelled_can_be_asked_for_again(open_page, tmp_path, monkeypatch):
    monkeypatch.setattr(colour_world, "SLOW_STEPS", 2)
    page = open_page()
    upload_slow(page, tmp_path / "slow.png", width=220)
    wait_for_map(page)
    monkeypatch.setattr(colour_world, "SLOW_STEPS", 1000)
    page.locator("[data-mode=compare]").click()
    rival = page.locator("[role=tab][data-compare='generator:maskformer']")
    rival.click()
    page.locator(".work-label", has_text="Proposing masks").wait_for()
    page.locator(".cancel").click()
    page.locator(".status", has_text="Cancelled").wait_for()
    monkeypatch.setattr(colour_world, "SLOW_STEPS", 2)
    rival.click()
    page.locator(".side-left", has_text="MaskFormer").wait_for()


@pytest.mark.parametrize("kind", ["overlay", "label-map", "coco", "masks"])
def test_downloads_open_and_hold_the_map(open_page, kind, tmp_path):
    page = open_page()
    choose(page, "Landscape")
    with page.expect_download() as download:
        page.locator(f"[data-file={kind}]").click()
    content = Path(download.value.path()).read_bytes()
    assert download.value.suggested_filename.startswith("landscape-")
    house = (landscape() == HOUSE).all(axis=2)
    if kind == "overlay":
        overlay = Image.open(io.BytesIO(content))
        assert overlay.format == "PNG"
        assert max(overlay.size) >= 1600
    elif kind == "label-map":
        label_map, names = decode_label_map(content)
        np.testing.assert_array_equal(label_map == names.index("red"), house)
    elif kind == "coco":
        path = tmp_path / "coco.json"
        path.write_bytes(content)
        coco = COCO(path)
        (annotation,) = coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(catNms=["red"])))
        np.testing.assert_array_equal(coco.annToMask(annotation), house)
        assert json.loads(content)["info"]["settings"]["prompt"].startswith("red, green")
    else:
        archive = zipfile.ZipFile(io.BytesIO(content))
        (name,) = (name for name in archive.namelist() if "red" in name)
        np.testing.assert_array_equal(np.asarray(Image.open(archive.open(name))), house)


def test_after_a_file_that_was_refused_another_one_can_be_asked_for(open_page, monkeypatch):
    def refuse(kind):
        raise OvsegError("There is no such file now.")

    page = open_page()
    choose(page, "Landscape")
    with monkeypatch.context() as patch:
        patch.setattr(controller, "find_format", refuse)
        page.locator("[data-file=overlay]").click()
        page.locator(".status.failed", has_text="There is no such file now.").wait_for()
    with page.expect_download():
        page.locator("[data-file=overlay]").click()


def test_more_formats_are_in_a_menu(open_page):
    page = open_page()
    choose(page, "Landscape")
    menu = page.locator(".more-files")
    assert not menu.is_visible()
    page.locator(".more summary").click()
    assert menu.locator("button").count() == 9
    assert not menu.locator("[data-file=geojson]").is_visible(), "the image is no TIFF"
    with page.expect_download() as download:
        menu.locator("[data-file=voc]").click()
    menu.wait_for(state="hidden")
    assert download.value.suggested_filename == "landscape-voc.zip"
    archive = zipfile.ZipFile(download.value.path())
    mask = np.asarray(Image.open(archive.open("SegmentationClass/landscape.png")))
    np.testing.assert_array_equal(mask == 1, (landscape() == HOUSE).all(axis=2))
    page.locator(".more summary").press("Enter")
    menu.wait_for()
    menu.locator("button").first.press("Escape")
    menu.wait_for(state="hidden")


# ---- what can go wrong


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("note.png", b"no image at all", "The file is no image; send a JPEG"),
        ("cut.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF", "damaged or cut off|no image"),
    ],
)
def test_bad_files_give_an_error_with_the_remedy_and_cost_nothing(open_page, tmp_path, name, content, advice):
    page = open_page()
    choose(page, "Landscape")
    bad = tmp_path / name
    bad.write_bytes(content)
    upload(page, bad)
    toast = page.locator(".toast-body").first
    toast.wait_for()
    assert any(part in toast.text_content() for part in advice.split("|"))
    assert legend(page), "the map before is still there"


def test_tiny_images_and_endless_prompts_are_refused(open_page, tmp_path):
    page = open_page()
    tiny = tmp_path / "tiny.png"
    Image.new("RGB", (4, 4)).save(tiny)
    upload(page, tiny)
    page.locator(".toast-body", has_text="at least 8 pixels a side").wait_for()
    page.locator(PROMPT).fill("x" * 101)
    page.locator(".problem", has_text="longer than 100 characters").wait_for()
    message, button = (page.locator(selector).bounding_box() for selector in (".toast-body", "#submit"))
    assert message["y"] > button["y"] + button["height"], "a message lies over the button"
    page.locator("#submit").click()
    page.locator(".toast-body", has_text="longer than 100 characters").wait_for()
    page.locator(PROMPT).fill("blue")
    page.locator("#submit").click()
    page.locator(".pills button", has_text="blue").wait_for()
    assert page.locator(".pills button").count() == 1, "what cannot be read is not offered again"


def test_submit_without_an_image_says_what_to_do(open_page):
    page = open_page()
    page.locator(PROMPT).fill("red")
    page.locator("#submit").click()
    page.locator(".toast-body", has_text="choose an example").wait_for()
    problem = page.locator(".empty-problem", has_text="There is no image yet; choose an example")
    problem.wait_for()
    page.locator(".toast-close").first.click()
    assert problem.is_visible(), "a message stays readable when its toast has gone"
    choose(page, "Landscape")
    assert not problem.is_visible()


def test_names_are_text_whatever_they_contain(open_page):
    page = open_page()
    choose(page, "Landscape")
    nasty = "<img src=x onerror=alert(1)>"
    page.locator(PROMPT).fill(f"{nasty} / red, green, ${{7*7}} {{{{value}}}}")
    wait_for_legend(page, [f"{nasty} / red", "green", "${7*7} {{value}}"])
    assert nasty in page.locator(".chips").text_content()
    click_image(page, 0.3, 0.5)
    page.locator(".why b").wait_for()
    assert page.locator(".why b").text_content() == nasty
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("orientation", [1, 6])
def test_images_from_cameras_are_upright(open_page, tmp_path, orientation):
    page = open_page()
    path = tmp_path / "camera.webp"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(landscape()).save(path, lossless=True, exif=exif)
    page.locator(PROMPT).fill("red, green, skyblue")
    upload(page, path)
    wait_for_map(page)
    size = page.locator("img.image").evaluate("n => [n.naturalWidth, n.naturalHeight]")
    assert size == ([320, 240] if orientation == 1 else [240, 320])


def test_after_an_analysis_the_bar_is_that_of_the_file_which_is_still_written(open_page, monkeypatch):
    def export(*arguments):
        report = arguments[-1]
        for done in itertools.count():
            report(WRITING, done, 10_000)  # until it is cancelled
            time.sleep(0.05)

    monkeypatch.setattr(controller.exports, "export", export)
    page = open_page()
    choose(page, "Landscape")
    before = page.locator(".viewer").get_attribute("data-map")
    page.locator("[data-file=coco]").click()
    label = page.locator(".work-label", has_text="Writing the file")
    label.wait_for()
    page.locator(".gallery .card", has_text="Stripes").click()
    page.wait_for_function(
        "before => ![before, ''].includes(document.querySelector('.viewer').dataset.map)", arg=before
    )
    label.wait_for()
    page.locator(".cancel").click()
    page.locator(".work").wait_for(state="hidden")


def test_a_long_analysis_can_be_cancelled(open_page):
    page = open_page()
    page.locator(".gallery .card", has_text="Slow").click()
    page.locator(".work-label", has_text="Proposing masks").wait_for()
    wait_for_prompt(page, "red, magenta")
    page.locator(".cancel").click()
    page.locator(".work").wait_for(state="hidden")
    page.locator(".status", has_text="Cancelled").wait_for()
    choose(page, "Landscape")
    assert "red" in legend(page)


def test_another_example_replaces_a_long_analysis(open_page):
    page = open_page()
    page.locator(".gallery .card", has_text="Slow").click()
    page.locator(".work-label", has_text="Proposing masks").wait_for()
    choose(page, "Landscape")
    assert "unicorn" in legend(page, ".entry.missing")
    page.wait_for_timeout(500)
    wait_for_prompt(page, "red, green, sky blue, yellow, unicorn")


def test_clear_begins_anew(open_page):
    page = open_page()
    choose(page, "Landscape")
    page.locator("#clear").click()
    page.locator(".empty").wait_for()
    wait_for_prompt(page, "")
    assert page.locator(".chips .chip").count() == 0
    page.wait_for_function("() => !location.search")
    page.reload()
    page.locator(".empty").wait_for()
    page.locator(".gallery button").first.wait_for()
    wait_for_prompt(page, "")
    choose(page, "Stripes")
    assert legend(page)


def test_the_image_can_be_taken_away_and_the_names_stay(open_page):
    page = open_page()
    choose(page, "Stripes")
    page.locator("#image button[aria-label='Remove Image']").click()
    page.locator(".empty").wait_for()
    wait_for_prompt(page, "blue, red")
    assert page.locator(".toast-body").count() == 0


def test_files_over_the_limit_are_refused(open_page, tmp_path):
    page = open_page()
    large = tmp_path / "large.png"
    large.write_bytes(bytes(21 * 2**20))
    upload(page, large)
    page.locator(".toast-body", has_text="size").wait_for()
    assert page.locator(".empty").is_visible()


# ---- visitors, links, screens


def test_a_visitor_may_be_quicker_than_the_pages_first_events(open_page):
    page = open_page()
    page.locator(PROMPT).fill("blue")
    page.locator(PROMPT).press("Enter")
    page.locator(".pills button", has_text="blue").wait_for()
    visitor, held = page.context, []

    def hold_first_events(route):
        is_first = route.request.post_data_json["trigger_id"] == 0
        held.append(route) if is_first else route.continue_()

    visitor.route("**/queue/join?*", hold_first_events)
    page = open_page(visitor=visitor)
    choose(page, "Landscape")
    for route in held:
        route.continue_()
    page.locator(".pills button", has_text="blue").wait_for()
    wait_for_prompt(page, "red, green, sky blue, yellow, unicorn")
    type_names(page, "red, purple")
    choose(page, "Stripes")
    assert set(legend(page)) == {"blue", "red"}


def test_visitors_at_once_get_their_own(open_page):
    one, two = open_page(), open_page()
    one.locator(".gallery .card", has_text="Landscape").click()
    two.locator(".gallery .card", has_text="Stripes").click()
    wait_for_map(one)
    wait_for_map(two)
    type_names(two, "white, red")
    assert legend(one) == ["green", "sky blue", "red", "yellow"]
    assert set(legend(two)) == {"white", "red"}
    assert one.locator("img.image").get_attribute("src") != two.locator("img.image").get_attribute("src")


def test_a_link_restores_names_and_settings(open_page, images):
    page = open_page("?prompt=blue,red&generator=maskformer&granularity=0.5")
    wait_for_prompt(page, "blue,red")
    upload(page, images["stripes"])
    wait_for_map(page)
    page.locator(".copy-link").click()
    page.locator(".copied", has_text="not the image").wait_for()
    query = page.evaluate("location.search")
    other = open_page(query)
    other.locator(".chips .chip", has_text="blue").wait_for()
    wait_for_prompt(other, "blue,red")
    other.locator("#generator input[value=maskformer]:checked").wait_for(state="attached")
    assert other.locator("#granularity input[type=number]").input_value() == "0.5"
    assert other.locator(".empty-title", has_text="the image is not").is_visible()


def test_a_link_brings_an_example_along(open_page):
    page = open_page()
    choose(page, "Stripes")
    type_names(page, "white, blue")
    wait_for_link(page, "white, blue")
    page.locator(".copy-link").click()
    page.locator(".copied", has_text="the example “Stripes”").wait_for()
    other = open_page(page.evaluate("location.search"))
    wait_for_map(other)
    assert set(legend(other)) == {"white", "blue"}
    wait_for_prompt(other, "white, blue")
    other = open_page("?example=Landscape")
    wait_for_map(other)
    wait_for_prompt(other, "red, green, sky blue, yellow, unicorn")


def test_a_link_says_that_its_model_is_not_here(open_page):
    page = open_page("?prompt=blue&model=<b>best</b>")
    toast = page.locator(".toast-body")
    toast.wait_for()
    assert "“<b>best</b>” is not on this machine; Own weights answers" in toast.text_content()
    wait_for_prompt(page, "blue")


def test_the_browser_remembers_names_and_settings(open_page):
    page = open_page()
    page.locator(PROMPT).fill("red, green")
    page.locator("#generator label", has_text="MaskFormer").click()
    page.locator(PROMPT).press("Enter")
    page.locator(".pills button", has_text="red, green").wait_for()
    page = open_page(visitor=page.context)
    page.locator(".pills button", has_text="red, green").wait_for()
    page.locator("#generator input[value=maskformer]:checked").wait_for(state="attached")
    choose(page, "Landscape")
    page.locator(".pills button", has_text="red, green").click()
    wait_for_legend(page, ["red", "green"])


def test_after_a_reload_the_newest_names_are_back(open_page):
    """Older ones are in the address and in the browser's memory."""
    page = open_page("?prompt=blue&granularity=0.5")
    wait_for_prompt(page, "blue")
    page.locator(PROMPT).press("Enter")  # there is no image; the browser remembers the names all the same
    page.locator(".pills button", has_text="blue").wait_for()
    page.locator(PROMPT).fill("red, green")
    wait_for_link(page, "red, green")
    page.reload()
    page.locator(".chips .chip", has_text="green").wait_for()
    wait_for_prompt(page, "red, green")
    assert page.locator("#granularity input[type=number]").input_value() == "0.5"
    page.locator(PROMPT).fill("")
    wait_for_link(page, "")
    page.reload()
    page.locator(".pills button", has_text="blue").wait_for()
    wait_for_prompt(page, "")


def test_a_phone_has_room_for_everything(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    choose(page, "Landscape")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".frame").scroll_into_view_if_needed()
    box = page.locator(".frame").bounding_box()
    page.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.locator(".why b", has_text="red").wait_for()
    for selector in ("#submit", "#prompt textarea", "#generator", ".actions"):
        assert page.locator(selector).is_visible()
    page.locator(".why .close").click()
    page.locator("#header .present").click()
    page.locator("#page.presenting .leave").click()
    page.locator("#page:not(.presenting)").wait_for()


def test_dark_is_dark_and_can_be_switched(open_page):
    page = open_page(color_scheme="dark")
    assert page.evaluate(BRIGHTNESS) < 150
    page.locator(".theme").click()
    assert page.evaluate(BRIGHTNESS) > 600
    page = open_page(visitor=page.context)
    assert page.evaluate(BRIGHTNESS) > 600, "the choice is remembered"
