"""A folder that holds a segmentation in the formats that people and programs ask for first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ovseg_demo.export.formats import FORMATS
from ovseg_demo.export.options import ExportOptions, View
from ovseg_demo.images import SourceImage

if TYPE_CHECKING:
    from ovseg_demo.segmentation import Segmentation

FILES: Mapping[str, str] = MappingProxyType(
    {"overlay.png": "overlay", "label_map.png": "label-map", "segmentation.json": "coco"}
)
"""The name of each file in the folder, and its format. The last is the record, which describes the others."""


def save_segmentation(
    segmentation: Segmentation,
    folder: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    source: SourceImage | None = None,
) -> None:
    """Write a segmentation into a folder. The folder is made where it is missing; older files are replaced.

    The files are written under other names and renamed together: where writing or renaming fails, the older
    files stay. While they are renamed, the folder holds no record: a process that is killed then leaves no
    record beside files that it does not describe, and the next call restores the older files.

    ``overlay.png`` is the map over the image with its legend, ``label_map.png`` the exact map
    (:mod:`.label_map`), ``segmentation.json`` a COCO data set of one image (:mod:`.coco`).

    Args:
        segmentation: what to write.
        folder: where to write it.
        settings: written into the JSON file beside those that the segmentation itself knows.
        source: the file that was segmented, for the JSON file.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    options = ExportOptions(settings or {}, View(labels=False), source)
    paths = [folder / name for name in FILES]
    _restore_after_kill(paths)
    parts = {path: path.with_name(f".{path.name}.part") for path in paths}
    try:
        for path, part in parts.items():
            _write(part, FORMATS[FILES[path.name]].write(segmentation, options))
        _replace_together(parts)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """Write a file whose content is on the disk when this returns: some systems report a full disk late."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


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
