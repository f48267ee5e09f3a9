"""The folder of what visitors upload and get: one for each running page, bounded, and deleted at its end."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
from gradio.utils import get_upload_folder

from ovseg_demo.errors import ServerError
from ovseg_demo.runtime.disk import write_file

QUOTA = 2 * 2**30
"""Bytes that all visitors' files of one page may take."""

_NAME = "ovseg-demo"
_VARIABLE = "GRADIO_TEMP_DIR"  # Gradio reads it when a page is made
_MARGIN = 0.1  # of the quota, which is freed at once


class VisitorFiles:
    """The files of one page's visitors.

    Args:
        folder: theirs alone.
        quota: bytes that they may take.
    """

    def __init__(self, folder: Path, quota: int = QUOTA):
        self.folder = folder
        self._quota = quota
        self._most = 0  # an upper bound of what is there
        self._lock = threading.Lock()

    def make_room(self, size: int) -> None:
        """Note that so many bytes are to come; where they exceed the quota, delete the oldest files.

        A visitor whose image is deleted keeps its map, and can bring the image again.
        """
        with self._lock:
            self._most += size
            if self._most > self._quota:
                self._most = size + self._shrink((1 - _MARGIN) * self._quota - size)

    def delete_unfinished(self) -> None:
        """Delete what failed uploads have left; no upload may be under way.

        Gradio writes an upload beside the folders of whole files, and moves it there.
        """
        for path in self.folder.iterdir():
            with suppress(OSError):
                if path.is_file():
                    path.unlink()

    def _shrink(self, target: float) -> int:
        """Delete the oldest files until the others take so many bytes; return how many they take."""
        files = sorted(_files_in(self.folder))
        used = sum(nbytes for _, nbytes, _ in files)
        for _, nbytes, path in files:
            if used <= target:
                break
            with suppress(OSError):
                path.unlink()
                used -= nbytes
        return used


def store(content: bytes, name: str, folder: Path) -> Path:
    """Write a file that Gradio serves, and return its path, which nobody else can guess.

    Raises:
        OSError: it cannot be written; nothing of it is left.
    """
    place = folder.resolve() / secrets.token_hex(20)
    place.mkdir(parents=True)
    try:
        write_file(place / name, content, is_lasting=False)
    except OSError:
        place.rmdir()
        raise
    return place / name


@contextmanager
def visitor_files(quota: int = QUOTA) -> Iterator[VisitorFiles]:
    """Give the page that is made meanwhile a folder of its own, and delete it at the end.

    At the start, folders are deleted whose page has ended without doing so. A lock tells them from those of
    pages that run: the operating system releases it however a process ends.

    Raises:
        ServerError: the folder cannot be made.
    """
    before = os.environ.get(_VARIABLE)
    base = Path(get_upload_folder()) / _NAME
    try:
        base.mkdir(parents=True, exist_ok=True)
        _sweep(base)
        folder = base / f"{os.getpid()}-{secrets.token_hex(4)}"
        lock = filelock.FileLock(_lock_of(folder))
        lock.acquire()  # before the folder is there for others to delete
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ServerError(
            f'Visitors\' files cannot be stored in "{base}" ({error.strerror}); set {_VARIABLE} to a folder '
            "that can be written to."
        ) from error
    os.environ[_VARIABLE] = str(folder)
    try:
        yield VisitorFiles(folder, quota)
    finally:
        _restore(before)
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        _lock_of(folder).unlink(missing_ok=True)


def _sweep(base: Path) -> None:
    """Delete the folders whose page has ended."""
    for folder in [path for path in base.iterdir() if path.is_dir()]:
        lock = filelock.FileLock(_lock_of(folder))
        with suppress(filelock.Timeout, OSError):
            lock.acquire(timeout=0)
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()
            _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = before


def _files_in(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Yield the last change, the size and the path of each file."""
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                status = path.stat()
                yield status.st_mtime, status.st_size, path
