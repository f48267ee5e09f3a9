"""Read the tensors of a TorchScript archive (such as OpenAI's CLIP files) without running its code.

An archive is a zip file::

    ViT-B-16/data.pkl          the module tree: class names, attributes, references to the tensors
    ViT-B-16/data/0 …          the tensors' bytes
    ViT-B-16/code/…            the program, which is not read
    ViT-B-16/constants.pkl     constants of that program

``torch.jit.load`` is unsafe for files of unknown origin: it compiles ``code/`` and runs the ``__setstate__``
methods in it. A pickle can call only what ``Unpickler.find_class`` returns. The unpickler below returns an
empty class, ``OrderedDict``, number types, and functions that make views of the archive's bytes.
"""

from __future__ import annotations

import io
import mmap
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import torch

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

_HEADER_BYTES = 30
"""Of the header before an entry of a zip file; name and extra field lie between it and the content."""
_LENGTHS_AT = 26
"""Where in the header the lengths of name and extra field are."""


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive, which ``torch.save`` does not write."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """Return parameters and buffers by their dotted names, on the CPU, in the stored precision.

    The tensors are mapped into memory, so the file must stay in place.

    Raises:
        pickle.UnpicklingError: the archive refers to something else than modules and tensors.
        Exception: the errors of ``zipfile`` and ``pickle`` for a damaged archive.
    """
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        root = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        module = _ModuleUnpickler(archive, content, root.removesuffix(".pkl")).load()
    return dict(_walk(module, ""))


class _ModuleUnpickler(pickle.Unpickler):
    """Unpickles a module tree into empty objects with tensors, numbers and further objects as attributes."""

    def __init__(self, archive: zipfile.ZipFile, content: mmap.mmap, data_folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{data_folder}.pkl")))
        self._archive = archive
        self._content = content
        self._data_folder = data_folder
        self._storages: dict[str, torch.Tensor] = {}
        # A class for each archive, since a pickle can write attributes on it.
        self._module_class = type("Module", (), {})

    def find_class(self, module: str, name: str) -> object:
        if module == "__torch__" or module.startswith("__torch__."):
            return self._module_class
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._view
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle":  # type tags of lists and dictionaries
            return self._untagged
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name} is neither a module nor a tensor")

    def persistent_load(self, reference: tuple) -> torch.Tensor:
        _, dtype, key, _location, _size = reference
        if key not in self._storages:
            self._storages[key] = self._map(self._archive.getinfo(f"{self._data_folder}/{key}"), dtype)
        return self._storages[key]

    def _map(self, entry: zipfile.ZipInfo, dtype: torch.dtype) -> torch.Tensor:
        """Return the numbers in an entry, mapped from the file unless the entry is compressed."""
        if not entry.file_size:
            return torch.empty(0, dtype=dtype)
        if entry.compress_type != zipfile.ZIP_STORED:
            return torch.frombuffer(bytearray(self._archive.read(entry)), dtype=dtype)
        lengths = struct.unpack_from("<HH", self._content, entry.header_offset + _LENGTHS_AT)
        start = entry.header_offset + _HEADER_BYTES + sum(lengths)
        count = entry.file_size // dtype.itemsize
        return torch.frombuffer(self._content, dtype=dtype, count=count, offset=start)

    @staticmethod
    def _view(storage: torch.Tensor, offset: int, size: tuple, stride: tuple, *_: object) -> torch.Tensor:
        return storage.as_strided(size, stride, offset)  # raises if the view exceeds the bytes

    @staticmethod
    def _untagged(value: object, *_: object) -> object:
        return value


def _walk(module: object, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            yield prefix + name, value
        elif hasattr(value, "__dict__"):
            yield from _walk(value, f"{prefix}{name}.")
