"""The operator's options: command line arguments, or environment variables of the same names."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ovseg_demo.cli.model_arguments import WEIGHTS, add_model_arguments, add_points_argument, chosen
from ovseg_demo.cli.parser import Parser
from ovseg_demo.errors import OvsegError
from ovseg_demo.segmenter import GENERATORS
from ovseg_demo.ui.language.texts import DEFAULT_LANGUAGE, Texts, known_languages, load_texts
from ovseg_demo.ui.server import ServerSettings
from ovseg_demo.ui.settings import PageSettings

PREFIX = "OVSEG_"
PROGRAM = "python app.py"
"""How help texts name the program in a checkout."""

_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True)
class AppOptions:
    """How to start the page.

    Attributes:
        model: the catalogue's model that is chosen at first; ``None`` takes the bundled one for
            photographs.
        weights: files to use instead of a model of the catalogue, by the argument names of
            ``load_segmenter``.
        runtime: device, precision and Segment Anything's points per side, by the names of ``load_segmenter``;
            a missing entry is chosen automatically.
        generator: the proposal generator that is chosen at first; ``None`` takes the model's first.
        preload: load the model and analyze its examples before the page opens.
        page: limits and permissions.
        server: the address, and limits of the server.
    """

    model: str | None = None
    weights: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    runtime: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    generator: str | None = None
    preload: bool = False
    page: PageSettings = field(default_factory=PageSettings)
    server: ServerSettings = field(default_factory=ServerSettings)


def read_options(argv: Sequence[str], environment: Mapping[str, str], prog: str = PROGRAM) -> AppOptions:
    """Return the options that the arguments, or else the environment variables, give.

    An argument ``--max-image-size`` is the variable ``OVSEG_MAX_IMAGE_SIZE``. On a server that Gradio's own
    variable ``GRADIO_SERVER_NAME`` opens, as on a Hugging Face Space, that is the default of ``--host``.

    Raises:
        SystemExit: help was asked for, or an option cannot be used; a sentence on stderr tells why.
    """
    parser = _make_parser(prog, environment.get("GRADIO_SERVER_NAME", ServerSettings.host))
    given = vars(parser.parse_args([*_from_environment(parser, environment), *argv]))
    server = ServerSettings(
        host=given["host"],
        port=given["port"],
        share=given["share"],
        auth=tuple(given["auth"]) or None,
        root_path=given["root_path"],
        trusted_proxies=given["trusted_proxies"],
        mcp=given["mcp"],
    )
    downloads = given["allow_downloads"]
    return AppOptions(
        model=given.get("model"),
        weights=chosen(given, WEIGHTS),
        runtime=chosen(given, ("device", "precision", "points_per_side", "regions")),
        generator=given["generator"],
        preload=given["preload"],
        page=PageSettings(
            max_side=given["max_image_size"],
            allow_downloads=server.is_private if downloads is None else downloads,
            downloads_are_local=downloads is None,
            fetch_addresses=given["mcp"],  # that is how language models send images
            concurrent_analyses=given["concurrency"],
            texts=given["language"],
        ),
        server=server,
    )


def _make_parser(prog: str, default_host: str) -> Parser:
    parser = Parser(
        prog=prog,
        description="Opens the page: type class names, see the map.",
        epilog=f"Each option is an environment variable, too: --port is {PREFIX}PORT, --preload is "
        f"{PREFIX}PRELOAD=1, several of --auth are separated by commas. The command line wins.",
        allow_abbrev=False,
    )
    add_model_arguments(parser)
    _add_page_arguments(parser.add_argument_group("page"))
    _add_server_arguments(parser.add_argument_group("server"), default_host)
    return parser


def _add_page_arguments(page: argparse._ArgumentGroup) -> None:
    page.add_argument(
        "--generator", choices=GENERATORS, help="the proposal generator that is chosen at first"
    )
    add_points_argument(page)
    page.add_argument(
        "--preload",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="analyze the examples before the page opens, so that a click on one is answered at once",
    )
    page.add_argument(
        "--max-image-size",
        type=_number(64, 8192),
        default=PageSettings.max_side,
        metavar="PIXELS",
        help="larger images are scaled down until their longer side has so many (%(default)s)",
    )
    page.add_argument(
        "--language",
        type=_read_language,
        default=DEFAULT_LANGUAGE,
        metavar="LANGUAGE",
        help=f"of the page: {', '.join(known_languages())} (%(default)s); errors are in English",
    )
    page.add_argument(
        "--allow-downloads",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="let all visitors download models to this machine (default: only those at this machine, and "
        "only without --share, --auth, --root-path and --trusted-proxies)",
    )


def _add_server_arguments(server: argparse._ArgumentGroup, default_host: str) -> None:
    server.add_argument(
        "--host", default=default_host, help="0.0.0.0 opens the page to the network (%(default)s)"
    )
    server.add_argument("--port", type=_number(1, 65535), help="by default the first free one from 7860")
    server.add_argument(
        "--share",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="make a public address through Gradio's tunnel",
    )
    server.add_argument(
        "--auth",
        action="append",
        type=_read_login,
        default=[],
        metavar="USER:PASSWORD",
        help="admit only this user; may be repeated (the variable keeps it out of the list of processes)",
    )
    server.add_argument("--root-path", metavar="PATH", help="where a proxy in front puts the page")
    server.add_argument(
        "--trusted-proxies",
        metavar="ADDRESSES",
        help="addresses or networks, separated by commas, of proxies whose X-Forwarded-For names the visitor "
        "(one on this machine is always trusted)",
    )
    server.add_argument(
        "--concurrency",
        type=_number(1, 64),
        default=PageSettings.concurrent_analyses,
        metavar="N",
        help="analyses that run at the same time; others wait (%(default)s)",
    )
    server.add_argument(
        "--mcp",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="serve language models over MCP, too (needs requirements-mcp.txt)",
    )


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f'"{text}" is no whole number from {least} to {most}')
        return int(text)

    return read


def _read_language(name: str) -> Texts:
    try:
        return load_texts(name)
    except OvsegError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _read_login(text: str) -> tuple[str, str]:
    user, _, password = text.partition(":")
    if not user or not password:
        raise argparse.ArgumentTypeError("a login is USER:PASSWORD, neither of them empty")
    return user, password


def _from_environment(parser: Parser, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the command line that says the same as the variables."""
    for action in parser._actions:
        text = environment.get(f"{PREFIX}{action.dest.upper()}")
        if text is None or action.dest == "help":
            continue
        option = action.option_strings[0]
        if isinstance(action, argparse.BooleanOptionalAction):
            yield option if _read_switch(parser, action.dest, text) else f"--no-{option[2:]}"
        elif text:
            for value in _split(action, text):
                yield from (option, *value) if action.nargs else (f"{option}={value}",)


def _split(action: argparse.Action, text: str) -> list[Any]:
    if action.nargs:
        return [shlex.split(text)]
    return text.split(",") if isinstance(action.default, list) else [text]


def _read_switch(parser: Parser, name: str, text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() not in _NO:
        parser.error(f'{PREFIX}{name.upper()} is "{text}"; give 1 or 0')
    return False
