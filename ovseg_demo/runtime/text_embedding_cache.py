"""Text embeddings of the shipped class lists, kept on disk between runs.

Every run asks for the same long lists: the data sets' classes, the distractors of COCO-Stuff. A list is
written when all of its names are asked for together. What visitors type is never written. A file's name is a
hash of everything that its content depends on, so no file is ever out of date. A damaged file is computed and
written again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ovseg_demo.runtime.resources import cache_folder

MAX_BYTES = 64 * 2**20
_SUFFIX = ".safetensors"
_logger = logging.getLogger(__name__)


class TextEmbeddingCache:
    """A folder with one file for each list of names and each text tower; processes may share it.

    Args:
        lists: returns the lists of names that may be written.
        folder: holds the files; it is made when it is needed. By default :func:`cache_folder`.
        max_bytes: limit of all files together; the least recently read are deleted first.
    """

    def __init__(
        self,
        lists: Callable[[], Iterable[frozenset[str]]],
        folder: Path | None = None,
        max_bytes: int = MAX_BYTES,
    ):
        self._lists = lists
        self._folder = folder or cache_folder()
        self._max_bytes = max_bytes

    def read(self, key: str, names: Collection[str], missing: Collection[str]) -> dict[str, np.ndarray]:
        """Return the embeddings, float32 (D,), of the lists that ``names`` contains and that are on disk.

        Args:
            key: hash of what embeddings depend on besides the name.
            names: all names that are asked for.
            missing: the names without an embedding; a list without any of them is not read.
        """
        found: dict[str, np.ndarray] = {}
        for wanted in self._contained(names):
            if not wanted.isdisjoint(missing):
                found |= _read(self._path(key, wanted), wanted)
        return found

    def write(self, key: str, embeddings: Mapping[str, np.ndarray]) -> None:
        """Write every list that ``embeddings`` contains and that is not on disk.

        Where the folder cannot be written, a warning is logged: results do not depend on it.
        """
        try:
            for wanted in self._contained(embeddings):
                path = self._path(key, wanted)
                if not _read(path, wanted):
                    _write(path, {name: embeddings[name] for name in sorted(wanted)})
                    self._delete_oldest()
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            _logger.warning('Text embeddings cannot be kept in "%s": %s.', self._folder, reason)

    def _contained(self, names: Collection[str]) -> list[frozenset[str]]:
        given = frozenset(names)
        return [wanted for wanted in self._lists() if wanted <= given]

    def _path(self, key: str, wanted: frozenset[str]) -> Path:
        content = json.dumps([key, sorted(wanted)])
        return self._folder / f"{hashlib.sha256(content.encode()).hexdigest()}{_SUFFIX}"

    def _delete_oldest(self) -> None:
        newest_first = sorted(
            ((path.stat(), path) for path in self._folder.glob(f"*{_SUFFIX}")),
            key=lambda entry: entry[0].st_mtime,
            reverse=True,
        )
        total = 0
        for status, path in newest_first:
            total += status.st_size
            if total > self._max_bytes:
                path.unlink(missing_ok=True)


def _read(path: Path, wanted: frozenset[str]) -> dict[str, np.ndarray]:
    """Return the embeddings in a file; none if the file is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            embeddings = file.get_tensor("embeddings")
    except (OSError, SafetensorError):
        return {}
    with suppress(OSError):  # the folder may be read-only or another user's
        os.utime(path)  # files that were read recently are kept
    lengths = np.linalg.norm(embeddings, axis=-1)
    is_whole = np.all((lengths > 0) & (lengths < 1 + 1e-3))  # the mean of unit vectors is at most 1 long
    if embeddings.ndim != 2 or len(embeddings) != len(wanted) or not is_whole:
        return {}
    return {name: row.copy() for name, row in zip(sorted(wanted), embeddings, strict=True)}


def _write(path: Path, embeddings: Mapping[str, np.ndarray]) -> None:
    """Write a file under another name and rename it, so that no process reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(descriptor)
    try:
        save_file({"embeddings": np.stack(list(embeddings.values()))}, part)
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
