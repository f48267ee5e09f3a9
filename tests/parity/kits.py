"""Loads the parity kits: inputs, weights and outputs of the reference implementation.

Small kits lie in ``tests/data/parity`` and are always there. Large ones lie in the folder that
``OVSEG_PARITY_DIR`` names, by default ``../shared/parity`` beside the repository, and may be absent. Both
have the same layout, but a small kit has fewer arrays, and thinned ones (:mod:`tests.parity.cut`). A test
runs on every kit that has the arrays which it compares.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import zipfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from PIL import Image

from tests.paths import DATA, ROOT

SMALL = DATA / "parity"
LARGE = Path(os.environ.get("OVSEG_PARITY_DIR") or ROOT.parent / "shared" / "parity")


@dataclass(frozen=True, eq=False)
class Kit:
    """One kit.

    Attributes:
        folder: where it lies.
        config: ``config.json``: sizes, thresholds, class names and more.
        outputs: the arrays of ``reference_outputs.npz``; of a small kit some are named ``NAME_everyN``.
        image: uint8 RGB (H, W, 3), the input of the reference run.
    """

    folder: Path
    config: dict
    outputs: dict[str, np.ndarray]
    image: np.ndarray

    @cached_property
    def checkpoint_path(self) -> Path:
        """The weights file; that of a small kit is unpacked for the run of the tests."""
        return self.weights_path("checkpoint.pth")

    def weights_path(self, name: str) -> Path:
        """A weights file by its name; that of a small kit is unpacked for the run of the tests."""
        plain = self.folder / name
        return plain if plain.exists() else _unpacked(self.folder / f"{name}.xz")

    def sibling(self, name: str) -> Kit:
        """The kit ``name`` of the same size."""
        return load_kit(self.folder.parent / name)

    def has(self, name: str) -> bool:
        """Whether the kit has an array, whole or thinned out."""
        return name in _array_names(self.folder)

    def pair(self, name: str, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """An array, thinned out like the kit's array ``name``, and the kit's."""
        if name in self.outputs:
            return np.asarray(array), self.outputs[name]
        key = next(key for key in self.outputs if re.fullmatch(rf"{re.escape(name)}_every\d+", key))
        stride = int(key.rpartition("every")[2])
        return thin(np.asarray(array), stride), self.outputs[key]

    def assert_close(self, name: str, actual: np.ndarray, tolerance: float = 1e-4) -> None:
        """Fail unless ``actual`` is the kit's array ``name``; see :func:`assert_close`."""
        assert_close(*self.pair(name, actual), tolerance)

    def assert_equal(self, name: str, actual: np.ndarray) -> None:
        """Fail unless ``actual`` is exactly the kit's array ``name``."""
        np.testing.assert_array_equal(*self.pair(name, actual))


def kits(*names: str, arrays: tuple[str, ...] = ()) -> list:
    """Parameters for a test or a fixture: the folders of all kits of these names that have these arrays.

    Where there is none, one parameter that skips the test with the reason.
    """
    found = [
        pytest.param(folder / name, id=f"{name}-{size}")
        for name in names
        for size, folder in (("small", SMALL), ("large", LARGE))
        if (folder / name / "config.json").is_file() and set(arrays) <= _array_names(folder / name)
    ]
    reason = f"no kit {' or '.join(names)} with {', '.join(arrays)}; OVSEG_PARITY_DIR names the large kits"
    return found or [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=reason))]


@cache
def load_kit(folder: Path) -> Kit:
    """Load the kit in a folder."""
    config = json.loads((folder / "config.json").read_text())
    with np.load(folder / "reference_outputs.npz") as arrays:
        outputs = dict(arrays)
    with Image.open(folder.parent / config["image"]) as image:
        pixels = np.asarray(image.convert("RGB"))
    return Kit(folder, config, outputs, pixels)


def unpack_folder(folder: Path) -> Path:
    """A kit that is a whole folder of weights; that of a small kit is unpacked for the run of the tests."""
    packed = sorted(folder.glob("*.xz"))
    if not packed:
        return folder
    unpacked = _unpacked(packed[0]).parent
    for path in folder.iterdir():
        if path.suffix != ".xz" and not (unpacked / path.name).exists():
            shutil.copy(path, unpacked)
    return unpacked


def thin(array: np.ndarray, stride: int) -> np.ndarray:
    """Every ``stride``-th row and column of an array (…, H, W) or an image (H, W, 3)."""
    is_image = array.ndim == 3 and array.shape[2] == 3
    return array[::stride, ::stride] if is_image else array[..., ::stride, ::stride]


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    """Fail unless each value is within ``tolerance`` times the largest expected value of the expected one."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    error = np.abs(actual.astype(np.float64) - expected).max() / np.abs(expected).max()
    assert error <= tolerance, f"off by {error:.2e} of the largest value; {tolerance:.0e} is allowed"


@cache
def _array_names(folder: Path) -> frozenset[str]:
    """Names of a kit's arrays, of thinned ones without ``_everyN``."""
    with zipfile.ZipFile(folder / "reference_outputs.npz") as arrays:
        names = [name.removesuffix(".npy") for name in arrays.namelist()]
    return frozenset([*names, *(re.sub(r"_every\d+$", "", name) for name in names)])


@cache
def _unpacked(packed: Path) -> Path:
    path = Path(_folder_for_weights().name) / packed.parent.name / packed.stem
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


@cache
def _folder_for_weights() -> TemporaryDirectory:
    """Removed when the tests end."""
    return TemporaryDirectory(prefix="parity-")
