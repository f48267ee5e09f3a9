"""Find the images that a user names: files, folders, patterns, lists and tables."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ovseg_demo.datasets import lists, tables
from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.remote import MissingRemoteError, RemotePath, parse_place
from ovseg_demo.errors import ImageError
from ovseg_demo.images import SUFFIXES

_LONGEST = 80  # characters of an input in a sentence


def find_images(
    inputs: Iterable[str], *, leave_out: Path | RemotePath | None = None
) -> tuple[list[Item], list[str]]:
    """Return the images that inputs name, and a sentence for each input or folder that gives none.

    Args:
        inputs: paths of images; paths of folders, for all images in them and in their sub-folders; patterns
            such as ``*.jpg``; lists (:mod:`.lists`) and tables (:mod:`.tables`); addresses in an object store
            (:mod:`.remote`) of all of these but patterns.
        leave_out: a folder whose files are not taken, such as that of the results. Hidden files and folders
            are not taken either, unless they are named.

    Returns:
        The images in the given order, each once, and the sentences.

    Raises:
        OvsegError: a list, a table or an object store cannot be read, or a package that reads it is absent.
    """
    found: dict[str, Item] = {}
    problems = []
    for given in inputs:
        try:
            for item in _find(given, leave_out, problems):
                found.setdefault(item.location, item)
        except ImageError as error:
            problems.append(str(error))
    return list(found.values()), problems


def _find(given: str, leave_out: Path | RemotePath | None, problems: list[str]) -> Iterable[Item]:
    """Return the images of an input; a folder in it that cannot be read is one of the ``problems``."""
    place = parse_place(given)
    if isinstance(place, RemotePath):
        return _expand_address(place, leave_out)
    folder = str(leave_out.resolve()) if isinstance(leave_out, Path) else None
    try:
        return _expand(str(place), folder, problems)
    except OSError as error:  # a closed folder, or a name that is too long
        raise ImageError(
            f'"{_shorten(given)}" cannot be opened ({error.strerror}); check the path.'
        ) from error


def _expand_address(place: RemotePath, leave_out: Path | RemotePath | None) -> Iterable[Item]:
    if "*" in place.path:
        raise ImageError(f'"{place}" is a pattern, which names files of this machine alone; give the folder.')
    is_table = place.suffix.lower() in (*lists.SUFFIXES, *tables.SUFFIXES)
    if is_table or place.is_file():
        return _open_file(place)
    try:
        files = list(place.walk())
    except MissingRemoteError as error:
        raise ImageError(str(error)) from error
    images = [
        Item.of_file(path, place)
        for path in files
        if path.name.lower().endswith(SUFFIXES)
        and not path.is_below(leave_out)
        and not any(part.startswith(".") for part in path.relative_to(place).split("/"))
    ]
    if not images:
        raise ImageError(f'"{place}" holds no images ({", ".join(SUFFIXES)}), nor do its sub-folders.')
    return images


def _expand(given: str, leave_out: str | None, problems: list[str]) -> Iterable[Item]:
    path, known = Path(given), len(problems)
    if path.is_dir():
        if tables.is_dataset_folder(path):
            return tables.read_table(path)
        images = list(_walk(path, leave_out, problems))
        if not images and len(problems) == known:
            raise ImageError(
                f'The folder "{path.name}" holds no images ({", ".join(SUFFIXES)}), nor do its sub-folders.'
            )
        return images
    if path.exists() or not glob.has_magic(given):
        return _open_file(path)
    matches = sorted(match for match in _glob(given) if Path(match).is_file())
    root = Path(given[: len(given) - len(_magic_part(given))] or ".")
    taken = [path for path in map(Path, matches) if not _is_in(path, leave_out)]
    items = [item for path in taken for item in _open_file(path, root)]
    if not items:
        raise ImageError(f'No file matches "{path.name}"; check the pattern.')
    return items


def _open_file(path: Path | RemotePath, root: Path | None = None) -> Iterable[Item]:
    """Return the images of a list or a table, or the one image that any other file is.

    Whether it is an image, and whether it exists, is found out when it is opened: that is an error of one
    image.
    """
    if path.suffix.lower() in lists.SUFFIXES:
        return lists.read_list(path)
    if path.suffix.lower() in tables.SUFFIXES:
        return tables.read_table(path)
    return [Item.of_file(path, root)]


def _walk(root: Path, leave_out: str | None, problems: list[str]) -> Iterator[Item]:
    """Yield the images below a folder, in the order of their paths; links to folders are followed once."""
    seen: set[str] = set()

    def note(error: OSError) -> None:
        problems.append(f'The folder "{error.filename}" cannot be read ({error.strerror}).')

    for folder, folders, files in os.walk(root, onerror=note, followlinks=True):
        resolved = os.path.realpath(folder)
        if resolved in seen or resolved == leave_out:
            folders.clear()
            continue
        seen.add(resolved)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield Item.of_file(Path(folder, name), root)


def _is_in(path: Path, folder: str | None) -> bool:
    return folder is not None and Path(folder) in Path(os.path.realpath(path)).parents


def _shorten(given: str) -> str:
    return given if len(given) <= _LONGEST else f"{given[:_LONGEST]}…"


def _glob(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob refuses absolute patterns)


def _magic_part(pattern: str) -> str:
    """Return a pattern from the first folder or file name on that has a special character."""
    parts = pattern.replace(os.sep, "/").split("/")
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[first:])
