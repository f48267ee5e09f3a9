"""Visitors of the page: tabs of one browser, used again by test after test, and what goes wrong in them.

A new tab starts two processes and compiles the page's scripts: two seconds of computing for each test. A used
one whose storage, cookies and permissions are empty is just as new to the page.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlparse

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

DESKTOP = {"width": 1440, "height": 900}

TOUCH = {"has_touch", "is_mobile"}
"""Options that a tab has from its start."""


class Visitors:
    """Tabs of one browser; each is another visitor, with storage of its own."""

    def __init__(self, browser: Browser):
        self._browser = browser
        self._free: list[Page] = []

    def arrive(self, patience: int, **options: Any) -> Page:
        """Return an empty tab of a visitor who was never on the page.

        Args:
            patience: milliseconds that anything on the page may take.
            options: of a browser context: ``viewport``, ``color_scheme``, ``reduced_motion``,
                ``permissions``, ``has_touch``, ``is_mobile``.
        """
        viewport = options.pop("viewport", DESKTOP)
        if TOUCH & options.keys():
            page = self._browser.new_context(viewport=viewport, **options).new_page()
        else:
            page = self._free.pop() if self._free else self._browser.new_context().new_page()
            page.context.grant_permissions(options.pop("permissions", []))
            page.set_viewport_size(viewport)
            page.emulate_media(**{"color_scheme": "light", "reduced_motion": "no-preference"} | options)
        page.context.set_default_timeout(patience)
        return page

    def leave(self, visitor: BrowserContext, blank: str, is_whole: bool) -> None:
        """End a visit.

        Args:
            visitor: who leaves.
            blank: address of a document without scripts that has the page's origin, and so its storage.
            is_whole: whether another visitor may use the tab.
        """
        if not is_whole or not visitor.pages:
            visitor.close()
            return
        page, *others = visitor.pages
        for other in others:
            other.close()
        visitor.unroute_all()
        visitor.clear_permissions()
        page.goto(blank)
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
        visitor.clear_cookies()
        page.mouse.move(0, 0)
        self._free.append(page)


class Complaints(list[str]):
    """What a page complains of: errors, dialogs, and requests to anybody but our server."""

    def __init__(self, address: str):
        super().__init__()
        self._address = address
        self._listeners = {
            "pageerror": lambda error: self.append(f"error: {error.stack}"),
            "dialog": lambda dialog: self.append(f"dialog: {dialog.message}"),
            "console": self._hear,
            "request": self._check,
        }

    def watch(self, page: Page) -> None:
        """Hear the complaints of a page."""
        for event, listener in self._listeners.items():
            page.on(event, listener)

    def leave(self, page: Page) -> None:
        """Hear no more of a page."""
        for event, listener in self._listeners.items():
            page.remove_listener(event, listener)

    def _hear(self, message: ConsoleMessage) -> None:
        is_refused_upload = "/gradio_api/upload" in message.location["url"]  # the browser itself notes it
        if message.type == "error" and not is_refused_upload:
            self.append(f"console: {message.text}")

    def _check(self, request: Request) -> None:
        is_remote = urlparse(request.url).scheme in ("http", "https", "ws", "wss")
        if is_remote and not request.url.startswith(self._address):
            self.append(f"request: {request.url}")
