"""Text embeddings of the class lists that come with the program, kept on disk between runs.

Whoever starts the program anew asks for the same long lists again: the data sets' classes, the distractors of
COCO-Stuff. A list is written when all of its names are asked for together, and only then: what visitors type
is never written. Files are named after a hash of everything that their content depends on, so that none is
ever out of date; a damaged one is computed and written again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ovseg_demo.runtime.resources import cache_folder

MAX_BYTES = 64 * 2**20
_SUFFIX = ".safetensors"
_logger = logging.getLogger(__name__)


class TextEmbeddingCache:
    """One file for each list of names and each text tower; several processes may share the folder.

    Args:
        lists: gives the lists of names that may be written.
        folder: of the files; made when it is needed. By default :func:`cache_folder`.
        max_bytes: what the files may take together; those that were not read for longest make room.
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
        """The embeddings, float32 (D,), of lists that are contained in ``names`` and on disk.

        Args:
            key: hash of what embeddings depend on besides the name.
            names: all that are asked for.
            missing: those of them that are not known yet; lists without any of these are not read.
        """
        found: dict[str, np.ndarray] = {}
        for wanted in self._contained(names):
            if not wanted.isdisjoint(missing):
                found |= _read(self._path(key, wanted), wanted)
        return found

    def write(self, key: str, embeddings: Mapping[str, np.ndarray]) -> None:
        """Keep all lists that are contained in ``embeddings`` and not on disk yet.

        A disk that cannot be written to is warned of, and nothing more: results do not depend on it.
        """
        try:
            for wanted in self._contained(embeddings):
                path = self._path(key, wanted)
                if not _read(path, wanted):
                    _write(path, {name: embeddings[name] for name in sorted(wanted)})
                    self._make_room()
        except OSError as error:
            _logger.warning('Text embeddings cannot be kept in "%s": %s.', self._folder, error.strerror)

    def _contained(self, names: Collection[str]) -> list[frozenset[str]]:
        given = frozenset(names)
        return [wanted for wanted in self._lists() if wanted <= given]

    def _path(self, key: str, wanted: frozenset[str]) -> Path:
        content = json.dumps([key, sorted(wanted)])
        return self._folder / f"{hashlib.sha256(content.encode()).hexdigest()}{_SUFFIX}"

    def _make_room(self) -> None:
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
    """The embeddings in a file; none where there is no file, or a damaged one."""
    try:
        with safe_open(path, framework="numpy") as file:
            embeddings = file.get_tensor("embeddings")
        os.utime(path)  # it was of use
    except (OSError, SafetensorError):
        return {}
    lengths = np.linalg.norm(embeddings, axis=-1)
    if embeddings.ndim != 2 or len(embeddings) != len(wanted) or not np.allclose(lengths, 1, atol=1e-3):
        return {}
    return {name: row.copy() for name, row in zip(sorted(wanted), embeddings, strict=True)}


def _write(path: Path, embeddings: Mapping[str, np.ndarray]) -> None:
    """Write a file under another name first: nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(descriptor)
    try:
        save_file({"embeddings": np.stack(list(embeddings.values()))}, part)
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
