"""Hashes of files by their content, each computed once while the file stays as it is."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes: 64 hexadecimal digits.

    A process reads a file again only when its size or its time of change differs.

    Raises:
        OSError: the file cannot be read.
    """
    status = path.stat()
    return _compute(path.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _compute(path: Path, size: int, changed: int) -> str:
    """Return the digest of a file; its size in bytes and time of change in ns tell its versions apart."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
