"""Tables of images: Parquet files, and folders that Hugging Face's ``datasets`` saved.

pyarrow reads both.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_demo.datasets.arrow import import_arrow
from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.lists import LICENSE, NAMES, read_names
from ovseg_demo.datasets.remote import RemotePath, join_place
from ovseg_demo.errors import DatasetError, ImageError

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".parquet",)
"""File name endings of tables."""

_STATE, _SPLITS = "state.json", "dataset_dict.json"  # of a saved Dataset, and of a saved DatasetDict
_COLUMNS = ("image", "img", "picture", "photo", "bytes", "path", "file_name")  # looked for in this order
_BYTES, _PATH = "bytes", "path"  # fields of an image in the layout of ``datasets``


def is_dataset_folder(path: Path) -> bool:
    """Return whether ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote a folder."""
    return (path / _STATE).is_file() or (path / _SPLITS).is_file()


def read_table(path: Path | RemotePath) -> Iterator[Item]:
    """Yield an item for each row of a table; the images are read later, one by one.

    The image is in the column "image" or, without it, in the first one of a similar name: its bytes, the
    path of its file relative to the table's folder, or a struct of both. The column "classes" holds class
    names of the image, "license" its licence.

    Args:
        path: a Parquet file, here or in an object store, or a folder of :func:`is_dataset_folder`.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        DatasetError: the table cannot be read, or it has no images.
    """
    if isinstance(path, Path) and (path / _SPLITS).is_file():
        for split in _read_json(path / _SPLITS)["splits"]:
            yield from _read_rows(path / split, root=path)
    else:
        yield from _read_rows(path)


def _read_rows(path: Path | RemotePath, root: Path | None = None) -> Iterator[Item]:
    is_folder = isinstance(path, Path) and path.is_dir()
    # Another process opens the table by its path, and may have another working folder.
    whole = path.absolute() if isinstance(path, Path) else path
    table = _ArrowFiles(whole) if is_folder else _ParquetFile(whole)
    label = path.name if root is None else path.relative_to(root).as_posix()
    column = _find_image_column(path, table)
    wanted = [name for name in (NAMES, LICENSE) if name in table.schema.names]
    digits = max(6, len(str(table.rows)))
    location = path.resolve()
    for number, row in enumerate(table.iterate(wanted)):
        row = dict(zip(wanted, row, strict=True))
        try:
            names = read_names(row.get(NAMES))
        except TypeError:
            raise DatasetError(
                f'Row {number} of "{path.name}" has "{NAMES}" that are neither a text nor a list of texts.'
            ) from None
        yield Item(
            location=f"{location}#{number}",
            file_name=f"{label}/{number:0{digits}d}",
            given=f"{path.as_posix()}/{number:0{digits}d}",
            content=partial(_read_image, whole, table, column, number),
            names=names,
            license=str(row.get(LICENSE) or ""),
        )


def _read_image(
    path: Path | RemotePath, table: _ParquetFile | _ArrowFiles, column: str, number: int
) -> bytes:
    """Return the bytes of an image.

    Raises:
        ImageError: the row has no image, or the file that it names cannot be read.
    """
    value = table.read(column, number)
    if isinstance(value, dict):
        value = value.get(_BYTES) or value.get(_PATH)
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value:
        try:
            return join_place(path.parent, value).read_bytes()
        except OSError as error:
            raise ImageError(
                f'Row {number} of "{path.name}" names "{value}", which cannot be read ({error.strerror}).'
            ) from error
    raise ImageError(f'Row {number} of "{path.name}" has no image in the column "{column}".')


class _ParquetFile:
    """Rows of a Parquet file. One group of rows is in memory at a time."""

    def __init__(self, path: Path | RemotePath):
        self._path = path
        parquet = import_arrow("pyarrow.parquet")
        self._file = _try(path, lambda: parquet.ParquetFile(path if isinstance(path, Path) else path.open()))
        counts = [
            self._file.metadata.row_group(i).num_rows for i in range(self._file.metadata.num_row_groups)
        ]
        self._starts = [sum(counts[:i]) for i in range(len(counts))]
        self.rows, self.schema = sum(counts), self._file.schema_arrow
        self._lock = threading.Lock()
        self._group: tuple[int, str, pyarrow.ChunkedArray] | None = None

    def iterate(self, columns: list[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some columns, row by row."""
        if not columns:
            yield from ((),) * self.rows
            return
        for batch in self._file.iter_batches(columns=columns):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)

    def read(self, column: str, number: int) -> Any:
        """Return one value."""
        group = max(i for i, start in enumerate(self._starts) if start <= number)
        with self._lock:
            if self._group is None or self._group[:2] != (group, column):
                self._group = None  # before the next one is read
                table = self._file.read_row_group(group, columns=[column])
                self._group = group, column, table.column(column)
            return self._group[2][number - self._starts[group]].as_py()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path,)  # another process opens the file itself


class _ArrowFiles:
    """Rows of a folder that ``Dataset.save_to_disk`` wrote. The files are mapped, not read, into memory."""

    def __init__(self, folder: Path):
        self._folder = folder
        arrow = import_arrow()
        files = [folder / file["filename"] for file in _read_json(folder / _STATE)["_data_files"]]
        if not files:
            raise DatasetError(f'The data set "{folder.name}" names no files; save it again.')
        self._table = arrow.concat_tables([_try(file, partial(self._map, file)) for file in files])
        self.rows, self.schema = self._table.num_rows, self._table.schema

    @staticmethod
    def _map(path: Path) -> pyarrow.Table:
        mapped = import_arrow().memory_map(str(path))
        return import_arrow("pyarrow.ipc").open_stream(mapped).read_all()

    def iterate(self, columns: list[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some columns, row by row."""
        if not columns:
            yield from ((),) * self.rows
            return
        for batch in self._table.select(columns).to_batches():
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)

    def read(self, column: str, number: int) -> Any:
        """Return one value."""
        return self._table.column(column)[number].as_py()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._folder,)


def _find_image_column(path: Path | RemotePath, table: _ParquetFile | _ArrowFiles) -> str:
    types = import_arrow("pyarrow.types")

    def holds_images(name: str) -> bool:
        kind = table.schema.field(name).type
        if types.is_struct(kind):
            return kind.get_field_index(_BYTES) >= 0
        return any(
            is_kind(kind)
            for is_kind in (types.is_binary, types.is_large_binary, types.is_string, types.is_large_string)
        )

    names = table.schema.names
    column = next((name for name in _COLUMNS if name in names and holds_images(name)), None)
    if column is None:
        raise DatasetError(
            f'"{path.name}" has no column of images (its columns: {", ".join(names)}); name the column with '
            'the bytes or the paths of the images "image".'
        )
    return column


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f'"{path}" cannot be read ({error}); save the data set again.') from error


def _try(path: Path | RemotePath, read: Callable[[], Any]) -> Any:
    """Return the result of reading a file.

    Raises:
        DatasetError: it cannot be read.
    """
    arrow = import_arrow()
    try:
        return read()
    except (OSError, arrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f'"{path.name}" cannot be read as a table ({reason}).') from error
