"""The files of an export, and the zip archive that holds several of them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable
from typing import Any, NamedTuple, TextIO

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # a fixed date: the same files give the same bytes
_STORED = (".png", ".zip")  # compressed already


class ExportFile(NamedTuple):
    """A file of an export.

    Attributes:
        name: a relative path with forward slashes.
        content: of the file.
    """

    name: str
    content: bytes


def zip_files(files: Iterable[ExportFile]) -> bytes:
    """Return the files as a zip archive; each is made when its turn comes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files:
            method = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content, method)
    return buffer.getvalue()


def write_json_list(file: TextIO, values: Iterable[Any]) -> None:
    """Write values as a JSON list, one a line, as they come."""
    separator = "[\n"
    for value in values:
        file.write(separator + json.dumps(value, ensure_ascii=False, allow_nan=False))
        separator = ",\n"
    file.write("[]" if separator == "[\n" else "\n]")


def to_json(value: Any, indent: int | None = 1) -> bytes:
    """Return a value as JSON in UTF-8; numbers that JSON lacks (NaN) are an error."""
    return (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent) + "\n").encode("utf-8")
