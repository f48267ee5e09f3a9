"""What a run must keep when it goes on in its folder: with other choices, one folder would mix two runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch

from ovseg_demo.errors import CheckpointError
from ovseg_demo.runtime.file_digests import file_digest
from ovseg_demo.training.files import CHECKPOINT_FILE

Choice = str | int | float | None
"""The value of an option, as :func:`describe_choice` returns it."""


def describe_choice(value: Path | Choice) -> Choice:
    """Return an option's value for comparison: a file's by its content, a folder's as its whole path."""
    if not isinstance(value, Path):
        return value
    return f"sha256:{file_digest(value)[:12]}" if value.is_file() else str(value.resolve())


def name_choices(choices: Mapping[str, Choice]) -> str:
    """Return 12 hexadecimal digits for the names of files that were made with these choices."""
    return hashlib.sha256(repr(sorted(choices.items())).encode()).hexdigest()[:12]


def check_checkpoint(folder: Path, given: Mapping[str, Choice]) -> None:
    """Check the choices of the checkpoint in a folder, if there is one, before long preparations.

    Args:
        folder: of a run.
        given: some of the run's choices, by the names of the options.

    Raises:
        CheckpointError: some of them differ, or an older version did not save them.
    """
    path = folder / CHECKPOINT_FILE
    if path.exists():
        saved = torch.load(path, map_location="cpu", weights_only=True).get("settings", {})
        check_choices(path, {name: value for name, value in saved.items() if name in given}, given)


def check_choices(place: Path, saved: Mapping[str, Choice], given: Mapping[str, Choice]) -> None:
    """Check that a run goes on with the choices that it began with.

    Args:
        place: the folder or checkpoint of the run, for the message.
        saved: by the names of the options, when the run began.
        given: now.

    Raises:
        CheckpointError: some differ, or an older version did not save them.
    """
    unknown = [_option(name) for name in given if name not in saved]
    if unknown:
        raise CheckpointError(
            f"{place} is of an older version, which did not note {', '.join(unknown)}; give --out another "
            "folder, or remove this one."
        )
    changes = [
        f"{_option(name)} was {_value_text(value)}, is {_value_text(given.get(name))}"
        for name, value in saved.items()
        if given.get(name) != value
    ]
    if changes:
        raise CheckpointError(
            f"{place} belongs to a run with other options ({'; '.join(changes)}); give the same ones or "
            "--out another folder, or remove this one."
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _value_text(value: Choice) -> Choice:
    return "not given" if value is None else value
