"""Command-line options from the fields of a dataclass."""

from __future__ import annotations

import argparse
from dataclasses import fields
from types import NoneType
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

Options = TypeVar("Options")


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """Add an option ``--some-field`` for each field ``some_field`` of a dataclass.

    A field's type is ``Annotated[T, "its help"]``. A ``bool`` becomes a switch, a ``Literal`` has choices,
    and the text of ``T | None`` is parsed as T.
    """
    types = get_type_hints(options, include_extras=True)
    for entry in fields(options):
        kind, description = get_args(types[entry.name])
        flag = f"--{entry.name.replace('_', '-')}"
        settings = {"default": argparse.SUPPRESS, "help": description}
        if kind is bool:
            parser.add_argument(flag, action="store_true", **settings)
        elif get_origin(kind) is Literal:
            parser.add_argument(flag, choices=get_args(kind), **settings)
        else:
            parse = next((part for part in get_args(kind) if part is not NoneType), kind)
            parser.add_argument(flag, type=parse, metavar=entry.name.upper(), **settings)


def read_options(options: type[Options], arguments: argparse.Namespace) -> Options:
    """Return the dataclass of the parsed arguments; fields that were not given have their defaults."""
    given = vars(arguments)
    return options(**{entry.name: given[entry.name] for entry in fields(options) if entry.name in given})
