"""Take the screenshots of the page for docs/images/ with a browser.

    python scripts/screenshots.py [FOLDER]

The script starts ``python app.py`` on a free port, with the bundled models one after the other.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LAPTOP = {"viewport": {"width": 1440, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
COLORS = 224
PATIENCE = 300_000
"""Timeout of an analysis on a busy machine, in milliseconds."""


def nothing(page: Page) -> None:
    """Do nothing after the example is open."""


def ask_why(page: Page) -> None:
    """Click the middle of the panda, and wait for the explanation."""
    box = page.locator(".frame").bounding_box()
    page.mouse.click(box["x"] + 0.53 * box["width"], box["y"] + 0.78 * box["height"])
    page.locator(".why").wait_for()
    page.mouse.move(5, 5)


def compare(page: Page) -> None:
    """Choose the comparison of the un-adapted CLIP with the mask-adapted one."""
    page.locator("[data-mode=compare]").click()
    page.locator("[data-compare=clips]").click()
    page.locator("canvas.other").wait_for()
    page.locator(".work").wait_for(state="hidden")


def show_masks(page: Page) -> None:
    """Display all proposals."""
    page.locator("[data-mode=masks]").click()
    page.locator(".masks-card").wait_for()


@dataclass(frozen=True)
class Shot:
    """A screenshot to take.

    Attributes:
        name: the file's name without its suffix.
        example: the title of the example to click.
        model: the model of the page.
        act: called with the page when the example's map is there.
        screen: the browser's screen.
    """

    name: str
    example: str
    model: str = "photo-mini"
    act: Callable[[Page], None] = nothing
    screen: dict[str, Any] = field(default_factory=lambda: LAPTOP)


SHOTS = (
    Shot("page", "Two dogs"),
    Shot("dark", "Mountains", screen=LAPTOP | {"color_scheme": "dark"}),
    Shot("phone", "Summer Palace", screen=PHONE),
    Shot("masks", "Summer Palace", act=show_masks),
    Shot("why", "Desert", "sticker-world", ask_why),
    Shot("compare", "Desert", "sticker-world", compare),
)


def main() -> None:
    """Save all screenshots in the folder that the command line names, by default docs/images."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    for model in dict.fromkeys(shot.model for shot in SHOTS):
        with serve(model) as address, open_browser() as browser:
            for shot in SHOTS:
                if shot.model == model:
                    path = folder / f"{shot.name}.png"
                    path.write_bytes(compress(take(browser, address, shot)))
                    print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


@contextmanager
def serve(model: str) -> Iterator[str]:
    """Start the page with a model and yield its address."""
    command = [sys.executable, "app.py", "--model", model]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            address = re.search(r"http://\S+", line)
            if address is None:
                raise SystemExit(f"The page did not open: {line}")
            yield address[0]
        finally:
            process.terminate()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start a headless Chromium and yield it."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("chromium is not installed; get it with: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def take(browser: Browser, address: str, shot: Shot) -> bytes:
    """Return a screenshot as PNG."""
    context = browser.new_context(**shot.screen, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address)
    page.locator(".gallery .card", has_text=shot.example).click()
    page.locator('.viewer[data-state="map"]').wait_for()
    page.locator(".work").wait_for(state="hidden")
    shot.act(page)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(1000)  # until Gradio's and the viewer's transitions end
    content = page.screenshot()
    context.close()
    return content


def compress(content: bytes) -> bytes:
    """Return the PNG with fewer colours, which takes a third of the bytes."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(content)).convert("RGB").quantize(COLORS, kmeans=3)
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
