"""Loads the reference outputs that our own must equal.

The kits lie in the folder that ``OVSEG_PARITY_DIR`` names, by default ``../shared/parity`` beside the
repository. Any of them may be absent; a test that asks for it is then skipped with that reason.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, eq=False)
class Kit:
    """One kit: inputs, weights and outputs of a reference run.

    Attributes:
        folder: where the kit lies.
        config: ``config.json``: sizes, thresholds, class names and more.
        outputs: the arrays of ``reference_outputs.npz``.
        checkpoint_path: ``checkpoint.pth``; the SAM kit has none and refers to another kit's.
        image: uint8 RGB (H, W, 3), the image of the run.
    """

    folder: Path
    config: dict
    outputs: dict[str, np.ndarray]
    checkpoint_path: Path
    image: np.ndarray


def parity_folder() -> Path:
    """The folder that holds all kits; need not exist."""
    return Path(os.environ.get("OVSEG_PARITY_DIR") or REPOSITORY.parent / "shared" / "parity")


def load_kit(name: str) -> Kit:
    """Load the kit ``name``, or skip the running test where it is absent."""
    folder = parity_folder() / name
    if not (folder / "config.json").is_file():
        pytest.skip(f"there is no parity kit in {folder}; OVSEG_PARITY_DIR names the folder of the kits")
    config = json.loads((folder / "config.json").read_text())
    with np.load(folder / "reference_outputs.npz") as arrays:
        outputs = dict(arrays)
    with Image.open(folder.parent / config["image"]) as file:
        image = np.asarray(file.convert("RGB"))
    return Kit(folder, config, outputs, folder / "checkpoint.pth", image)


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    """Fail unless each value is within ``tolerance`` times the largest expected value of the expected one."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    error = np.abs(actual.astype(np.float64) - expected).max() / np.abs(expected).max()
    assert error <= tolerance, f"off by {error:.2e} of the largest value; {tolerance:.0e} is allowed"
