"""The command line: ``ovseg COMMAND …``, or ``python -m ovseg_demo COMMAND …`` in a checkout."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ovseg_demo.cli.exit_codes import exit_code
from ovseg_demo.cli.parser import Parser


class Command(NamedTuple):
    """A sub-command.

    Attributes:
        module: the name of a module with ``add_arguments(parser)`` and ``run(arguments) -> exit code``. It is
            imported when the command is called.
        summary: one line for the list of commands.
        parses: whether the module has ``main(argv, prog) -> exit code`` instead and parses the arguments
            itself.
    """

    module: str
    summary: str
    parses: bool = False


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "serve": Command("ovseg_demo.cli.serve", "open the page in the browser", parses=True),
        "segment": Command("ovseg_demo.cli.segment", "segment images into classes that you name"),
        "models": Command("ovseg_demo.cli.models", "list the models, their licences and their files"),
        "download": Command("ovseg_demo.cli.download", "download the weights of a model"),
        "evaluate": Command("ovseg_demo.evaluation.command", "measure a model on a benchmark"),
        "train": Command("ovseg_demo.training.command", "train a model by the paper's recipe"),
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code.

    Args:
        argv: the arguments after the program's name; by default those of the process.

    Returns:
        The exit code. A user error prints one sentence on stderr.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    name = next((argument for argument in given if not argument.startswith("-")), None)
    command = COMMANDS.get(name)
    module = import_module(command.module) if command else None
    if command and command.parses and given[0] == name:
        return module.main(given[1:], f"{_program()} {name}")
    parser = _make_parser(name, module)
    arguments = parser.parse_args(given)
    with warnings.catch_warnings():
        # Our own error messages describe faulty images.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        return exit_code(lambda: module.run(arguments))


def _make_parser(chosen: str | None, module: object) -> Parser:
    """Return a parser of all commands; only the chosen command has its arguments."""
    parser = Parser(
        prog=_program(),
        description="Open-vocabulary semantic segmentation: name the classes, get the map.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        child = commands.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            allow_abbrev=False,
        )
        if name == chosen and not command.parses:
            module.add_arguments(child)
    return parser


def _program() -> str:
    """Return the command that started this process: the installed ``ovseg``, or the module."""
    return "ovseg" if Path(sys.argv[0]).stem == "ovseg" else "python -m ovseg_demo"
