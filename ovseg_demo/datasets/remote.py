"""Files and folders in object stores by their addresses, such as ``s3://bucket/folder``, through pyarrow."""

from __future__ import annotations

import errno
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from ovseg_demo.datasets.arrow import import_arrow
from ovseg_demo.errors import OvsegError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

T = TypeVar("T")

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BYTES_AT_ONCE = 2**20
_CREDENTIALS = {
    "s3": "the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the machine's role)",
    "gs": "the credentials (GOOGLE_APPLICATION_CREDENTIALS, or the machine's account)",
}


class RemoteError(OvsegError):
    """An object store cannot be reached, or it refuses what is asked of it."""


class MissingRemoteError(RemoteError):
    """There is no such file or folder in an object store."""


def parse_place(text: str) -> Path | RemotePath:
    """Return the place that a text names: a path of this machine, or an address in an object store."""
    if not _ADDRESS.match(text):
        return Path(text)
    address = urlsplit(text)
    if address.scheme == "file":
        return Path(unquote(address.path))
    # "?" begins the options; all else is taken literally, as object stores' own tools do.
    whole, _, options = text.partition("?")
    path = whole.partition("://")[2].partition("/")[2]
    root = f"{address.scheme.lower()}://{address.netloc}/" + (f"?{options}" if options else "")
    return RemotePath(root, posixpath.normpath(path).strip("/") if path.strip("/") else "")


def join_place(folder: Path | RemotePath, name: str) -> Path | RemotePath:
    """Return the place that a list in a folder names: an address, or a path relative to the folder."""
    return parse_place(name) if _ADDRESS.match(name) else folder / name


@dataclass(frozen=True)
class RemotePath:
    """A file or a folder in an object store, with those methods of ``Path`` that are used here.

    It can be pickled. ``str`` gives its address without options and without the key that it may hold.

    Attributes:
        root: opens the store: scheme, bucket and options, such as
            ``s3://bucket/?endpoint_override=localhost:9000&scheme=http``. It may hold a key.
        path: below the root, with "/" between folders; empty for the root.
    """

    root: str = field(repr=False)
    path: str

    def __str__(self) -> str:
        scheme, _, rest = self.root.partition("://")
        bucket = rest.partition("/")[0]
        user, at, host = bucket.rpartition("@")
        return f"{scheme}://{host if at and ':' in user else bucket}/{self.path}".rstrip("/")

    def __truediv__(self, name: str) -> RemotePath:
        path = posixpath.normpath(posixpath.join("/", self.path, name)).lstrip("/")
        return RemotePath(self.root, path)

    @property
    def name(self) -> str:
        """The last part of the path; for the root, its address."""
        return PurePosixPath(self.path).name or str(self)

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return PurePosixPath(self.path).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder."""
        return RemotePath(self.root, posixpath.dirname(self.path))

    def as_posix(self) -> str:
        """Return the address."""
        return str(self)

    def resolve(self) -> RemotePath:
        """Return the path itself: there are no links."""
        return self

    def is_below(self, folder: Path | RemotePath | None) -> bool:
        """Return whether it is a folder or lies in it."""
        if not isinstance(folder, RemotePath):
            return False
        return f"{self}/".startswith(f"{folder}/")

    def relative_to(self, folder: RemotePath) -> str:
        """Return the path from a folder that it lies in."""
        return posixpath.relpath(self.path or ".", folder.path or ".")

    def is_file(self) -> bool:
        """Return whether there is such a file.

        Raises:
            RemoteError: the store cannot be read.
        """
        return self.have_files([""])

    def have_files(self, names: Sequence[str]) -> bool:
        """Return whether all files of these names are in the folder; "" stands for the path itself.

        Raises:
            RemoteError: the store cannot be read.
        """
        kinds = import_arrow("pyarrow.fs").FileType
        paths = [(self / name if name else self)._inside for name in names]
        infos = self._try("read", lambda: self._store.get_file_info(paths))
        return all(info.type == kinds.File for info in infos)

    def walk(self) -> Iterator[RemotePath]:
        """Yield all files in the folder and in its sub-folders, in the order of their paths.

        Raises:
            RemoteError: there is no such folder, or the store cannot be read.
        """
        arrow = import_arrow("pyarrow.fs")
        selector = arrow.FileSelector(self._inside, recursive=True)
        infos = self._try("read", lambda: self._store.get_file_info(selector))
        start = len(self._inside.rstrip("/")) + 1
        for path in sorted(info.path for info in infos if info.type == arrow.FileType.File):
            yield RemotePath(self.root, posixpath.join(self.path, path[start:]))

    def read_bytes(self) -> bytes:
        """Return the content of the file.

        Raises:
            OSError: it cannot be read; ``strerror`` is one line.
        """
        try:
            with self._store.open_input_stream(self._inside) as file:
                return file.read()
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "there is no such file", str(self)) from error
        except OSError as error:
            raise OSError(errno.EIO, _reason(error), str(self)) from error

    def open(self) -> Any:
        """Return the file, opened by pyarrow for reading at any place of it.

        Raises:
            OSError: it cannot be read.
        """
        return self._store.open_input_file(self._inside)

    def write_bytes(self, content: bytes) -> None:
        """Write the file; an older one is replaced as a whole.

        Raises:
            RemoteError: it cannot be written.
        """

        def write() -> None:
            with self._store.open_output_stream(self._inside) as file:
                file.write(content)

        self._try("written", write)

    def unlink(self) -> None:
        """Delete the file, if it is there.

        Raises:
            RemoteError: it cannot be deleted.
        """
        with suppress(MissingRemoteError):
            self._try("deleted", lambda: self._store.delete_file(self._inside))

    def upload(self, path: Path) -> None:
        """Write the content of a file of this machine; an older file is replaced as a whole.

        Raises:
            RemoteError: it cannot be written.
        """
        arrow = import_arrow("pyarrow.fs")
        here = arrow.LocalFileSystem()
        self._try(
            "written",
            lambda: arrow.copy_files(
                str(path), self._inside, source_filesystem=here, destination_filesystem=self._store
            ),
        )

    def download(self, path: Path) -> None:
        """Write the content of the file to a file of this machine.

        Raises:
            MissingRemoteError: it does not exist.
            RemoteError: the store cannot be read.
            OSError: the file of this machine cannot be written.
        """
        with (
            self._try("read", lambda: self._store.open_input_stream(self._inside)) as file,
            path.open("wb") as copy,
        ):
            while piece := self._try("read", lambda: file.read(_BYTES_AT_ONCE)):
                copy.write(piece)

    @property
    def _store(self) -> FileSystem:
        return self._opened[0]

    @property
    def _inside(self) -> str:
        """The path as the store knows it: from its bucket on."""
        return f"{self._opened[1]}/{self.path}".rstrip("/")

    @property
    def _opened(self) -> tuple[FileSystem, str]:
        arrow = import_arrow("pyarrow")
        try:
            return self._try("read", lambda: _open_store(self.root))
        except (ValueError, arrow.ArrowNotImplementedError) as error:
            raise RemoteError(
                f'"{self}" is no address that pyarrow opens, or has an option that it does not know; give '
                "one such as s3://bucket/folder or gs://bucket/folder."
            ) from error

    def _try(self, what: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as error:
            scheme = self.root.partition("://")[0]
            remedy = _CREDENTIALS.get(scheme, "the credentials")
            kind = MissingRemoteError if isinstance(error, FileNotFoundError) else RemoteError
            raise kind(
                f'"{self}" cannot be {what} ({_reason(error)}); check the address and {remedy}.'
            ) from error


@lru_cache(maxsize=16)
def _open_store(root: str) -> tuple[FileSystem, str]:
    """Return a store, and the path of its root in it."""
    store, path = import_arrow("pyarrow.fs").FileSystem.from_uri(root)
    return store, path.rstrip("/")


def _reason(error: OSError) -> str:
    """Return what pyarrow says of an error, in one line."""
    line = (error.strerror or str(error) or type(error).__name__).splitlines()[0]
    return re.split(r"\. Detail: | \(Request ID: ", line)[0].rstrip(". ")
