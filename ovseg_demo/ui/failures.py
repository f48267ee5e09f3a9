"""The sentence that a visitor or a program gets for an error."""

from __future__ import annotations

import logging

from gradio.exceptions import InvalidPathError
from gradio_client.exceptions import AppError

from ovseg_demo.errors import OvsegError
from ovseg_demo.runtime.disk import is_disk_error
from ovseg_demo.ui.components import NOT_UPLOADED

FAILED = "The server failed at this; its operator finds the reason in its log."
NO_DISK = "The server cannot store files now; try again later, or tell its operator."
NO_MEMORY = "The server has too little memory for this now; try again later, or with a smaller image."

_log = logging.getLogger(__name__)


def sentence_of(error: Exception) -> str:
    """Return one sentence that names the remedy."""
    if isinstance(error, OvsegError):
        return encodable(str(error))
    if isinstance(error, AppError):
        return encodable(str(error.message))
    if isinstance(error, InvalidPathError):
        return NOT_UPLOADED
    if is_disk_error(error):
        return NO_DISK
    return NO_MEMORY if _is_out_of_memory(error) else FAILED


def log_failure(where: str, error: Exception) -> None:
    """Log an error of an event: one line, or for a fault of the program its traceback."""
    sentence = sentence_of(error)
    if sentence == FAILED:
        _log.error("failed at %s", where, exc_info=error)
    elif sentence in (NO_DISK, NO_MEMORY):
        _log.error("failed at %s: %s", where, _line(error))
    else:
        _log.warning("refused %s: %s", where, _line(sentence))


def encodable(text: str) -> str:
    """Return a text that UTF-8 can encode: JSON may hold halves of surrogate pairs, which become "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _line(text: object) -> str:
    return encodable(" ".join(str(text).split())[:500])


def _is_out_of_memory(error: Exception) -> bool:
    from ovseg_demo.runtime.out_of_memory import is_out_of_memory  # needs torch; the page imports this module

    return is_out_of_memory(error)
