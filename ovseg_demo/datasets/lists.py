"""Lists of images with class names of their own, as CSV or JSON Lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.remote import RemotePath, join_place
from ovseg_demo.errors import DatasetError

SUFFIXES = (".csv", ".jsonl", ".ndjson")
"""File name endings of lists."""

PATH, NAMES, LICENSE = "path", "classes", "license"
"""The columns: the image, relative to the list's folder or by its address; its class names; its licence."""


def read_list(path: Path | RemotePath) -> list[Item]:
    """Return the images of a list.

    Args:
        path: a CSV file with the columns in its first line, or a JSON Lines file with an object a line;
            here or in an object store.

    Raises:
        DatasetError: the list cannot be read, or a line of it has no path.
    """
    try:
        text = io.TextIOWrapper(io.BytesIO(path.read_bytes()), "utf-8-sig").read()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'The list "{path.name}" cannot be read as UTF-8 text ({error}).') from error
    rows = _read_csv(path, text) if path.suffix.lower() == ".csv" else _read_json_lines(path, text)
    items = [_make_item(path, number, row) for number, row in rows]
    if not items:
        raise DatasetError(f'The list "{path.name}" names no image.')
    return items


def read_names(value: Any) -> str | tuple[str, ...] | None:
    """Return class names as a text or, given as a list of texts, as a tuple; ``None`` if there are none.

    Each text of a list is one class, also where it has a comma: see :meth:`Vocabulary.parse`.

    Raises:
        TypeError: they are neither.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value if value.strip() else None
    names = tuple(value) if isinstance(value, Iterable) else (None,)
    if all(isinstance(name, str) for name in names):
        return names if any(name.strip() for name in names) else None
    raise TypeError


def _make_item(path: Path | RemotePath, number: int, row: Mapping[str, Any]) -> Item:
    name, license = row.get(PATH), row.get(LICENSE) or ""
    if not isinstance(name, str) or not name.strip():
        raise DatasetError(f'Line {number} of "{path.name}" has no "{PATH}"; give the path of an image.')
    try:
        names = read_names(row.get(NAMES))
    except TypeError:
        raise DatasetError(
            f'Line {number} of "{path.name}" has "{NAMES}" that are neither a text nor a list of texts.'
        ) from None
    try:
        item = Item.of_file(join_place(path.parent, name), path.parent, names=names, license=str(license))
    except ValueError:  # a zero byte
        item = None
    if item is None or not item.name:
        raise DatasetError(f'Line {number} of "{path.name}" has the "{PATH}" {name!r}, which names no file.')
    return item


def _read_csv(path: Path | RemotePath, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        yield from _read_rows(path, reader)
    except csv.Error as error:
        raise DatasetError(
            f'Line {reader.line_num} of "{path.name}" cannot be read ({error}); check its quotes.'
        ) from error


def _read_rows(path: Path | RemotePath, reader: csv.DictReader) -> Iterator[tuple[int, Mapping[str, Any]]]:
    columns = [column.strip().lower() for column in reader.fieldnames or ()]
    if PATH not in columns:
        raise DatasetError(
            f'The first line of "{path.name}" must name its columns: "{PATH}", and "{NAMES}" if images have '
            "class names of their own."
        )
    reader.fieldnames = columns
    for row in reader:
        if None in row:
            raise DatasetError(
                f'Line {reader.line_num} of "{path.name}" has more fields than the first line; put class '
                'names with commas in quotes, such as "dog, grass".'
            )
        yield reader.line_num, row


def _read_json_lines(path: Path | RemotePath, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # Not splitlines(): JSON allows other line ends, such as U+2028, within its texts.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DatasetError(f'Line {number} of "{path.name}" is no JSON ({error}).') from error
        if not isinstance(row, dict):
            raise DatasetError(
                f'Line {number} of "{path.name}" is no JSON object, such as {{"{PATH}": "a.jpg"}}.'
            )
        yield number, row
