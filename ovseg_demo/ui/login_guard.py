"""Slows those who guess passwords, address by address."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovseg_demo.ui.clients import client_of
from ovseg_demo.ui.http_errors import TOO_MANY, refuse_until

FREE_ATTEMPTS = 3
"""Wrong logins in a row that are not slowed."""

_log = logging.getLogger(__name__)

_LONGEST_WAIT = 300.0  # seconds
_FORGET_AFTER = 3600.0  # seconds without an attempt
_MOST_ADDRESSES = 10_000


class LoginGuard:
    """ASGI middleware: after each further wrong login an address waits twice as long.

    An attempt counts as wrong when it begins, so that attempts at the same time count, too.
    """

    def __init__(self, app: ASGIApp):
        self._app = app
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when the last was

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a login that comes too early; pass everything else on."""
        is_login = scope["type"] == "http" and scope["method"] == "POST"
        if not is_login or not scope["path"].rstrip("/").endswith("/login"):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        client = client_of(request)
        wait = self._wait(client)
        if wait > 0:
            answer = refuse_until(request, TOO_MANY, "Too many wrong logins came from your address", wait)
            await answer(scope, receive, send)
            return
        self._note_wrong(client)

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 200:
                    self._wrong.pop(client, None)
                else:
                    _log.warning("a wrong login came from %s", client)
            await send(message)

        await self._app(scope, receive, watch)

    def _wait(self, client: str) -> float:
        """Return the seconds until an address may try again."""
        count, last = self._wrong.get(client, (0, 0.0))
        passed = time.monotonic() - last
        if count < FREE_ATTEMPTS or passed > _FORGET_AFTER:
            return 0.0
        return min(_LONGEST_WAIT, 2.0 ** min(20, count - FREE_ATTEMPTS + 1)) - passed

    def _note_wrong(self, client: str) -> None:
        count, last = self._wrong.pop(client, (0, 0.0))
        now = time.monotonic()
        self._wrong[client] = (count + 1 if now - last <= _FORGET_AFTER else 1, now)
        while len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)
