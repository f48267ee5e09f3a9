"""``ovseg models``: list the catalogue of models."""

from __future__ import annotations

import argparse

from ovseg_demo.cli.exit_codes import SUCCESS
from ovseg_demo.models.catalogue import CATALOGUE, OPTIONAL_ROLES, ROLES, ModelSpec
from ovseg_demo.models.weights_files import format_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command takes no arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print each model with its files, their licences and sizes, and the command to download missing ones."""
    print("\n\n".join(describe(spec) for spec in CATALOGUE.values()))
    return SUCCESS


def describe(spec: ModelSpec) -> str:
    """Return the description of one model, a line for each of its files."""
    lines = [f"{spec.name}: {spec.title}", f"    {spec.description}"]
    lines.append(f"    about {spec.seconds:g} s for {_work(spec)} on two processor cores")
    for role, file in spec.parts.items():
        state = "present" if file.present() else "not here"
        optional = ", optional" if role in OPTIONAL_ROLES else ""
        lines.append(
            f"    - {ROLES[role]}{optional}: {file.name}, {format_size(file.size)}, {file.licence}, {state}"
        )
    if spec.missing():
        lines.append(f"    get it: python -m ovseg_demo download {spec.name}")
    return "\n".join(lines)


def _work(spec: ModelSpec) -> str:
    """Return what takes the seconds of a model."""
    if spec.generators and spec.classifies:
        return "a first analysis"
    return "100 masks" if spec.classifies else "the masks of an image"
