"""Errors of the disk, and files that are whole when they have their name."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def is_full_disk(error: BaseException) -> bool:
    """Return whether an error says that the disk, or the user's quota of it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def is_disk_error(error: BaseException) -> bool:
    """Return whether an error says that a folder takes no more: it is full, read-only or another user's."""
    return is_full_disk(error) or (isinstance(error, OSError) and error.errno in _CLOSED)


def write_file(path: Path, content: bytes, *, is_lasting: bool = True) -> None:
    """Write a file.

    Args:
        path: of the file.
        content: of the file.
        is_lasting: whether the content is on the disk when this returns: some systems report a full disk
            late.

    Raises:
        OSError: it cannot be written. Nothing of it is left; a file that may not be opened stays.
    """
    opened = path.open("wb")  # not in the "try", which deletes the file
    try:
        with opened as file:
            file.write(content)
            if is_lasting:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def replace_file(path: Path, content: bytes) -> None:
    """Write a file under another name, then rename it, so that it is whole or absent.

    Args:
        path: of the file.
        content: of the file.

    Raises:
        OSError: it cannot be written; an older file stays as it was.
    """
    with _replacing(path) as part:
        write_file(part, content)


def replace_text(path: Path, write: Callable[[TextIO], None]) -> None:
    """Write a text file in UTF-8 under another name, then rename it, so that it is whole or absent.

    Args:
        path: of the file.
        write: writes the content.

    Raises:
        OSError: it cannot be written; an older file stays as it was.
    """
    with (
        _replacing(path) as part,
        part.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        write(file)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give the other name, which becomes the file's own if all goes well, and else is deleted."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
