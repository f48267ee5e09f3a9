"""Files that belong together: newer ones replace the older ones as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ovseg_demo.runtime.disk import write_file


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """Write files of one folder that belong together; older ones are replaced.

    The files are written under other names and renamed together: where writing or renaming fails, the older
    files stay. While files are renamed, the record has no file: a process that is killed then leaves files
    without a record. The next call with the same paths restores the older files.

    Args:
        contents: of each file, the record last.

    Raises:
        OSError: a file cannot be written or renamed.
    """
    paths = list(contents)
    _restore_after_kill(paths)
    parts = {path: path.with_name(f".{path.name}.part") for path in paths}
    try:
        for path, part in parts.items():
            write_file(part, contents[path])
        _replace_together(parts)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _replace_together(parts: Mapping[Path, Path]) -> None:
    """Rename each part to its path, the record last; if one cannot be renamed, restore the older files."""
    paths = list(parts)
    try:
        for path in reversed(paths):  # the record first
            if path.exists():
                path.replace(_aside(path))
        for path, part in parts.items():
            part.replace(path)
    except OSError:
        _restore(paths)
        raise
    for path in reversed(paths):
        _aside(path).unlink(missing_ok=True)


def _restore_after_kill(paths: Sequence[Path]) -> None:
    """Restore the older files if a process was killed while it replaced them.

    The older record is the first that is put aside and the first that is deleted. While it is there, so are
    the other older files.
    """
    if _aside(paths[-1]).exists():
        _restore(paths)
    for path in paths:
        _aside(path).unlink(missing_ok=True)


def _restore(paths: Sequence[Path]) -> None:
    for path in paths:
        if _aside(path).exists():
            _aside(path).replace(path)


def _aside(path: Path) -> Path:
    """Return where an older file waits until all newer ones are in place."""
    return path.with_name(f".{path.name}.old")
