"""Answers to HTTP requests that cannot be used: JSON whose ``detail`` is a sentence, and a log line."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from fastapi.exceptions import RequestValidationError
from gradio.route_utils import FnIndexInferError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from ovseg_demo.runtime.disk import is_disk_error
from ovseg_demo.ui.failures import NO_DISK, encodable

_NO_CALL = (
    'The body is no call; send JSON such as {"data": [{"path": …, "meta": {"_type": "gradio.FileData"}}, '
    '"frog, cup"]}.'
)
_NO_ENDPOINT = "There is no such endpoint; this page has /segment and /suggest."

TOO_MANY, FULL = 429, 503
INSUFFICIENT_STORAGE = 507
_CLIENT_CLOSED_REQUEST = 499  # nobody reads this answer

_log = logging.getLogger(__name__)


def refuse(request: Request, status: int, sentence: str, **headers: str) -> JSONResponse:
    """Return an answer that tells why a request is refused, and log it.

    What comes too often (429, 503) is not logged: a flood of it would fill the log.
    """
    if status not in (TOO_MANY, FULL):
        _log.warning("refused %s %s: %s", request.method, request.url.path[:100], sentence)
    return JSONResponse({"detail": encodable(sentence)}, status, headers=headers)


def refuse_until(request: Request, status: int, reason: str, wait: float) -> JSONResponse:
    """Return an answer that tells why a request is refused, and in how many seconds it may come again."""
    seconds, sentence = try_again(wait)
    return refuse(request, status, f"{reason}; {sentence}", **{"Retry-After": str(seconds)})


def try_again(wait: float) -> tuple[int, str]:
    """Return whole seconds, at least 1, and the words that name them: "try again in 2 seconds."."""
    seconds = max(1, math.ceil(wait))
    return seconds, f"try again in {seconds} {'second' if seconds == 1 else 'seconds'}."


async def _on_unreadable_body(request: Request, error: Exception) -> Response:
    return refuse(request, 400, _NO_CALL)


async def _on_unknown_endpoint(request: Request, error: Exception) -> Response:
    return refuse(request, 404, _NO_ENDPOINT)


async def _on_wrong_arguments(request: Request, error: Exception) -> Response:
    """Answer what Gradio raises while it reads the arguments of a call by name."""
    if "/call/" not in request.url.path:
        raise error
    if isinstance(error, KeyError):
        return refuse(request, 404, _NO_ENDPOINT)
    return refuse(request, 400, f"{' '.join(str(error).split())[:300]} See docs/reference/http-api.md.")


async def _on_disk_error(request: Request, error: Exception) -> Response:
    """Answer what is raised where an upload cannot be stored."""
    if not is_disk_error(error):
        raise error
    _log.error("failed at %s: %s", request.url.path[:100], error)
    return PlainTextResponse(NO_DISK, INSUFFICIENT_STORAGE)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    _log.warning("a request broke off")
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


EXCEPTION_HANDLERS: Mapping[type[Exception], Callable] = MappingProxyType(
    {
        RequestValidationError: _on_unreadable_body,
        FnIndexInferError: _on_unknown_endpoint,
        KeyError: _on_wrong_arguments,
        TypeError: _on_wrong_arguments,
        ValueError: _on_wrong_arguments,
        OSError: _on_disk_error,
        ClientDisconnect: _on_disconnect,
    }
)
"""For FastAPI, by what is raised."""
