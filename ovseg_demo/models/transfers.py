"""Bring one file from one source into a ``.part`` file, going on where an earlier attempt stopped.

Nothing is verified here; that is the task of :mod:`ovseg_demo.models.downloads`.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import requests
from tqdm import tqdm

from ovseg_demo.errors import OvsegError
from ovseg_demo.models.weights_files import GoogleDriveSource, HuggingFaceSource, Source, UrlSource

ReportBytes = Callable[[int, int], None]
"""Called as ``report(bytes_there, bytes_in_all)``; the second is 0 while nobody knows it."""

_TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
_PIECE = 1 << 18  # bytes; what is lost when a connection breaks in the middle of one
_MAX_STALLS = 3
_STALL_PAUSE = 1.0


class TransferError(Exception):
    """A source did not deliver; the message says why, in a few words."""


def fetch(source: Source, part: Path, report: ReportBytes) -> None:
    """Fetch a file into ``part``, whose earlier content is continued where that is safe.

    An unfinished attempt may leave ``<part>.json`` and the folder ``<part>.d`` beside ``part``;
    :func:`discard` removes all three.

    Raises:
        TransferError: the source refused, fell no_progress or sent less than it announced.
        OSError: the disk is full or cannot be written.
        OvsegError: whatever ``report`` raises to stop.
    """
    match source:
        case UrlSource():
            _fetch_url(source.url, part, report)
        case HuggingFaceSource():
            _fetch_with_library(_fetch_from_hub, source, part, report)
        case GoogleDriveSource():
            _fetch_with_library(_fetch_from_drive, source, part, report)
        case _:
            raise TypeError(f"{source} is no source to fetch from")


def discard(part: Path) -> None:
    """Remove a partial file and all notes about it."""
    part.unlink(missing_ok=True)
    forget(part)


def forget(part: Path) -> None:
    """Remove the notes about a partial file, but not the file."""
    _notes(part).unlink(missing_ok=True)
    shutil.rmtree(_workspace(part), ignore_errors=True)


# ---- plain HTTPS


def _fetch_url(url: str, part: Path, report: ReportBytes) -> None:
    furthest = stalls = 0
    while True:
        try:
            return _fetch_rest(url, part, report)
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            reason = f"the connection failed ({type(error).__name__})"
        except _RetryableError as error:
            reason = str(error)
        except requests.RequestException as error:
            raise TransferError(_in_one_line(error)) from error
        stalls = 0 if _size(part) > furthest else stalls + 1
        furthest = max(furthest, _size(part))
        if stalls == _MAX_STALLS:
            raise TransferError(f"{reason}, {_MAX_STALLS} times in a row")
        time.sleep(_STALL_PAUSE * stalls)


class _RetryableError(Exception):
    """The server's answer gives hope for another attempt."""


def _fetch_rest(url: str, part: Path, report: ReportBytes) -> None:
    """One request: for the missing rest if what is there can be trusted, else for everything."""
    notes = _read_notes(part, url)
    there = _size(part) if notes else 0
    headers = {"Accept-Encoding": "identity"}  # offsets must count the file's own bytes
    if there:
        headers |= {"Range": f"bytes={there}-", "If-Range": notes["validator"]}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            discard(part)
            raise _RetryableError("the server has less than was fetched before")
        if response.status_code >= 500 or response.status_code == requests.codes.too_many_requests:
            raise _RetryableError(f"the server answered {response.status_code} {response.reason}")
        if not response.ok:
            raise TransferError(f"the server answered {response.status_code} {response.reason}")
        if response.status_code != requests.codes.partial_content:
            there = 0
            _write_notes(part, url, response)
        elif not _continues(response, there, notes["validator"]):
            discard(part)
            raise _RetryableError("the server sent another part than was asked for")
        _append(response, part, there, report)


def _continues(response: requests.Response, there: int, validator: str) -> bool:
    """Whether an answer goes on exactly where the partial file ends, in the same version of the file."""
    same_version = not validator.startswith('"') or response.headers.get("ETag", validator) == validator
    return same_version and response.headers.get("Content-Range", "").startswith(f"bytes {there}-")


def _append(response: requests.Response, part: Path, there: int, report: ReportBytes) -> None:
    """Write an answer's body behind the first ``there`` bytes (none of them means a new file)."""
    announced = response.headers.get("Content-Length")
    total = there + int(announced) if announced and "Content-Encoding" not in response.headers else 0
    report(there, total)
    with part.open("ab" if there else "wb") as file:
        for piece in response.iter_content(_PIECE):
            file.write(piece)
            there += len(piece)
            report(there, total)


def _write_notes(part: Path, url: str, response: requests.Response) -> None:
    """Keep what a later request needs to ask for the rest of this very version, if the server names it."""
    validator = response.headers.get("ETag", "")
    if not validator.startswith('"'):  # absent, or weak: says nothing about single bytes
        validator = response.headers.get("Last-Modified", "")
    if validator:
        _notes(part).write_text(json.dumps({"url": url, "validator": validator}))
    else:
        _notes(part).unlink(missing_ok=True)


def _read_notes(part: Path, url: str) -> dict[str, str] | None:
    try:
        notes = json.loads(_notes(part).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return notes if notes.get("url") == url else None


# ---- libraries that keep their own partial files


def _fetch_with_library(
    fetch_into: Callable[[Source, Path, ReportBytes], str], source: Source, part: Path, report: ReportBytes
) -> None:
    workspace = _workspace(part)
    workspace.mkdir(exist_ok=True)
    stopped = []

    def report_and_remember(done: int, total: int) -> None:
        try:
            report(done, total)
        except OvsegError as error:  # on its way up through the library it may be wrapped, or lost
            stopped.append(error)
            raise

    try:
        path = fetch_into(source, workspace, report_and_remember)
    except Exception as error:  # the libraries' own kinds, those of their HTTP library, and OSError
        if stopped:
            raise stopped[0] from None
        if isinstance(error, OSError) and is_full_disk(error):
            raise
        raise TransferError(_in_one_line(error)) from error
    if stopped:
        raise stopped[0]
    Path(path).replace(part)


def _fetch_from_hub(source: HuggingFaceSource, workspace: Path, report: ReportBytes) -> str:
    from huggingface_hub import hf_hub_download

    class Bar(tqdm):
        """Hands the numbers on and draws nothing."""

        def update(self, n: float | None = 1) -> bool | None:
            drawn = super().update(n)
            report(int(self.n), int(self.total or 0))
            return drawn

        def display(self, *_: object, **__: object) -> None:
            pass

    return hf_hub_download(
        source.repo_id,
        source.filename,
        repo_type=source.repo_type,
        revision=source.revision,
        local_dir=workspace,
        tqdm_class=Bar,
    )


def _fetch_from_drive(source: GoogleDriveSource, workspace: Path, report: ReportBytes) -> str:
    import gdown

    return gdown.download(
        id=source.file_id,
        output=str(workspace / "file"),
        quiet=True,
        use_cookies=False,
        resume=True,
        retries=_MAX_STALLS,
        timeout=_TIMEOUT,
        progress=lambda done, total: report(done, total or 0),
    )


# ---- small things


def is_full_disk(error: OSError) -> bool:
    """Whether an error says that the disk, or one's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _workspace(part: Path) -> Path:
    return part.with_name(part.name + ".d")
