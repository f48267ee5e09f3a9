"""What visitors may upload: a few image files at a time, at a bounded rate, into a bounded folder."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ovseg_demo.ui.clients import RateLimit, client_of
from ovseg_demo.ui.http_errors import TOO_MANY, refuse, refuse_until
from ovseg_demo.ui.visitor_files import VisitorFiles

SIGNATURES = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"BM",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"II+\0",  # BigTIFF
    b"MM\0+",
)
"""The first bytes of image files. WebP, AVIF and HEIC have them further on: see :func:`is_image`."""

_log = logging.getLogger(__name__)

_HEAD = 12  # bytes that tell


RATE = RateLimit(burst=200 * 2**20, per_second=2 * 2**20)
"""Bytes that one address may upload."""


@dataclass(frozen=True)
class UploadLimits:
    """What one address may upload.

    Attributes:
        files: of one request.
        request_bytes: of one request; 20 MB of files and what is written around them.
        at_once: requests under way at the same time.
        seconds: that a request may take.
        rate: bytes.
    """

    files: int = 4
    request_bytes: int = 21 * 2**20
    at_once: int = 6
    seconds: float = 180
    rate: RateLimit = RATE


def is_image(head: bytes) -> bool:
    """Return whether a file that begins so is an image of a format that may be readable."""
    if head.startswith(SIGNATURES):
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return True
    return head[4:8] == b"ftyp"  # AVIF and HEIC; the opener tells them from videos


class UploadGuard:
    """ASGI middleware that refuses uploads before they are stored.

    Args:
        app: what stores them.
        limits: of an address.
        files: the folder that uploads are stored in; ``None`` where it is not bounded.
    """

    def __init__(self, app: ASGIApp, limits: UploadLimits, files: VisitorFiles | None = None):
        self._app = app
        self._limits = limits
        self._files = files
        self._rates = limits.rate.counter()
        self._under_way: Counter[str] = Counter()
        self._has_failed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an upload that is not to begin; pass everything else on."""
        if scope["type"] != "http" or not is_upload(scope):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        client = client_of(request)
        refusal = self._refusal(request, client)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if self._files is not None:
            await asyncio.to_thread(self._files.make_room, self._limits.request_bytes)
        statuses: list[int] = []

        async def watch(message: Message) -> None:
            statuses.append(message.get("status", 0))
            await send(message)

        with self._counted(client):
            body = _CheckedBody(request, receive, self._limits)
            try:
                await self._app(scope, body.receive, watch)
            finally:
                self._rates.pay(client, body.size - declared_size(request))
                self._has_failed |= not statuses or max(statuses) >= 500
        self._clean_up()

    def _clean_up(self) -> None:
        """Delete what a failed upload has left. It stands among those under way, so all must have ended."""
        if self._has_failed and not self._under_way and self._files is not None:
            self._has_failed = False
            self._files.delete_unfinished()

    def _refusal(self, request: Request, client: str) -> ASGIApp | None:
        """Return the answer to an upload that is not to begin."""
        limits, size = self._limits, declared_size(request)
        if size > limits.request_bytes:
            return refuse(
                request,
                413,
                f"An upload may have {_megabytes(limits.request_bytes)}, this one has {_megabytes(size)}; "
                "make the image smaller.",
            )
        if self._under_way[client] >= limits.at_once:
            return refuse(
                request,
                TOO_MANY,
                f"{limits.at_once} uploads from your address are under way; wait until one has ended.",
                **{"Retry-After": "5"},
            )
        wait = self._rates.take(client, size)
        if wait > 0:
            return refuse_until(request, TOO_MANY, "Your address has uploaded much lately", wait)
        return None

    @contextmanager
    def _counted(self, client: str) -> Iterator[None]:
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]


class _CheckedBody:
    """A request's body on its way to Gradio. What is wrong with it raises there, and ends the upload.

    Attributes:
        size: the bytes that have come.
    """

    def __init__(self, request: Request, receive: Receive, limits: UploadLimits):
        self.size = 0
        self._receive = receive
        self._limits = limits
        self._end = asyncio.get_running_loop().time() + limits.seconds
        self._files = 0
        self._is_complete = False
        self._head: bytearray | None = None  # the first bytes of the part, until they are checked
        self._disposition, self._header = b"", b""
        self._parser = self._make_parser(request)

    async def receive(self) -> Message:
        """Return the next piece of the body.

        Raises:
            MultiPartException: it is no upload of images; Gradio then deletes the files and answers with the
                sentence.
        """
        try:
            left = None if self._is_complete else self._end - asyncio.get_running_loop().time()
            message = await asyncio.wait_for(self._receive(), left)
        except TimeoutError:
            seconds = f"{self._limits.seconds:.0f} seconds"
            raise _stop(f"The upload took more than {seconds}; make the image smaller.") from None
        if self._is_complete:
            return message
        if message["type"] == "http.disconnect":
            raise _stop("The upload broke off.")
        piece = message.get("body", b"")
        self.size += len(piece)
        self._is_complete = not message.get("more_body")
        if self.size > self._limits.request_bytes:
            most = _megabytes(self._limits.request_bytes)
            raise _stop(f"The upload is larger than the maximum allowed size of {most}.")
        if self._parser is not None:
            try:
                self._parser.write(piece)
            except MultipartParseError:
                self._parser = None  # Gradio tells it
        return message

    def _make_parser(self, request: Request) -> MultipartParser | None:
        _, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary")
        if boundary is None:
            return None  # Gradio tells it
        callbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._check_head,
        }
        return MultipartParser(boundary, callbacks)

    def _on_part_begin(self) -> None:
        self._head, self._disposition, self._header = None, b"", b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        if self._header.lower().endswith(b"content-disposition"):
            self._disposition += data[start:end]

    def _on_headers_finished(self) -> None:
        if b"filename" not in parse_options_header(self._disposition)[1]:
            return
        self._files += 1
        if self._files > self._limits.files:
            raise _stop(f"An upload may have {self._limits.files} files; send fewer at a time.")
        self._head = bytearray()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._head is not None:
            self._head += data[start : min(end, start + _HEAD)]
            if len(self._head) >= _HEAD:
                self._check_head()

    def _check_head(self) -> None:
        if self._head is not None and not is_image(bytes(self._head)):
            raise _stop("The file is no image; send a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC.")
        self._head = None


def _stop(sentence: str) -> MultiPartException:
    """Return a fault of the form. Gradio then deletes what it has stored, and answers with the sentence."""
    _log.warning("refused an upload: %s", sentence)
    return MultiPartException(sentence)


def is_upload(scope: Scope) -> bool:
    """Return whether a request brings files."""
    return scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/gradio_api/upload")


def declared_size(request: Request) -> int:
    """Return the size that the request gives itself; 0 if it gives none."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.0f} MB"
