"""Where the results of a data set go: a folder of this machine, or one in an object store."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from ovseg_demo.datasets.remote import MissingRemoteError, RemotePath
from ovseg_demo.export.file_set import replace_files

RECORDS = "records"
"""The folder of the journal."""

_SECONDS_BETWEEN_UPLOADS = 10
_TRANSFERS = 8  # at a time


class ResultFolder(Protocol):
    """The files of a data set, by their paths relative to its folder.

    Attributes:
        here: a folder of this machine for the journal and for the files of the whole data set, which are
            written there, then published.
    """

    here: Path

    def address_of(self, name: str = "") -> str:
        """Return where a file or the whole folder is, for people."""
        ...

    def replace(self, contents: Mapping[str, bytes]) -> None:
        """Write files of one image, the record last; older ones are replaced.

        Raises:
            OSError: they cannot be written; older ones stay.
            RemoteError: the object store cannot be written to.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete a file, if it is there.

        Raises:
            OSError: it cannot be deleted.
            RemoteError: the object store cannot be written to.
        """
        ...

    def have(self, names: Sequence[str]) -> bool:
        """Return whether all these files are there.

        Raises:
            RemoteError: the object store cannot be read.
        """
        ...

    def fetch(self, names: Sequence[str]) -> list[Path]:
        """Return where the contents of files are on this machine.

        Raises:
            RemoteError: the object store cannot be read.
        """
        ...

    def publish(self, *names: str) -> None:
        """Make files that were written in ``here`` part of the data set.

        Raises:
            RemoteError: the object store cannot be written to.
        """
        ...

    def publish_records(self, *, now: bool) -> None:
        """Make the journal part of the data set: now, or from time to time.

        Raises:
            RemoteError: the object store cannot be written to.
        """
        ...

    def close(self) -> None:
        """Remove what was here for the run alone."""
        ...


class LocalFolder:
    """A :class:`ResultFolder` of this machine: what is written is part of it at once."""

    def __init__(self, folder: Path):
        self.here = folder

    def address_of(self, name: str = "") -> str:
        """See :class:`ResultFolder`."""
        return str(self.here / name)

    def replace(self, contents: Mapping[str, bytes]) -> None:
        """See :class:`ResultFolder`."""
        files = {self.here / name: content for name, content in contents.items()}
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
        if files:
            replace_files(files)

    def delete(self, name: str) -> None:
        """See :class:`ResultFolder`."""
        (self.here / name).unlink(missing_ok=True)

    def have(self, names: Sequence[str]) -> bool:
        """See :class:`ResultFolder`."""
        return all((self.here / name).is_file() for name in names)

    def fetch(self, names: Sequence[str]) -> list[Path]:
        """See :class:`ResultFolder`."""
        return [self.here / name for name in names]

    def publish(self, *names: str) -> None:
        """See :class:`ResultFolder`."""

    def publish_records(self, *, now: bool) -> None:
        """See :class:`ResultFolder`."""

    def close(self) -> None:
        """See :class:`ResultFolder`."""


class RemoteFolder:
    """A :class:`ResultFolder` in an object store.

    An image's files are uploaded when they are made. The journal grows in a temporary folder of this machine,
    since an object cannot be appended to, and is uploaded every ten seconds and at the end: a run that is
    killed loses what it did since. An image's line is uploaded after its files.

    Args:
        folder: the address.

    Raises:
        RemoteError: the object store cannot be read.
        OSError: the temporary folder cannot be written to.
    """

    def __init__(self, folder: RemotePath):
        self._folder = folder
        self._temporary = tempfile.TemporaryDirectory(prefix="ovseg-")
        self.here = Path(self._temporary.name)
        self._pool = ThreadPoolExecutor(_TRANSFERS, "transfer")
        self._uploaded: dict[str, int] = {}  # size of each file of the journal
        self._last = time.monotonic()
        try:
            self._download_records()
            self._uploaded = {path.name: path.stat().st_size for path in self._records()}
        except BaseException:
            self.close()
            raise

    def address_of(self, name: str = "") -> str:
        """See :class:`ResultFolder`."""
        return str(self._folder / name) if name else str(self._folder)

    def replace(self, contents: Mapping[str, bytes]) -> None:
        """See :class:`ResultFolder`."""
        names = list(contents)
        for together in (names[:-1], names[-1:]):  # the record waits for the others
            list(self._pool.map(lambda name: (self._folder / name).write_bytes(contents[name]), together))

    def delete(self, name: str) -> None:
        """See :class:`ResultFolder`."""
        (self._folder / name).unlink()

    def have(self, names: Sequence[str]) -> bool:
        """See :class:`ResultFolder`."""
        return self._folder.have_files(names)

    def fetch(self, names: Sequence[str]) -> list[Path]:
        """See :class:`ResultFolder`."""
        return list(self._pool.map(self._fetch, names))

    def _fetch(self, name: str) -> Path:
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (self._folder / name).download(path)
        return path

    def publish(self, *names: str) -> None:
        """See :class:`ResultFolder`."""
        for name in names:
            (self._folder / name).upload(self.here / name)

    def publish_records(self, *, now: bool) -> None:
        """See :class:`ResultFolder`."""
        if not now and time.monotonic() - self._last < _SECONDS_BETWEEN_UPLOADS:
            return
        for path in self._records():
            size = path.stat().st_size
            if self._uploaded.get(path.name) != size:
                self.publish(f"{RECORDS}/{path.name}")
                self._uploaded[path.name] = size
        self._last = time.monotonic()

    def close(self) -> None:
        """See :class:`ResultFolder`."""
        self._pool.shutdown()
        self._temporary.cleanup()

    def _download_records(self) -> None:
        (self.here / RECORDS).mkdir()
        try:
            files = list((self._folder / RECORDS).walk())
        except MissingRemoteError:  # a new data set
            return
        list(self._pool.map(lambda file: file.download(self.here / RECORDS / file.name), files))

    def _records(self) -> list[Path]:
        """Return the files of the journal, the descriptions to which its lines refer first."""
        return sorted((self.here / RECORDS).glob("*.jsonl"))


def open_folder(place: Path | RemotePath) -> ResultFolder:
    """Return the folder of a place.

    Raises:
        RemoteError: an object store cannot be read.
        OSError: the temporary folder cannot be written to.
    """
    return RemoteFolder(place) if isinstance(place, RemotePath) else LocalFolder(place)
