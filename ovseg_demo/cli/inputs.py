"""Find the images that a command line names: files, folders and patterns."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable
from pathlib import Path

from ovseg_demo.errors import ImageError
from ovseg_demo.export.names import slug
from ovseg_demo.images import SUFFIXES


def expand_inputs(inputs: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Return the images that inputs name, and a sentence for each input that names none.

    Args:
        inputs: paths of images, paths of folders (for all images directly in them), or patterns such as
            ``*.jpg``.

    Returns:
        The images in the given order, each once, and the sentences.
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


def result_folder(path: Path) -> str:
    """Return the name of the folder for an image's results.

    The name depends on the image's path alone. A file gets the same folder in every run, in any order of
    files. Two files never share a folder, even if the file system ignores case. The name is valid on every
    file system.
    """
    digest = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{slug(path.stem)}-{digest[:8]}"


def _expand(given: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        images = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not images:
            raise ImageError(f'The folder "{path.name}" holds no images ({", ".join(SUFFIXES)}).')
        return images
    if path.exists() or not glob.has_magic(given):
        return [path]  # opening a missing file raises an error that names it
    matches = sorted(Path(match) for match in _glob(given) if Path(match).is_file())
    if not matches:
        raise ImageError(f'No file matches "{path.name}"; check the pattern.')
    return matches


def _glob(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 (Path.glob refuses absolute patterns)
