"""The results of a data set: files of each image, the journal, the errors and the merged file."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from ovseg_demo.datasets.folders import RECORDS, open_folder
from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.job import DEFAULT_FORMATS, FOLDER, Job, Result
from ovseg_demo.datasets.journal import Journal
from ovseg_demo.datasets.merging import read_format, write_annotations
from ovseg_demo.datasets.remote import RemotePath
from ovseg_demo.errors import OvsegError
from ovseg_demo.export.formats import FORMATS, dataset_files
from ovseg_demo.runtime.disk import is_full_disk, replace_text

ANNOTATIONS, ERRORS = "annotations.json", "errors.jsonl"
"""Names in the folder: the merged file, and the errors of the last run."""


class _FolderError(OvsegError):
    """A folder of results cannot be written to; the sentence has the folder and the system's reason."""

    sentence: ClassVar[str]

    def __init__(self, folder: str | Path, error: OSError):
        super().__init__(self.sentence.format(folder=folder, reason=error.strerror or error))


class OutputError(_FolderError):
    """The results of one image cannot be written."""

    sentence = (
        '"{folder}" cannot be written to ({reason}); free space, change its permissions, or name another '
        "folder with --output."
    )


class FullDiskError(_FolderError):
    """Nothing can be written any more: the disk is full."""

    sentence = (
        'The results no longer fit into "{folder}" ({reason}); free space there, and the same command '
        "continues."
    )


class RecordError(_FolderError):
    """What is finished and what failed can no longer be recorded, though the disk is not full."""

    sentence = (
        'The results can no longer be recorded in "{folder}" ({reason}); make it writable, and the same '
        "command continues."
    )


class MissingFileError(OvsegError):
    """A file of a finished image was deleted."""

    def __init__(self, path: str | Path):
        super().__init__(
            f'"{path}", a result of a finished image, is missing; segment its image again with the same '
            "--output, which makes the file again."
        )


class ResultStore:
    """The results of a data set; a context manager. One process at a time can open it.

    (In an object store nothing keeps a second process out.)

    Args:
        folder: made where it is missing.

    Attributes:
        journal: the finished images.

    Raises:
        OvsegError: the folder cannot be written to, another process writes to it, or a record is damaged.
    """

    def __init__(self, folder: Path | RemotePath):
        try:
            with ExitStack() as stack:
                self._folder = open_folder(folder)
                stack.callback(self._folder.close)
                self._here = self._folder.here
                self._here.mkdir(parents=True, exist_ok=True)
                self.journal = Journal(self._here / RECORDS)
                stack.pop_all()
        except OSError as error:
            raise OutputError(str(folder), error) from error

    @property
    def address(self) -> str:
        """Where the results are, for people."""
        return self._folder.address_of()

    @property
    def annotations(self) -> str:
        """Where the merged file is, for people."""
        return self._folder.address_of(ANNOTATIONS)

    def image_folder(self, key: str) -> str:
        """Return where an image's files are, for people."""
        return self._folder.address_of(f"{FOLDER}/{key}")

    def clear_errors(self) -> None:
        """Forget the errors of an earlier run: each run tries again what failed.

        Raises:
            OutputError: the file cannot be written.
            RemoteError: the object store cannot be written to.
        """
        try:
            replace_text(self._here / ERRORS, lambda file: None)
        except OSError as error:
            raise OutputError(self.address, error) from error
        self._folder.publish(ERRORS)

    def add_error(self, line: Mapping[str, Any]) -> None:
        """Append a line to ``errors.jsonl``.

        Raises:
            FullDiskError: the disk is full.
            RecordError: it cannot be written for another reason.
        """
        content = json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            with (self._here / ERRORS).open("ab") as file:
                file.write(content)
        except OSError as error:
            raise self._no_record(error) from error

    def save(self, result: Result) -> None:
        """Write an image's files, then its line of the journal. Older results of the image are replaced.

        An image is finished when its line is written. Whatever is cut earlier is done again: before older
        files are replaced, their line is removed. The journal then lists the files, so that those that are
        not replaced are deleted, also after a cut.

        Raises:
            OutputError: the image's files cannot be written; older ones stay.
            FullDiskError: the disk is full.
            RecordError: the journal cannot be written to for another reason.
            RemoteError: the object store cannot be written to.
        """
        image = result.line["id"]
        try:
            older = self.journal.files_of(image)
            if older:
                self.journal.remove(image, older | set(result.files))
            for line in result.details:
                self.journal.describe(line)
            if older:
                self._folder.publish_records(now=True)
        except OSError as error:
            raise self._no_record(error) from error
        try:
            self._folder.replace(result.files)
            for name in older - set(result.files):
                self._folder.delete(name)
        except OSError as error:
            kind = FullDiskError if is_full_disk(error) else OutputError
            raise kind(self.image_folder(result.line["key"]), error) from error
        try:
            self.journal.append(result.line)
        except OSError as error:
            raise self._no_record(error) from error
        self._folder.publish_records(now=False)

    def _no_record(self, error: OSError) -> FullDiskError | RecordError:
        is_full = is_full_disk(error) or error.errno == errno.EFBIG  # some systems limit a file's size
        return (FullDiskError if is_full else RecordError)(self._here, error)

    def merge(self) -> int:
        """Write ``annotations.json`` from all finished images and return their number.

        Raises:
            FullDiskError: the disk is full; an older one stays.
            MissingFileError: an image's file that is read for it was deleted.
            OutputError: it cannot be written for another reason; an older one stays.
            RemoteError: the object store cannot be written to.
        """
        try:
            finished = write_annotations(self.journal, self._here / ANNOTATIONS)
            self._folder.publish(ANNOTATIONS)
            self._write_dataset_files()
        except FileNotFoundError as error:
            raise MissingFileError(error.filename) from error
        except OSError as error:
            kind = FullDiskError if is_full_disk(error) else OutputError
            raise kind(self.address, error) from error
        return finished

    def _write_dataset_files(self) -> None:
        """Write the files that a format has once for all images, such as the names of the classes."""
        used = {name for entry in self.journal.entries().values() for name in entry.formats}
        for name in (name for name in FORMATS if name in used and name not in DEFAULT_FORMATS):
            class_names, stems, names = read_format(self.journal, name)
            for file in dataset_files([name], class_names, stems):
                self._folder.replace({file.name: file.content})
            merge = FORMATS[name].merge_dataset
            if merge is not None:
                merged, paths = f"{name}.json", self._folder.fetch(names)
                replace_text(self._here / merged, partial(merge, class_names, paths))
                self._folder.publish(merged)

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

        All files of the image must be there, also those of formats that the job does not have: merging reads
        them.

        Raises:
            OvsegError: the class names or the content cannot be read.
            OSError: the content cannot be read.
        """
        entry = self.journal.find(item.digest)
        if entry is None or not set(job.formats) <= set(entry.formats):
            return False
        if entry.settings != job.settings_of(item)[0]:
            return False
        files = sorted(self.journal.files_of(item.digest))
        return self._folder.have(files) and entry.sha256 == item.hash_content()

    def close(self) -> None:
        """Let other processes write.

        Raises:
            RemoteError: the object store cannot be written to.
        """
        self.journal.close()
        try:
            self._folder.publish_records(now=True)
            if (self._here / ERRORS).exists():  # not where a run was refused before it began
                self._folder.publish(ERRORS)
        finally:
            self._folder.close()

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
