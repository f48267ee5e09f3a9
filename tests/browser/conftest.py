"""One server and one browser for all tests of the page; each test opens pages of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

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


@pytest.fixture(scope="session")
def visitors(browser):
    from tests.browser.visitors import Visitors

    return Visitors(browser)


@pytest.fixture
def open_page(visitors, address, request) -> Iterator[Callable]:
    """Opens pages, each as another visitor unless one is given (a page's context).

    No page may complain, or ask anybody but our server.
    """
    from tests.browser.visitors import Complaints

    complaints, opened = Complaints(address), []
    failures = request.session.testsfailed

    def open_(query: str = "", visitor=None, is_ready: str = ".gallery .card", **options):
        page = visitor.new_page() if visitor else visitors.arrive(PATIENCE, **options)
        opened.append(page)
        complaints.watch(page)
        page.goto(address + query)
        page.locator(is_ready).first.wait_for()
        return page

    yield open_
    heard = list(complaints)
    for page in opened:
        complaints.leave(page)
    is_whole = not heard and request.session.testsfailed == failures
    for visitor in dict.fromkeys(page.context for page in opened):
        visitors.leave(visitor, f"{address}gradio_api/app_id", is_whole)
    assert not heard
