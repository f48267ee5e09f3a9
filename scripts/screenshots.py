"""Take the screenshots of the page for docs/images/ with a browser.

    python scripts/screenshots.py [FOLDER [NAME …]]

The script starts ``python app.py`` on a free port, with the bundled models one after the other.
"""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
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
FILMED = "bridge.jpg"
"""The example that the browser's fake camera films."""
QUEUED = ("mountains.jpg", "espresso.jpg")
"""The examples that are dropped while another image is presented."""


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


def ask_maskformer(page: Page) -> None:
    """Choose MaskFormer, whose larger masks outvote the lake, and wait until the notice says so."""
    page.locator("#generator label", has_text="MaskFormer").click()
    page.locator(".notice button.remedy").wait_for()


def leave_out(page: Page) -> None:
    """Open the least score of the dog, and leave out what is hardly one."""
    before = page.locator(".viewer").get_attribute("data-map")
    page.locator(".tune[data-name=dog]").click()
    page.locator(".least input").fill("0.75")
    page.wait_for_function("before => document.querySelector('.viewer').dataset.map !== before", arg=before)


def present(page: Page) -> None:
    """Present the example, and drop two images that wait."""
    page.keyboard.press("p")
    contents = [[name, base64.b64encode((EXAMPLES / name).read_bytes()).decode()] for name in QUEUED]
    page.evaluate(
        """contents => {
            const dataTransfer = new DataTransfer();
            for (const [name, content] of contents) {
                const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
                dataTransfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
            }
            const event = new DragEvent("drop", { dataTransfer, bubbles: true });
            document.querySelector(".stage").dispatchEvent(event);
        }""",
        contents,
    )
    page.locator(".queued").wait_for()


def go_live(page: Page) -> None:
    """Let the camera film, and wait until the page says how many frames a second it displays."""
    page.locator("#prompt textarea").fill("bridge, river, night sky")
    page.locator("#camera .go-live").click()
    page.locator(".live-rate", has_text="frames a second").wait_for()


def show_masks(page: Page) -> None:
    """Display all proposals."""
    page.locator("[data-mode=masks]").click()
    page.locator(".masks-card").wait_for()


@dataclass(frozen=True)
class Shot:
    """A screenshot to take.

    Attributes:
        name: the file's name without its suffix.
        example: the title of the example to click; empty for none.
        model: the model of the page.
        act: called with the page when the example's map, if there is one, is displayed.
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
    Shot("notice", "Summer Palace", act=ask_maskformer),
    Shot("least", "Two dogs", act=leave_out),
    Shot("present", "Summer Palace", act=present),
    Shot("live", "", act=go_live),
    Shot("why", "Desert", "sticker-world", ask_why),
    Shot("compare", "Desert", "sticker-world", compare),
)


def main() -> None:
    """Save screenshots, all or those named, in the folder that the command line gives (docs/images)."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    shots = [shot for shot in SHOTS if shot.name in sys.argv[2:] or not sys.argv[2:]]
    for model in dict.fromkeys(shot.model for shot in shots):
        with serve(model) as address, open_browser() as browser:
            for shot in shots:
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
    """Start a headless Chromium, whose camera films an example, and yield it."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit("chromium is not installed; get it with: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        film = Path(folder) / "film.mjpeg"
        film.write_bytes(pan(EXAMPLES / FILMED))
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        arguments = ["--no-sandbox", "--disable-gpu", *camera, f"--use-file-for-fake-video-capture={film}"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def pan(path: Path, width: int = 640, height: int = 480, frames: int = 60) -> bytes:
    """Return a film, Motion JPEG, of a camera that moves over an image."""
    image = Image.open(path).convert("RGB")
    image = ImageOps.fit(image, (width * 9 // 8, height * 9 // 8))
    film = io.BytesIO()
    for frame in range(frames):
        left = (image.width - width) * frame // frames
        top = (image.height - height) // 2
        image.crop((left, top, left + width, top + height)).save(film, "JPEG", quality=92)
    return film.getvalue()


def take(browser: Browser, address: str, shot: Shot) -> bytes:
    """Return a screenshot as PNG."""
    context = browser.new_context(**shot.screen, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address)
    page.locator(".gallery .card").first.wait_for()
    if shot.example:
        page.locator(".gallery .card", has_text=shot.example).click()
        page.locator('.viewer[data-state="map"]').wait_for()
        page.locator(".work").wait_for(state="hidden")
    shot.act(page)
    page.mouse.move(5, 5)
    page.evaluate("document.activeElement.blur()")
    if shot.screen is LAPTOP:
        page.evaluate("scrollTo(0, 0)")  # the browser scrolls to what it clicks
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
