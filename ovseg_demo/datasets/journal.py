"""The journal of a data set: a JSON line for each finished image, from which a later run continues.

The lines lie in shards of a fixed number. A line counts when it is whole: the torn line of a process that was
killed is cut off when the journal is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from ovseg_demo.errors import OvsegError

LINES_IN_SHARD = 1000

_SHARD = "part-{:06d}.jsonl"
_DETAILS = "details.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a run needs to know of a finished image.

    Attributes:
        sha256: of its content.
        settings: the id of its settings.
        classes: the id of its classes.
        key: the folder of its results.
        formats: in which it was written.
        shard, offset: where its line is.
    """

    sha256: str
    settings: str
    classes: str
    key: str
    formats: tuple[str, ...]
    shard: int
    offset: int


class Journal:
    """The finished images of a data set by id; a context manager that lets one process write at a time.

    Args:
        folder: of the journal's files; it is made where it is missing.

    Attributes:
        details: for each id of settings or classes, the line that describes them.
        stems: for each name of files in the folders for all images, without regard to case, the image's id.

    Raises:
        OvsegError: another process writes to the journal, or a line of it is damaged.
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._entries: dict[str, Entry] = {}
        self._shard, self._lines = 0, 0
        self.details: dict[str, dict[str, Any]] = {}
        self.stems: dict[str, str] = {}
        self._left: dict[str, list[str]] = {}  # files of removed images
        self._shared: dict[Any, Any] = {}  # equal values of many entries are kept once
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise OvsegError(
                f'Another run writes to "{folder.parent}"; wait for its end, or name another --output.'
            ) from error
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, image: str) -> Entry | None:
        """Return the entry of an image's id, or ``None``."""
        return self._entries.get(image)

    def describe(self, line: Mapping[str, Any]) -> None:
        """Append the description of settings or classes, to whose "id" images refer, unless it is known."""
        if line["id"] not in self.details:
            _append(self._folder / _DETAILS, line)
            self.details[line["id"]] = dict(line)

    def append(self, line: Mapping[str, Any]) -> None:
        """Append the line of a finished image; a newer line of an "id" counts.

        When this returns, the line is on the disk.

        Raises:
            OSError: it cannot be written; no part of it is left.
        """
        self._add(line, self._write(line))

    def files_of(self, image: str) -> set[str]:
        """Return the files of an image; of a removed one, those that may be left of it."""
        if image not in self._entries:
            return set(self._left.get(image, ()))
        with closing(self.read([image])) as lines:
            return {name for line in lines for name in line["files"]}

    def remove(self, image: str, files: Iterable[str]) -> None:
        """Forget an image, before its files are replaced.

        Args:
            image: its id.
            files: all that may be left if the process is killed before the image's next line is written.

        Raises:
            OSError: the line cannot be written; no part of it is left.
        """
        line = {"id": image, "removed": True, "files": sorted(files)}
        self._add(line, self._write(line))

    def lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the id and the line of each image, in no particular order."""
        for shard, path in self._shards():
            with path.open("rb") as file:
                for offset, line in _read_lines(file):
                    entry = self._entries.get(line["id"])
                    if entry is not None and (entry.shard, entry.offset) == (shard, offset):
                        yield line["id"], line

    def entries(self) -> Mapping[str, Entry]:
        """Return the entry of each image by its id."""
        return self._entries

    def read(self, images: list[str]) -> Iterator[dict[str, Any]]:
        """Yield the lines of images in the given order."""
        files: dict[int, BinaryIO] = {}
        try:
            for image in images:
                entry = self._entries[image]
                if entry.shard not in files:
                    if len(files) >= 64:  # open files
                        files.pop(next(iter(files))).close()
                    files[entry.shard] = self._path(entry.shard).open("rb")
                files[entry.shard].seek(entry.offset)
                yield json.loads(files[entry.shard].readline())
        finally:
            for file in files.values():
                file.close()

    def close(self) -> None:
        """Let other processes write."""
        self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _path(self, shard: int) -> Path:
        return self._folder / _SHARD.format(shard)

    def _shards(self) -> Iterator[tuple[int, Path]]:
        shard = 0
        while (path := self._path(shard)).exists():
            yield shard, path
            shard += 1

    def _read(self) -> None:
        details = self._folder / _DETAILS
        if details.exists():
            _cut_torn_line(details)
            with details.open("rb") as file:
                for offset, line in _read_lines(file):
                    try:
                        self.details[line["id"]] = line
                    except (KeyError, TypeError) as error:
                        raise _damaged(details, offset, error) from error
        for shard, path in self._shards():
            _cut_torn_line(path)
            self._shard, self._lines = shard, 0
            with path.open("rb") as file:
                for offset, line in _read_lines(file):
                    self._lines += 1
                    try:
                        self._add(line, offset)
                    except (KeyError, TypeError, AttributeError) as error:
                        raise _damaged(path, offset, error) from error

    def _write(self, line: Mapping[str, Any]) -> int:
        """Append a line and return its offset."""
        if self._lines >= LINES_IN_SHARD:
            self._shard, self._lines = self._shard + 1, 0
        offset = _append(self._path(self._shard), line)
        self._lines += 1
        return offset

    def _add(self, line: Mapping[str, Any], offset: int) -> None:
        if line.get("removed"):
            self._entries.pop(line["id"], None)
            self._left[line["id"]] = list(line.get("files", ()))  # lines of older versions have none
            return
        self._left.pop(line["id"], None)
        settings, classes, formats = line["settings"], line["classes"], tuple(line["formats"])
        if line["stem"] != line["key"]:  # a key belongs to one image in any case
            self.stems[line["stem"].casefold()] = line["id"]
        self._entries[line["id"]] = Entry(
            sha256=line["sha256"],
            settings=self._shared.setdefault(settings, settings),
            classes=self._shared.setdefault(classes, classes),
            key=line["key"],
            formats=self._shared.setdefault(formats, formats),
            shard=self._shard,
            offset=offset,
        )


def _append(path: Path, line: Mapping[str, Any]) -> int:
    """Append a line of JSON to a file and return its offset.

    Raises:
        OSError: it cannot be written; no part of it is left.
    """
    content = json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    content = content.encode("utf-8", "backslashreplace") + b"\n"  # names of files may be no text
    with path.open("ab", buffering=0) as file:
        offset = file.tell()
        try:
            written = 0
            while written < len(content):
                written += file.write(content[written:])
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(offset)
            raise
    return offset


def _read_lines(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the offset and the content of each line."""
    offset = 0
    for line in file:
        try:
            yield offset, json.loads(line)
        except ValueError as error:
            raise _damaged(Path(file.name), offset, error) from error
        offset += len(line)


def _damaged(path: Path, offset: int, error: Exception) -> OvsegError:
    return OvsegError(
        f'"{path}", a record of finished images, is damaged ({type(error).__name__}: {error}); delete its '
        f"line at byte {offset}, or name another --output."
    )


def _cut_torn_line(path: Path) -> None:
    """Cut off what follows the last line break: a process was killed while it wrote the line."""
    with path.open("r+b") as file:
        position = file.seek(0, os.SEEK_END)
        end = 0
        while position > 0 and not end:
            start = max(0, position - 2**16)
            file.seek(start)
            end = start + file.read(position - start).rfind(b"\n") + 1
            if end == start:  # none in this block
                end = 0
            position = start
        file.truncate(end)
