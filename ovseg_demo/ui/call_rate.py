"""Spaces out the calls of an address that makes many, before they cost more than their first line."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ovseg_demo.ui.clients import RateLimit, Rates, client_of
from ovseg_demo.ui.http_errors import FULL, TOO_MANY, refuse_until
from ovseg_demo.ui.upload_guard import is_upload

PAGE = RateLimit(burst=300, per_second=30)
PROGRAMS = RateLimit(burst=100, per_second=20)
UPLOADS = RateLimit(burst=100, per_second=2)

_PAUSE = 1.0  # seconds before a refusal: who repeats the call at once, repeats it once a second


@dataclass(frozen=True)
class CallLimits:
    """How often one address may call.

    Attributes:
        page: events of the page. A class of thirty behind one address types so much.
        programs: calls of the endpoint.
        uploads: requests that bring files.
        longest_wait: seconds that a call is held back; one that would wait longer is refused.
    """

    page: RateLimit = PAGE
    programs: RateLimit = PROGRAMS
    uploads: RateLimit = UPLOADS
    longest_wait: float = 5.0


class CallRate:
    """ASGI middleware that holds back or refuses calls that come too often.

    Args:
        app: what answers them.
        limits: of an address.
    """

    def __init__(self, app: ASGIApp, limits: CallLimits):
        self._app = app
        self._longest_wait = limits.longest_wait
        self._page = limits.page.counter()
        self._programs = limits.programs.counter()
        self._uploads = limits.uploads.counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on in its time; pass everything else on at once."""
        rates = self._rates_of(scope)
        if rates is not None:
            request = Request(scope)
            client = client_of(request)
            rates.pay(client, 1)
            wait = rates.debt(client)
            if wait > self._longest_wait:
                rates.pay(client, -1)
                await asyncio.sleep(_PAUSE)
                await self._refusal(request, wait, rates)(scope, receive, send)
                return
            if wait > 0:
                await asyncio.sleep(wait)
        await self._app(scope, receive, send)

    def _rates_of(self, scope: Scope) -> Rates | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        if scope["path"].endswith("/gradio_api/queue/join"):
            return self._page
        if is_upload(scope):
            return self._uploads
        return self._programs if "/gradio_api/call/" in scope["path"] else None

    def _refusal(self, request: Request, wait: float, rates: Rates) -> ASGIApp:
        status = FULL if rates is self._programs else TOO_MANY
        return refuse_until(request, status, "Your address has called very often lately", wait)
