"""Which model a command is to use: arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg_demo.models.loading import load_segmenter
from ovseg_demo.proposals.sam.grid import AUTO
from ovseg_demo.runtime.devices import DEVICES, PRECISIONS
from ovseg_demo.segmenter import Segmenter

_MOST_POINTS = 64

WEIGHTS = ("ovseg", "sam", "clip", "unadapted", "detectron2")
"""Arguments that name weights files."""

_OPTIONS = (*WEIGHTS, "device", "precision")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a command choose a model, weights files and a device.

    What is not given is left out of the parser's result: each default has its one place elsewhere.
    """
    group = parser.add_argument_group("model", argument_default=argparse.SUPPRESS)
    group.add_argument("--model", metavar="NAME", help='"python -m ovseg_demo models" lists them')
    group.add_argument("--ovseg", type=Path, metavar="FILE", help="an OVSeg or SimSeg checkpoint")
    group.add_argument("--sam", type=Path, metavar="FILE", help="a Segment Anything checkpoint")
    group.add_argument("--clip", type=Path, metavar="FILE", help="a CLIP checkpoint")
    group.add_argument("--unadapted", type=Path, metavar="FILE", help="another CLIP, for comparison")
    group.add_argument("--detectron2", nargs=2, metavar=("CONFIG", "WEIGHTS"), help="a detectron2 model")
    group.add_argument("--device", choices=DEVICES, help="auto takes a GPU if there is one")
    group.add_argument(
        "--precision",
        choices=("auto", *PRECISIONS),
        help="auto runs CLIP in half precision where that is faster, and all else in float32; bfloat16 is "
        "many times slower on a CPU without instructions for it",
    )


def add_points_argument(group: argparse._ActionsContainer) -> None:
    """Let a command choose the grid of points at which Segment Anything looks for masks."""
    group.add_argument(
        "--points-per-side",
        "--points",
        type=_read_points,
        default=argparse.SUPPRESS,
        metavar="N",
        help="of Segment Anything's grid (by default the model's, 32 for published ones), or auto: 16 on a "
        "CPU and 32 on a GPU, fewer for an image encoder with a small map. 16 are a quarter of the points of "
        "32: up to four times as fast on a CPU, and small things may be missed",
    )


def _read_points(text: str) -> int | str:
    if text == AUTO:
        return text
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_POINTS:
        raise argparse.ArgumentTypeError(
            f'"{text}" is neither a whole number from 1 to {_MOST_POINTS} nor "{AUTO}"'
        )
    return int(text)


def load_chosen(given: Mapping[str, Any], **options: Any) -> Segmenter:
    """The segmenter that the arguments (as a mapping) ask for.

    Args:
        given: the arguments.
        options: more of :func:`load_segmenter`.

    Raises:
        OvsegError: there is no such model, file or device; the message tells the remedy.
    """
    return load_segmenter(given.get("model"), **chosen(given, _OPTIONS), **options)


def chosen(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Those of some arguments that were given."""
    return {name: given[name] for name in names if name in given}
