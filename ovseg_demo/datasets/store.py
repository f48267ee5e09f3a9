"""The folder of a data set's results: files of each image, the journal, the errors and the merged file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.job import Result
from ovseg_demo.datasets.journal import Journal
from ovseg_demo.datasets.merging import FOLDER, write_annotations
from ovseg_demo.errors import OvsegError
from ovseg_demo.export.file_set import replace_files
from ovseg_demo.runtime.disk import is_full_disk, replace_text

ANNOTATIONS, ERRORS, RECORDS = "annotations.json", "errors.jsonl", "records"
"""Names in the folder: the merged file, the errors of the last run, and the folder of the journal."""


class OutputError(OvsegError):
    """The results of one image cannot be written."""

    def __init__(self, folder: Path, error: OSError):
        reason = error.strerror or error
        super().__init__(
            f'"{folder}" cannot be written to ({reason}); free space, change its permissions, or name '
            "another folder with --output."
        )


class FullDiskError(OvsegError):
    """Nothing can be written any more."""

    def __init__(self, folder: Path, error: OSError):
        reason = error.strerror or error
        super().__init__(
            f'The results no longer fit into "{folder}" ({reason}); free space there, and the same command '
            "continues."
        )


class ResultStore:
    """The results of a data set; a context manager. One process at a time can open it.

    Args:
        folder: made where it is missing.

    Attributes:
        journal: the finished images.

    Raises:
        OvsegError: the folder cannot be written to, another process writes to it, or a record is damaged.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.journal = Journal(folder / RECORDS)
        except OSError as error:
            raise OutputError(folder, error) from error

    def image_folder(self, key: str) -> Path:
        """Return the folder of an image's files."""
        return self.folder / FOLDER / key

    def clear_errors(self) -> None:
        """Forget the errors of an earlier run: each run tries again what failed.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            replace_text(self.folder / ERRORS, lambda file: None)
        except OSError as error:
            raise OutputError(self.folder, error) from error

    def add_error(self, line: Mapping[str, Any]) -> None:
        """Append a line to ``errors.jsonl``.

        Raises:
            FullDiskError: it cannot be written.
        """
        content = json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            with (self.folder / ERRORS).open("ab") as file:
                file.write(content)
        except OSError as error:
            raise FullDiskError(self.folder, error) from error

    def save(self, result: Result) -> None:
        """Write an image's files, then its line of the journal. Older results of the image are replaced.

        An image is finished when its line is written. Whatever is cut earlier is done again: before older
        files are replaced, their line is removed.

        Raises:
            OutputError: the image's files cannot be written; older ones stay.
            FullDiskError: the disk is full, or the journal cannot be written to.
        """
        older = self.journal.find(result.line["id"])
        try:
            self.journal.remove(result.line["id"])
            self.journal.add_settings(result.settings)
        except OSError as error:
            raise FullDiskError(self.folder, error) from error
        folder = self.image_folder(result.line["key"])
        try:
            if result.files:
                folder.mkdir(parents=True, exist_ok=True)
                replace_files({folder / name: content for name, content in result.files.items()})
        except OSError as error:
            raise (FullDiskError if is_full_disk(error) else OutputError)(folder, error) from error
        try:
            self.journal.append(result.line)
        except OSError as error:
            raise FullDiskError(self.folder, error) from error
        if older is not None and older.key != result.line["key"]:
            shutil.rmtree(self.image_folder(older.key), ignore_errors=True)

    def merge(self) -> int:
        """Write ``annotations.json`` from all finished images and return their number.

        Raises:
            FullDiskError: it cannot be written; an older one stays.
        """
        try:
            return write_annotations(self.journal, self.folder / ANNOTATIONS)
        except OSError as error:
            raise FullDiskError(self.folder, error) from error

    def is_finished(self, item: Item, settings: str, files: tuple[str, ...]) -> bool:
        """Return whether an image has results of these settings and of its present content.

        Raises:
            ImageError: the content cannot be read.
            OSError: the content cannot be read.
        """
        entry = self.journal.find(item.digest)
        if entry is None or entry.settings != settings or not set(files) <= set(entry.files):
            return False
        folder = self.image_folder(entry.key)
        return all((folder / name).is_file() for name in files) and entry.sha256 == item.hash_content()

    def close(self) -> None:
        """Let other processes write."""
        self.journal.close()

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
