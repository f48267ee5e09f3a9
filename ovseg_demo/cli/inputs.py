"""Which images are meant: files, folders and patterns from a command line."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from ovseg_demo.errors import ImageError
from ovseg_demo.images import SUFFIXES


def expand_inputs(inputs: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Find the images that are meant.

    Args:
        inputs: paths of images, of folders (all images directly in them), or patterns such as ``*.jpg``.

    Returns:
        The images in the given order, each once, and a sentence for each input that means none.
    """
    found: dict[Path, Path] = {}
    problems = []
    for given in inputs:
        try:
            for path in _expand(given):
                found.setdefault(path.resolve(), path)
        except ImageError as error:
            problems.append(str(error))
    return list(found.values()), problems


def name_folders(paths: Iterable[Path]) -> list[str]:
    """A folder name for each image: its own without the ending, and "-2", "-3" … where two would be one."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name, number = path.stem, 1
        while name.casefold() in taken:  # some file systems do not tell "A" from "a"
            number += 1
            name = f"{path.stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _expand(given: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        images = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not images:
            raise ImageError(f'The folder "{path.name}" holds no images ({", ".join(SUFFIXES)}).')
        return images
    if path.exists() or not glob.has_magic(given):
        return [path]  # if it is missing, opening it will say so
    matches = sorted(Path(match) for match in _glob(given) if Path(match).is_file())
    if not matches:
        raise ImageError(f'No file matches "{path.name}"; check the pattern.')
    return matches


def _glob(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob refuses absolute patterns)
