"""Bounds the bodies of requests that are no uploads: the server holds them in memory."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovseg_demo.ui.http_errors import refuse
from ovseg_demo.ui.upload_guard import declared_size, is_upload

CALLS = 2**20
"""Bytes of a call, which names an uploaded image."""

CALLS_WITH_IMAGES = 32 * 2**20
"""Bytes of a call that brings its image along, as language models do."""


class BodyLimit:
    """ASGI middleware that refuses a body with too many bytes.

    Args:
        app: what reads the body.
        most: bytes.
    """

    def __init__(self, app: ASGIApp, most: int):
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http" or is_upload(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if declared_size(request) > self._most:
            await self._answer(request)(scope, receive, send)
            return
        size, is_answered = 0, False

        async def count() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise _TooLargeError
            return message

        async def watch(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, count, watch)
        except _TooLargeError:
            if not is_answered:
                await self._answer(request)(scope, receive, send)

    def _answer(self, request: Request) -> ASGIApp:
        return refuse(
            request, 413, f"A call may have {self._most // 2**20} MB; upload the image, and send its path."
        )


class _TooLargeError(BaseException):
    """More bytes came than allowed; no handler between may take it for an error of its own."""
