"""Transfer one file from one source: with ``huggingface_hub`` from the Hub, with ``gdown`` from elsewhere.

The libraries make the requests and keep the unfinished files. This module adapts their progress reports and
errors. It verifies nothing: :mod:`ovseg_demo.models.downloads` does.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ovseg_demo.errors import OvsegError
from ovseg_demo.models.weights_files import GoogleDriveSource, HuggingFaceSource, Source, UrlSource
from ovseg_demo.runtime.disk import is_full_disk

if TYPE_CHECKING:
    import requests

ReportBytes = Callable[[int, int], None]
"""Called as ``report(received, total)`` in bytes; ``total`` is 0 while it is unknown."""

_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
_ATTEMPTS = 3
_BUSY_PAUSE = 2.0  # seconds after a server's first answer that it is busy


class TransferError(Exception):
    """A source did not deliver the file. The message gives the reason in a few words."""


def fetch(source: Source, workspace: Path, report: ReportBytes, *, resume: bool) -> Path:
    """Fetch a file into a folder and return its path there.

    Args:
        source: where the file is.
        workspace: folder for this file alone; it is created if necessary. Unfinished files stay in it.
        report: called as the bytes arrive. It may raise an :class:`OvsegError` to stop.
        resume: whether to append to an unfinished file of an earlier call. The libraries cannot tell whether
            it is of the same version, so do this only if a hash of the whole file is known.

    Raises:
        TransferError: the source refused, broke off, or sent less than it announced.
        OSError: the disk is full.
        OvsegError: raised by ``report``.
    """
    workspace.mkdir(exist_ok=True)
    if not resume:
        discard_unfinished(workspace)
    stopped = []

    def report_and_remember(received: int, total: int) -> None:
        try:
            report(received, total)
        except OvsegError as error:  # a library may wrap or drop it on its way up
            stopped.append(error)
            raise

    try:
        path = _fetch_with_library(source, workspace, report_and_remember, resume=resume)
    except Exception as error:  # the libraries' own classes, those of their HTTP clients, and OSError
        if stopped:
            raise stopped[0] from None
        if isinstance(error, TypeError) or is_full_disk(error):
            raise
        raise TransferError(_reason(error)) from error
    if stopped:
        raise stopped[0]
    return Path(path)


def unfinished_bytes(workspace: Path) -> int:
    """Return how many bytes of an unfinished file are in a workspace."""
    return sum(path.stat().st_size for path in workspace.glob("*.part"))


def discard_unfinished(workspace: Path) -> None:
    """Delete a workspace's content."""
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(exist_ok=True)


def _fetch_with_library(source: Source, workspace: Path, report: ReportBytes, *, resume: bool) -> str:
    match source:
        case UrlSource():
            return _fetch_with_gdown({"url": source.url}, workspace, report, resume=resume)
        case GoogleDriveSource():
            return _fetch_with_gdown({"id": source.file_id}, workspace, report, resume=resume)
        case HuggingFaceSource():
            return _fetch_from_hub(source, workspace, report)
        case _:
            raise TypeError(f"{source} is not a source to fetch from.")


# ---- gdown


def _fetch_with_gdown(source: dict[str, str], workspace: Path, report: ReportBytes, *, resume: bool) -> str:
    """Call gdown until the file is there, or until a call brings nothing more.

    One call of gdown survives ``_ATTEMPTS`` broken connections. A large file on a bad line takes more.
    """
    import gdown
    import requests
    from gdown.exceptions import DownloadError, FileURLRetrievalError

    furthest = failures = 0
    while True:
        unfinished = unfinished_bytes(workspace)
        try:
            return gdown.download(
                **source,
                output=str(workspace / "file"),
                quiet=True,
                use_cookies=False,
                resume=True,
                retries=_ATTEMPTS,
                timeout=_TIMEOUT,
                progress=lambda received, total: report(received, total or 0),
            )
        except FileURLRetrievalError:  # Drive's page instead of the file: the quota, or no permission
            raise
        except (requests.RequestException, DownloadError) as error:
            failures += 1
            if _is_busy(error) and failures < _ATTEMPTS:
                time.sleep(_BUSY_PAUSE * failures)
                continue
            reached = unfinished_bytes(workspace)
            refused = not _network_error(error) and unfinished > 0  # the server does not continue this file
            if not (refused or reached > furthest):
                raise
            if not resume or not _network_error(error):
                discard_unfinished(workspace)
            furthest = max(furthest, reached)


def _network_error(error: BaseException) -> requests.RequestException | None:
    """Return the error of gdown's HTTP client behind an error, if there is one."""
    import requests

    return next((e for e in (error, error.__cause__) if isinstance(e, requests.RequestException)), None)


def _is_busy(error: Exception) -> bool:
    response = getattr(error, "response", None)
    return response is not None and (response.status_code >= 500 or response.status_code == 429)


# ---- huggingface_hub


def _fetch_from_hub(source: HuggingFaceSource, workspace: Path, report: ReportBytes) -> str:
    from huggingface_hub import hf_hub_download

    class Bar(tqdm):
        """Passes the numbers on and draws nothing."""

        def update(self, n: float | None = 1) -> bool | None:
            """Count ``n`` more bytes, report their sum and the total (0 if unknown), return tqdm's answer."""
            drawn = super().update(n)
            report(int(self.n), int(self.total or 0))
            return drawn

        def display(self, *_: object, **__: object) -> None:
            """Draw nothing."""
            pass

    return hf_hub_download(
        source.repo_id,
        source.filename,
        repo_type=source.repo_type,
        revision=source.revision,
        local_dir=workspace,
        tqdm_class=Bar,
    )


# ---- reasons


def _reason(error: Exception) -> str:
    """Return why a transfer failed, in one line."""
    import requests

    cause = _network_error(error)
    if isinstance(cause, requests.HTTPError) and cause.response is not None:
        return f"the server answered {cause.response.status_code} {cause.response.reason}"
    if isinstance(
        cause, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError
    ):
        return f"the connection failed ({type(cause).__name__})"
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
