"""Download weights: from the first source that works, verified before they get their name.

A download leaves in its folder::

    NAME            the weights; present only if they are whole and are what was announced
    NAME.json       their SHA-256, recorded when they were first seen and held against them from then on
    .NAME.lock      held while one process downloads; others wait

and, while it is unfinished, ``NAME.part`` with its neighbours, from which the next attempt goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from ovseg_demo.errors import CheckpointError, DownloadError
from ovseg_demo.models import transfers
from ovseg_demo.models.catalogue import ModelSpec
from ovseg_demo.models.weights_files import WeightsFile
from ovseg_demo.progress import ProgressCallback, no_progress

_SPARE_BYTES = 64 << 20
_HASHING_PIECE = 8 << 20


def download_model(
    spec: ModelSpec,
    folder: Path | None = None,
    *,
    roles: tuple[str, ...] | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Path]:
    """Download the required parts of a model, or those of the given roles; parts that are there are checked.

    Raises:
        DownloadError: see :func:`download`.
    """
    files = spec.required if roles is None else {role: spec.parts[role] for role in roles}
    return {role: download(file, folder, progress) for role, file in files.items()}


def download(file: WeightsFile, folder: Path | None = None, progress: ProgressCallback = no_progress) -> Path:
    """Download a weights file unless it is there already, and check it either way.

    Args:
        file: what to download.
        folder: where to keep it; by default :func:`ovseg_demo.models.weights_files.weights_folder`.
        progress: called with "Downloading NAME" and bytes, then "Checking NAME" and bytes; "Waiting for NAME"
            while another process downloads the same file. It may raise ``Cancelled``; what has come is kept.

    Returns:
        The path of the file: whole, of the announced kind, and with the announced or recorded hashes.

    Raises:
        DownloadError: no source delivered, the disk is full, or a file that is there is not what was
            announced. The message names what was tried, and how to put the file there by hand.
    """
    path = file.path(folder)
    if file.bundled:
        return _bundled(file, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(file, path, progress):
            if path.exists():
                _check_present(file, path, progress)
            else:
                _download(file, path, progress)
    except OSError as error:
        raise DownloadError(_disk_trouble(file, path, error)) from error
    return path


def _bundled(file: WeightsFile, path: Path) -> Path:
    if not path.is_file():
        raise DownloadError(
            f'"{file.name}" comes with the program, but "{path}" is not there; '
            f'restore it with "git checkout -- {file.sources[0]}".'
        )
    return path


def _download(file: WeightsFile, path: Path, progress: ProgressCallback) -> None:
    part = path.with_name(path.name + ".part")
    _require_space(file, part)

    def report(done: int, total: int) -> None:
        progress(f"Downloading {file.name}", done, max(done, total or file.size))

    failures = []
    for source in file.sources:
        try:
            transfers.fetch(source, part, report)
            sha256 = _verify(file, part, _recorded(path), progress)
        except transfers.TransferError as error:
            failures.append(f"{source}: {error}")
        except DownloadError as error:
            failures.append(f"{source}: {str(error).rstrip('.')}")
            transfers.discard(part)
        else:
            _publish(part, path, sha256, str(source))
            return
    raise DownloadError(
        f'"{file.name}" could not be downloaded ({"; ".join(failures)}). '
        f'Try again later, or fetch it with a browser from one of these places and put it at "{path}".'
    )


def _publish(part: Path, path: Path, sha256: str, source: str) -> None:
    """Give a verified file its name, in one step that an interruption cannot halve."""
    with part.open("rb") as file:
        os.fsync(file.fileno())  # the bytes reach the disk before the name does
    _record(path, part, sha256, source)
    part.replace(path)
    transfers.forget(part)


# ---- verification


def _verify(file: WeightsFile, path: Path, recorded: dict | None, progress: ProgressCallback) -> str:
    """Hold a file against everything that is known of it; give its SHA-256.

    Raises:
        DownloadError: it is something else.
    """
    try:
        from ovseg_demo.models.checkpoints import read_checkpoint  # needs torch; the page imports this module

        read_checkpoint(path, file.kind)
    except CheckpointError as error:
        raise DownloadError(str(error)) from error
    size = path.stat().st_size
    if file.size_is_exact and size != file.size:
        raise DownloadError(f"it has {size:,} bytes, but {file.size:,} were announced")
    sha256, md5 = _hashes(file, path, progress)
    _compare("SHA-256", sha256, file.sha256)
    _compare("MD5", md5, file.md5)
    if recorded:
        _compare(f'SHA-256 (recorded in "{file.name}.json")', sha256, recorded["sha256"])
    return sha256


def _compare(what: str, found: str, expected: str) -> None:
    if not found.startswith(expected):
        raise DownloadError(f"its {what} is {found}, but {expected} was expected")


def _hashes(file: WeightsFile, path: Path, progress: ProgressCallback) -> tuple[str, str]:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    total = path.stat().st_size
    with path.open("rb") as content:
        while piece := content.read(_HASHING_PIECE):
            sha256.update(piece)
            if file.md5:
                md5.update(piece)
            progress(f"Checking {file.name}", content.tell(), total)
    return sha256.hexdigest(), md5.hexdigest()


def _check_present(file: WeightsFile, path: Path, progress: ProgressCallback) -> None:
    """Check a file that is there: at a glance if nothing touched it since it was recorded, else in full."""
    recorded = _recorded(path)
    status = path.stat()
    if recorded and (recorded["size"], recorded["mtime_ns"]) == (status.st_size, status.st_mtime_ns):
        return
    try:
        sha256 = _verify(file, path, recorded, progress)
    except DownloadError as error:
        raise DownloadError(
            f'"{path}" is there, but is not the file that it should be: {str(error).rstrip(".")}. '
            f'Delete it (and "{_record_path(path).name}", if the publisher has replaced the file) and repeat.'
        ) from error
    _record(path, path, sha256, recorded["source"] if recorded else "put there by hand")


def _record(path: Path, content: Path, sha256: str, source: str) -> None:
    status = content.stat()
    record = {"sha256": sha256, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "source": source}
    temporary = _record_path(path).with_suffix(".json.part")
    temporary.write_text(json.dumps(record, indent=1) + "\n")
    temporary.replace(_record_path(path))


def _recorded(path: Path) -> dict | None:
    try:
        return json.loads(_record_path(path).read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DownloadError(f'"{_record_path(path)}" is damaged; delete it and repeat.') from error


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")


# ---- the disk


@contextmanager
def _lock(file: WeightsFile, path: Path, progress: ProgressCallback) -> Iterator[None]:
    """Let one process at a time download a file; the others wait, and may be cancelled while they do."""
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    while True:
        try:
            with lock.acquire(timeout=0.5):
                yield
            return
        except filelock.Timeout:
            progress(f"Waiting for {file.name}", 0, 1)


def _require_space(file: WeightsFile, part: Path) -> None:
    there = part.stat().st_size if part.exists() else 0
    needed = max(0, file.size - there) + _SPARE_BYTES
    free = shutil.disk_usage(part.parent).free
    if free < needed:
        raise DownloadError(
            f'"{file.name}" needs {needed / 1e9:.2f} GB more in "{part.parent}", where {free / 1e9:.2f} GB '
            "are free; free some, or set OVSEG_WEIGHTS_DIR to a folder on another disk."
        )


def _disk_trouble(file: WeightsFile, path: Path, error: OSError) -> str:
    if transfers.is_full_disk(error):
        return (
            f'The disk of "{path.parent}" is full; free some space, or set OVSEG_WEIGHTS_DIR to a folder on '
            f'another disk, and repeat: the download of "{file.name}" goes on from there.'
        )
    return f'"{file.name}" cannot be written to "{path.parent}" ({error.strerror}); check its permissions.'
