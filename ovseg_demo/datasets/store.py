"""The folder of a data set's results: files of each image, the journal, the errors and the merged file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.job import DEFAULT_FORMATS, FOLDER, Job, Result
from ovseg_demo.datasets.journal import Journal
from ovseg_demo.datasets.merging import read_format, write_annotations
from ovseg_demo.errors import OvsegError
from ovseg_demo.export.file_set import replace_files
from ovseg_demo.export.formats import FORMATS, dataset_files
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
        image = result.line["id"]
        try:
            older = self._files_of(image)
            self.journal.remove(image)
            for line in result.details:
                self.journal.describe(line)
        except OSError as error:
            raise FullDiskError(self.folder, error) from error
        folder = self.image_folder(result.line["key"])
        try:
            files = {self.folder / name: content for name, content in result.files.items()}
            for path in files:
                path.parent.mkdir(parents=True, exist_ok=True)
            if files:
                replace_files(files)
            for name in older - set(result.files):
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise (FullDiskError if is_full_disk(error) else OutputError)(folder, error) from error
        try:
            self.journal.append(result.line)
        except OSError as error:
            raise FullDiskError(self.folder, error) from error

    def _files_of(self, image: str) -> set[str]:
        if self.journal.find(image) is None:
            return set()
        with closing(self.journal.read([image])) as lines:
            return {name for line in lines for name in line["files"]}

    def merge(self) -> int:
        """Write ``annotations.json`` from all finished images and return their number.

        Raises:
            FullDiskError: it cannot be written; an older one stays.
        """
        try:
            finished = write_annotations(self.journal, self.folder / ANNOTATIONS)
            self._write_dataset_files()
        except OSError as error:
            raise FullDiskError(self.folder, error) from error
        return finished

    def _write_dataset_files(self) -> None:
        """Write the files that a format has once for all images, such as the names of the classes."""
        used = {name for entry in self.journal.entries().values() for name in entry.formats}
        for name in (name for name in FORMATS if name in used and name not in DEFAULT_FORMATS):
            class_names, stems, names = read_format(self.journal, name)
            for file in dataset_files([name], class_names, stems):
                path = self.folder / file.name
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_files({path: file.content})
            merge = FORMATS[name].merge_dataset
            if merge is not None:
                paths = [self.folder / name for name in names]
                replace_text(self.folder / f"{name}.json", partial(merge, class_names, paths))

    def formats_of(self, item: Item, job: Job) -> tuple[str, ...]:
        """Return the formats to write of an image: those of a job, and those that it has of these settings.

        Raises:
            VocabularyError: the class names of the image cannot be used.
        """
        entry = self.journal.find(item.digest)
        if entry is None or entry.settings != job.settings_of(item)[0]:
            return job.formats
        return job.order_formats({*job.formats, *entry.formats})

    def is_finished(self, item: Item, job: Job) -> bool:
        """Return whether an image has results of a job's settings and formats, and of its present content.

        Raises:
            OvsegError: the class names or the content cannot be read.
            OSError: the content cannot be read.
        """
        entry = self.journal.find(item.digest)
        if entry is None or not set(job.formats) <= set(entry.formats):
            return False
        if entry.settings != job.settings_of(item)[0]:
            return False
        is_there = all((self.folder / name).is_file() for name in job.fixed_files(entry.key))
        return is_there and entry.sha256 == item.hash_content()

    def close(self) -> None:
        """Let other processes write."""
        self.journal.close()

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
