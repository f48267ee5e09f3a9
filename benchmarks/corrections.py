"""Time of corrections and suggestions in the browser, as the page makes them.

The page runs in a process of its own, with photo-mini, and then with photo-mini whose Segment Anything is a
ViT-B of random weights (one of the published sizes). A headless Chromium types, clicks and draws boxes; the
time is measured in the page, from the key or click to the first frame after the new map is drawn. Suggestions
are timed from the map of a new image to the first frame with the names.

    python benchmarks/corrections.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness
from benchmarks.live_edit import WATCH, edit, open_page, settle, time_map
from benchmarks.load import serve
from benchmarks.sam import VIT_B, random_sam
from tests.browser.test_page import choose, click_image

MODEL = "photo-mini"
EXAMPLES = ("Summer Palace", "Mountains", "Espresso", "Raccoon", "City at night", "Cat", "Lift-off")
NAMES = ("window", "chair", "bottle", "train", "horse", "umbrella", "clock", "bridge", "piano", "lamp")
PLACES = ((0.5, 0.5), (0.3, 0.4), (0.7, 0.6), (0.4, 0.7), (0.6, 0.3), (0.5, 0.8), (0.2, 0.6), (0.8, 0.4))

# Milliseconds, for the bundled model.
BARS = {
    "live edit: the last key of a new name": 300,
    "rename a region": 300,
    "new mask at a point": 500,
    "new mask in a box": 500,
    "suggestions after an analysis": 200,
}

WATCH_SUGGESTIONS = """() => {
  const viewer = document.querySelector('.viewer'), row = document.querySelector('#suggestions .suggestions');
  window.suggestion = { map: null, names: null };
  new MutationObserver(() => {
    if (viewer.dataset.map) window.suggestion.map ??= performance.now();
  }).observe(viewer, { attributes: true, attributeFilter: ['data-map'] });
  new MutationObserver(() => requestAnimationFrame(() => {
    if (row.querySelector('[data-name]')) window.suggestion.names ??= performance.now();
    else window.suggestion.names = null; // another image: its names come later
  })).observe(row, { childList: true });
}"""


def main() -> None:
    parser = harness.make_parser(__doc__)
    options = parser.parse_args()
    harness.start("Corrections and suggestions in the browser", options)
    rows = list(_rows("photo-mini", options))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sam_vit_b_random.pth")
        torch.save(random_sam(VIT_B).state_dict(), path)
        rows += _rows("SAM ViT-B, random weights", options, "--sam", str(path), "--points-per-side", "4")
    harness.print_table(["model", "action", "number", "bar", "median", "longest"], rows)
    print(f"\n{harness.describe_machine()}")


def _rows(title: str, options: argparse.Namespace, *arguments: str) -> Iterator[list[str]]:
    """Yield a row for each action, measured on a page that was started with these arguments."""
    with serve(MODEL, *arguments) as (url, _, _), open_page(url) as page:
        choose(page, "Two dogs")
        page.evaluate(WATCH)
        count = 2 if options.quick else len(PLACES)
        actions = {
            "new mask at a point": [point(page, place) for place in PLACES[:count]],
            "new mask in a box": [draw_box(page, place) for place in PLACES[:count]],
        }
        if not arguments:  # these do not depend on Segment Anything
            actions |= {
                "live edit: the last key of a new name": [edit(page, name) for name in NAMES[:count]],
                "rename a region": [rename(page, place) for place in PLACES[:count]],
                "suggestions after an analysis": list(suggestions(page, EXAMPLES[: count + 1])),
            }
    for action, taken in actions.items():
        figures = f"{statistics.median(taken):.0f} ms", f"{max(taken):.0f} ms"
        bar = "–" if arguments else f"{BARS[action]} ms"
        yield [title, action, str(len(taken)), bar, *figures]


def rename(page: Page, place: tuple[float, float]) -> float:
    """Return the milliseconds from a click on another name of a region to the map."""
    _ask(page, place)
    return time_map(page, lambda: page.locator(".why .bar").nth(1).click())


def point(page: Page, place: tuple[float, float]) -> float:
    """Return the milliseconds from "New mask here" to the map with the mask."""
    _ask(page, place)
    taken = time_map(page, lambda: page.locator(".why button", has_text="New mask here").click())
    page.locator(".why button", has_text="Done").click()
    settle(page)
    return taken


def draw_box(page: Page, place: tuple[float, float]) -> float:
    """Return the milliseconds from the end of a box to the map with its mask."""
    _ask(page, place)
    time_map(page, lambda: page.locator(".why button", has_text="New mask here").click())
    frame = page.locator(".frame").bounding_box()
    x, y = (frame["x"] + place[0] * frame["width"], frame["y"] + place[1] * frame["height"])

    def draw() -> None:
        page.mouse.move(x - 0.1 * frame["width"], y - 0.1 * frame["height"])
        page.mouse.down()
        page.mouse.move(x + 0.1 * frame["width"], y + 0.1 * frame["height"], steps=4)
        page.mouse.up()

    taken = time_map(page, draw)
    page.locator(".why button", has_text="Done").click()
    settle(page)
    return taken


def suggestions(page: Page, titles: tuple[str, ...]) -> Iterator[float]:
    """Yield the milliseconds from the map of each example but the first to its suggested names."""
    page.evaluate(WATCH_SUGGESTIONS)
    for number, title in enumerate(titles):
        page.evaluate("Object.assign(window.suggestion, { map: null, names: null })")
        choose(page, title)
        page.wait_for_function("() => window.suggestion.names !== null")
        if number:  # with the first, the candidates may still have to be encoded
            yield page.evaluate("Math.max(0, window.suggestion.names - window.suggestion.map)")
        settle(page)


def _ask(page: Page, place: tuple[float, float]) -> None:
    """Open the panel "Why?" of a place that is not beside another open panel."""
    page.keyboard.press("Escape")
    page.locator(".why").wait_for(state="hidden")
    click_image(page, *place)
    page.locator(".why button", has_text="New mask here").wait_for()


if __name__ == "__main__":
    main()
