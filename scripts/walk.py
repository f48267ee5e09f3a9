"""Record a walk through the page as an animated image, for the README.

    python scripts/walk.py [FILE]

The script starts ``python app.py`` on a free port and drives it with a browser. The GIF has less than 3 MB.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.screenshots import PATIENCE, ROOT, open_browser, serve

SCREEN = {"viewport": {"width": 1180, "height": 860}}
WIDTH = 820
COLORS = 96
MOST_BYTES = 3_000_000
EXAMPLE = "Two dogs"

Shoot = Callable[[int], None]
"""Adds what the page shows now to the recording, for so many milliseconds."""


def main() -> None:
    """Save the recording in the file that the command line names, by default docs/images/walk.gif."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "walk.gif"
    with serve("photo-mini") as address, open_browser() as browser:
        context = browser.new_context(**SCREEN, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(address)
        content = encode(record(page))
        context.close()
    if len(content) > MOST_BYTES:
        raise SystemExit(f"The recording has {len(content):,} bytes; take fewer or smaller frames.")
    path.write_bytes(content)
    print(f"{path}: {len(content) / 1000:.0f} kB")


def record(page: Page) -> list[tuple[bytes, int]]:
    """Walk through the page and return the frames, PNG, each with its time in milliseconds."""
    frames: list[tuple[bytes, int]] = []

    def shoot(milliseconds: int) -> None:
        page.wait_for_timeout(250)
        frames.append((page.screenshot(), milliseconds))

    page.locator(".gallery .card", has_text=EXAMPLE).wait_for()
    shoot(900)
    page.locator(".gallery .card", has_text=EXAMPLE).click()
    page.locator('.viewer[data-state="map"]').wait_for()
    page.locator(".work").wait_for(state="hidden")
    page.evaluate("scrollTo(0, 0)")
    shoot(1600)
    type_names(page, shoot)
    ask_and_correct(page, shoot)
    compare(page, shoot)
    return frames


def type_names(page: Page, shoot: Shoot) -> None:
    """Type a further name; the map follows."""
    prompt = page.locator("#prompt textarea")
    prompt.press("End")
    for piece in (", cur", "tain"):
        prompt.press_sequentially(piece)
        page.wait_for_timeout(600)
        shoot(700)
    shoot(900)


def ask_and_correct(page: Page, shoot: Shoot) -> None:
    """Ask why a dog is one, and give it another name with Segment Anything's mask."""
    box = page.locator(".frame").bounding_box()
    page.mouse.click(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"])
    why = page.locator(".why")
    why.locator("input").wait_for()
    shoot(1600)
    why.locator("input").fill("spaniel")
    shoot(500)
    why.locator("button", has_text="New mask here").click()
    page.locator(".legend .entry:not(.missing)", has_text="spaniel").wait_for()
    shoot(1500)
    why.locator("button", has_text="Done").click()
    shoot(900)


def compare(page: Page, shoot: Shoot) -> None:
    """Draw the divider over the map."""
    page.locator("[data-mode=compare]").click()
    divider = page.locator(".frame .divider")
    shoot(600)
    for _ in range(2):
        for _ in range(8):
            divider.press("ArrowRight")
        shoot(350)
    shoot(900)


def encode(frames: list[tuple[bytes, int]]) -> bytes:
    """Return an animated GIF of frames and their times."""
    images = []
    for content, _ in frames:
        image = Image.open(io.BytesIO(content)).convert("RGB")
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.Resampling.LANCZOS)
        images.append(image.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))
    buffer = io.BytesIO()
    times = [milliseconds for _, milliseconds in frames]
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=times, loop=0, optimize=True
    )
    return buffer.getvalue()


if __name__ == "__main__":
    main()
