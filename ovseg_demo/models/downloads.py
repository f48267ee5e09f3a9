"""Download weights: from the first source that works, verified before they get their name.

A download leaves in its folder::

    NAME            the weights; present only if they are whole and verified
    NAME.json       their SHA-256, recorded at the first download; later files of this name must match it
    .NAME.lock      locked while one process downloads; other processes wait

and, until it is complete, the folder ``NAME.part.d`` with the bytes that have arrived.
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
from ovseg_demo.models.kinds import CheckpointKind
from ovseg_demo.models.weights_files import Source, WeightsFile
from ovseg_demo.progress import ProgressCallback, no_progress
from ovseg_demo.runtime.disk import is_full_disk

_SPARE_BYTES = 64 << 20
_HASHING_PIECE = 8 << 20


def download_model(
    spec: ModelSpec,
    folder: Path | None = None,
    *,
    roles: tuple[str, ...] | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Path]:
    """Download the required parts of a model, or those of the given roles; present files are checked.

    Raises:
        DownloadError: see :func:`download`.
    """
    files = spec.required if roles is None else {role: spec.parts[role] for role in roles}
    return {role: download(file, folder, progress) for role, file in files.items()}


def download(file: WeightsFile, folder: Path | None = None, progress: ProgressCallback = no_progress) -> Path:
    """Download a weights file unless it is there already, and check it either way.

    Args:
        file: what to download.
        folder: of the file; by default :func:`ovseg_demo.models.weights_files.weights_folder`.
        progress: called with "Downloading NAME" and bytes, then "Checking NAME" and bytes; "Waiting for NAME"
            while another process downloads the same file. It may raise ``Cancelled``; gdown's unfinished file
            is kept and continued later, if the file's hash is known.

    Returns:
        The path of the file: whole, of the catalogue's kind, and with the known or recorded hashes.

    Raises:
        DownloadError: no source delivered the file, the disk is full, or a present file is another than the
            catalogue's. The message names each source and its failure, and where to put the file by hand.
    """
    if file.tokenizer is not None:
        download(file.tokenizer, folder, progress)
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
            f'"{file.name}" comes with the program, but "{path}" is missing; '
            f'restore it with "git checkout -- {file.sources[0]}".'
        )
    return path


def _download(file: WeightsFile, path: Path, progress: ProgressCallback) -> None:
    workspace = _workspace(path)
    recorded = _recorded(path)
    _require_space(file, workspace)
    failures = []
    for source in file.sources:
        try:
            arrived, sha256 = _fetch_and_verify(file, source, workspace, recorded, progress)
        except transfers.TransferError as error:
            failures.append(f"{source}: {error}")
        except DownloadError as error:
            failures.append(f"{source}: {str(error).rstrip('.')}")
        else:
            _publish(arrived, path, sha256, str(source))
            shutil.rmtree(workspace, ignore_errors=True)
            return
    raise DownloadError(
        f'"{file.name}" could not be downloaded ({"; ".join(failures)}). '
        f'Try again later, or fetch it with a browser from one of these places and put it at "{path}".'
    )


def _fetch_and_verify(
    file: WeightsFile, source: Source, workspace: Path, recorded: dict | None, progress: ProgressCallback
) -> tuple[Path, str]:
    """Return the path and the SHA-256 of a verified file, which was fetched from one source.

    An unfinished file of an earlier attempt is continued if a hash tells whether the result is right. If it
    is wrong, the file is fetched once more from its start.
    """
    resumed = bool(transfers.unfinished_bytes(workspace))
    resume = bool(file.sha256 or file.md5 or recorded)

    def report(received: int, total: int) -> None:
        progress(f"Downloading {file.name}", received, max(received, total or file.size))

    arrived = transfers.fetch(source, workspace, report, resume=resume)
    try:
        return arrived, _verify(file, arrived, recorded, progress)
    except DownloadError:
        transfers.discard_unfinished(workspace)
        if not (resume and resumed):
            raise
    return _fetch_and_verify(file, source, workspace, recorded, progress)


def _publish(arrived: Path, path: Path, sha256: str, source: str) -> None:
    """Give a verified file its name by renaming, which an interruption cannot leave half done."""
    with arrived.open("rb") as file:
        os.fsync(file.fileno())  # the bytes reach the disk before the name does
    _record(path, arrived, sha256, source)
    arrived.replace(path)


# ---- verification


def _verify(file: WeightsFile, path: Path, recorded: dict | None, progress: ProgressCallback) -> str:
    """Compare a file with its catalogue entry and its record; return its SHA-256.

    Raises:
        DownloadError: the file differs.
    """
    if file.kind is CheckpointKind.TOKENIZER:
        _check_tokenizer(path)
    else:
        _check_weights(file, path)
    size = path.stat().st_size
    if file.size_is_exact and size != file.size:
        raise DownloadError(f"it has {size:,} bytes, but {file.size:,} were expected")
    sha256, md5 = _hashes(file, path, progress)
    _compare("SHA-256", sha256, file.sha256)
    _compare("MD5", md5, file.md5)
    if recorded:
        _compare(f'SHA-256 (recorded in "{file.name}.json")', sha256, recorded["sha256"])
    return sha256


def _check_weights(file: WeightsFile, path: Path) -> None:
    try:
        from ovseg_demo.models.checkpoints import read_checkpoint  # needs torch; the page imports this module

        read_checkpoint(path, file.kind)
    except CheckpointError as error:
        raise DownloadError(str(error)) from error


def _check_tokenizer(path: Path) -> None:
    try:
        is_tokenizer = "model" in json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        is_tokenizer = False
    if not is_tokenizer:
        raise DownloadError(f'"{path}" is not a tokenizer')


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
    """Check a present file: by size and time if they are as recorded, else by its content."""
    recorded = _recorded(path)
    status = path.stat()
    if recorded and (recorded["size"], recorded["mtime_ns"]) == (status.st_size, status.st_mtime_ns):
        return
    try:
        sha256 = _verify(file, path, recorded, progress)
    except DownloadError as error:
        raise DownloadError(
            f'"{path}" is not the file that the catalogue describes: {str(error).rstrip(".")}. '
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
    """Let one process at a time download a file; the others wait, and can be cancelled meanwhile."""
    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    while True:
        try:
            with lock.acquire(timeout=0.5):
                yield
            return
        except filelock.Timeout:
            progress(f"Waiting for {file.name}", 0, 1)


def _workspace(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.d")


def _require_space(file: WeightsFile, workspace: Path) -> None:
    needed = max(0, file.size - transfers.unfinished_bytes(workspace)) + _SPARE_BYTES
    free = shutil.disk_usage(workspace.parent).free
    if free < needed:
        raise DownloadError(
            f'"{file.name}" needs {needed / 1e9:.2f} GB more in "{workspace.parent}", where '
            f"{free / 1e9:.2f} GB are free; free some, or set OVSEG_WEIGHTS_DIR to a folder on another disk."
        )


def _disk_trouble(file: WeightsFile, path: Path, error: OSError) -> str:
    if is_full_disk(error):
        return (
            f'The disk of "{path.parent}" is full; free some space, or set OVSEG_WEIGHTS_DIR to a folder on '
            f'another disk, and repeat: the download of "{file.name}" goes on from there.'
        )
    return f'"{file.name}" cannot be written to "{path.parent}" ({error.strerror}); check its permissions.'
