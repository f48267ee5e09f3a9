"""One server and one browser for all tests of the page; each test opens pages of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from urllib.parse import urlparse

import pytest

from tests.ui.colour_world import HOUSE, SLOW_COLOUR, colour_segmenter, landscape, save_image, stripes

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

ARGUMENTS = [
    "--no-sandbox",  # containers run as root, where the sandbox cannot
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",  # a camera that shows a moving test image …
    "--use-fake-ui-for-media-stream",  # … and a visitor who lets the page use it
]

PATIENCE = 60_000
"""Milliseconds that a page may take for anything: only a page that hangs takes so long."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: drives a real browser")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)
            # Browser and server share the cores with other tests; the summary names each second try.
            item.add_marker(pytest.mark.flaky(reruns=1))
            if CHROMIUM is None:
                item.add_marker(
                    pytest.mark.skip("chromium is not installed; get it with: apt-get install chromium")
                )


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> dict[str, str]:
    """Paths of images of the colour world."""
    folder = tmp_path_factory.mktemp("images")
    pixels = {
        "landscape": landscape(),
        "stripes": stripes((0, 0, 255), (255, 0, 0), (255, 255, 255)),
        "slow": stripes(SLOW_COLOUR, HOUSE),
    }
    return {name: str(save_image(folder / f"{name}.png", value)) for name, value in pixels.items()}


@pytest.fixture(scope="session")
def address(tmp_path_factory, images) -> Iterator[str]:
    """A running server, with examples of the colour world."""
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    from pathlib import Path

    from ovseg_demo.ui import PageSettings, create_demo
    from ovseg_demo.ui.examples import PHOTOGRAPH, Example
    from ovseg_demo.ui.model_registry import ModelRegistry
    from ovseg_demo.ui.server import launch

    examples = [
        Example(
            Path(images["landscape"]), "Landscape", "red, green, sky blue, yellow, unicorn", kind=PHOTOGRAPH
        ),
        Example(Path(images["stripes"]), "Stripes", "blue, red", "maskformer", 0.5, kind=PHOTOGRAPH),
        Example(Path(images["slow"]), "Slow", "red, magenta", kind=PHOTOGRAPH),
    ]
    demo = create_demo(ModelRegistry.of_segmenter(colour_segmenter()), PageSettings(), examples)
    _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
    yield url
    demo.close()


@pytest.fixture(scope="session")
def browser() -> Iterator:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address) -> Iterator[Callable]:
    """Opens pages, each as another visitor unless one is given (a page's context).

    No page may complain, or ask anybody but our server.
    """
    contexts, complaints = [], []

    def watch(page) -> None:
        page.on("pageerror", lambda error: complaints.append(f"error: {error.stack}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("console", hear)
        page.on(
            "request",
            lambda request: complaints.append(f"request: {request.url}") if leaves(request.url) else None,
        )

    def hear(message) -> None:
        is_refused_upload = "/gradio_api/upload" in message.location["url"]  # the browser itself notes it
        if message.type == "error" and not is_refused_upload:
            complaints.append(f"console: {message.text}")

    def leaves(url: str) -> bool:
        return urlparse(url).scheme in ("http", "https", "ws", "wss") and not url.startswith(address)

    def open_(query: str = "", visitor=None, is_ready: str = ".gallery .card", **options):
        context = visitor or browser.new_context(**{"viewport": {"width": 1440, "height": 900}} | options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        watch(page)
        page.goto(address + query)
        page.locator(is_ready).first.wait_for()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints
