"""Time of live edits in the browser, from the key press to the new map on the screen.

The page runs with sticker-world in a process of its own. A headless Chromium types the last letter of a
name at the end of the prompt. The time is measured in the page, from the ``keydown`` event to the first frame
after the new map is drawn.

    python benchmarks/live_edit.py
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import harness
from benchmarks.load import serve
from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.test_page import PROMPT, choose

BAR = 300
NEW_NAMES = (
    "penguin",
    "ladder",
    "castle",
    "bus",
    "snake",
    "shark",
    "duck",
    "snowman",
    "kite",
    "tent",
    "boat",
    "cow",
)

WATCH = """() => {
  const viewer = document.querySelector('.viewer');
  window.edits = [];
  for (const name of ['keydown', 'pointerup']) {
    document.addEventListener(name, () => { window.pressed = performance.now(); }, true);
  }
  let shown = viewer.dataset.map;
  new MutationObserver(() => {
    if (viewer.dataset.map === shown) return; // the same map, painted again
    shown = viewer.dataset.map;
    const { pressed } = window;
    requestAnimationFrame(() => window.edits.push(performance.now() - pressed));
  }).observe(viewer, { attributes: true, attributeFilter: ['data-map'] });
}"""


@contextmanager
def open_page(url: str) -> Iterator[Page]:
    """Open the page in a headless Chromium with a laptop's screen size, and yield it."""
    if CHROMIUM is None:
        raise SystemExit("chromium is not installed; get it with: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(300_000)
        page.goto(url)
        yield page
        browser.close()


def main() -> None:
    parser = harness.make_parser(__doc__)
    parser.add_argument("--edits", type=int, default=len(NEW_NAMES))
    parser.add_argument("--example", default="Open sea", help="title of the image's card")
    options = parser.parse_args()
    if options.quick:
        options.edits = 3
    harness.start("Live edits in the browser, sticker-world", options)
    with serve("sticker-world") as (url, _, _), open_page(url) as page:
        choose(page, options.example)
        page.evaluate(WATCH)
        new = [edit(page, name) for name in NEW_NAMES[: options.edits]]
        known = [edit(page, name) for name in NEW_NAMES[: options.edits]]
    harness.print_table(
        ["the last key of", "edits", f"median (bar {BAR} ms)", "longest"],
        [row("a new name", new), row("a cached name", known)],
    )


def edit(page: Page, name: str) -> float:
    """Return the milliseconds from the last letter of a name at the end of the prompt to the new map."""
    box = page.locator(PROMPT)
    box.press("Control+End")
    prompt = box.input_value()
    page.keyboard.insert_text(f", {name[:-1]}")
    settle(page)
    taken = time_map(page, lambda: page.keyboard.press(name[-1]))
    box.fill(prompt)
    settle(page)
    return taken


def time_map(page: Page, act: Callable[[], object]) -> float:
    """Return the milliseconds from the last key or click of an action to the new map."""
    before = page.locator(".viewer").get_attribute("data-map")
    page.evaluate("window.edits = []")
    act()
    page.wait_for_function(
        "before => document.querySelector('.viewer').dataset.map !== before && window.edits.length > 0",
        arg=before,
    )
    settle(page)
    return page.evaluate("window.edits[0]")


def settle(page: Page) -> None:
    """Wait until no new map has arrived for a while."""
    before = None
    while (now := page.locator(".viewer").get_attribute("data-map")) != before:
        before = now
        page.wait_for_timeout(700)


def row(what: str, edits: list[float]) -> list[str]:
    """Return a row of the table: what was done, how often, the median and the longest time."""
    return [what, str(len(edits)), f"{statistics.median(edits):.0f} ms", f"{max(edits):.0f} ms"]


if __name__ == "__main__":
    main()
