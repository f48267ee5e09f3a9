"""One image of a data set: where it is, what it is called, and the folder of its results."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from ovseg_demo.datasets.remote import RemotePath
from ovseg_demo.export.names import slug

_KEY_DIGITS = 12  # of the hash, in a key: 48 bits, so that a million images do not collide
_MAX_BYTES = 200  # of a part of a stem; file systems take 255, and suffixes follow


@dataclass(frozen=True)
class Item:
    """An image to segment.

    Attributes:
        location: where the image is: the resolved path or the address of its file, or that of its table with
            "#" and the row. It identifies the image.
        file_name: the path relative to the input that named it, with "/" between folders.
        given: the path as the user named it, which tells images of two inputs apart.
        content: the path of the file, or a function that reads the bytes of a remote file or
            of a table's row.
        names: the class names of this image, a text or one text a class; ``None`` means those of the whole
            run.
        license: the licence of the image, in words; empty if the input does not say it.
    """

    location: str
    file_name: str
    given: str
    content: Path | Callable[[], bytes]
    names: str | tuple[str, ...] | None = None
    license: str = ""

    @classmethod
    def of_file(
        cls,
        path: Path | RemotePath,
        root: Path | RemotePath | None = None,
        *,
        names: str | tuple[str, ...] | None = None,
        license: str = "",
    ) -> Item:
        """Return the item of a file.

        Args:
            path: of the file, here or in an object store.
            root: the folder to which its ``file_name`` is relative; by default, or for a file elsewhere, the
                file's own.
            names: see :class:`Item`.
            license: see :class:`Item`.
        """
        if isinstance(path, RemotePath):
            relative = path.relative_to(root) if path.is_below(root) else path.name
            return cls(str(path), relative, str(path), path.read_bytes, names, license)
        relative = Path(path.name)
        if isinstance(root, Path) and path.is_relative_to(root) and ".." not in path.relative_to(root).parts:
            relative = path.relative_to(root)
        return cls(os.path.realpath(path), relative.as_posix(), path.as_posix(), path, names, license)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of ``location``: 64 hexadecimal digits."""
        return hashlib.sha256(self.location.encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def key(self) -> str:
        """The folder of the image's results: ``file_name`` in plain letters, and digits of a hash.

        It depends on the image's path alone. A file gets the same folder in every run, in any order of files.
        Two files never share a folder, even if the file system ignores case. The folder's name is valid on
        every file system.
        """
        path = PurePosixPath(self.file_name)
        folders = [slug(part) for part in path.parts[:-1]]
        return "/".join([*folders, f"{slug(path.stem)}-{self.digest[:_KEY_DIGITS]}"])

    @property
    def name(self) -> str:
        """The last part of ``file_name``, for messages."""
        return PurePosixPath(self.file_name).name

    @property
    def stem(self) -> str:
        """``file_name`` without its suffix: the name by which YOLO and Pascal VOC find an image's files."""
        return PurePosixPath(self.file_name).with_suffix("").as_posix()

    def hash_content(self) -> str:
        """Return the SHA-256 of the file's or the row's bytes: 64 hexadecimal digits.

        Raises:
            ImageError: the row has no image.
            OSError: the file cannot be read.
        """
        if not isinstance(self.content, Path):
            return hashlib.sha256(self.content()).hexdigest()
        with self.content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def choose_stems(items: Iterable[Item], taken: Mapping[str, str]) -> Callable[[Item], str]:
    """Return a function from an item to the name of its files in a folder for all images.

    It is the item's stem or, where two images share that, it is no plain text or a part of it is so long that
    no suffix may fit behind it, the item's key.

    Args:
        items: all images of the run.
        taken: for each stem of earlier runs, without regard to case, the digest of its item.
    """
    count = Counter(item.stem.casefold() for item in items)

    def choose(item: Item) -> str:
        stem = item.stem.casefold()
        encoded = item.stem.encode("utf-8", "replace")
        is_plain = item.stem.isprintable() and encoded.decode() == item.stem
        is_short = all(len(part) <= _MAX_BYTES for part in encoded.split(b"/"))
        is_free = count[stem] == 1 and taken.get(stem, item.digest) == item.digest
        return item.stem if is_plain and is_short and is_free else item.key

    return choose
