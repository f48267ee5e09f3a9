"""Arguments that several commands share, for the choice of a model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg_demo.classification.types import REGIONS
from ovseg_demo.models.loading import load_segmenter
from ovseg_demo.proposals.sam.grid import AUTO
from ovseg_demo.runtime.devices import DEVICES, PRECISIONS
from ovseg_demo.segmenter import MOST_POINTS_PER_SIDE, Segmenter

WEIGHTS = ("ovseg", "sam", "clip", "maskclippp", "unadapted", "detectron2")
"""The names of the arguments that take weights files."""

_OPTIONS = (*WEIGHTS, "regions", "device", "precision")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a model, weights files and a device.

    The parser's result contains only arguments that the user gives; :func:`load_segmenter` has the defaults.
    """
    group = parser.add_argument_group("model", argument_default=argparse.SUPPRESS)
    group.add_argument("--model", metavar="NAME", help='"python -m ovseg_demo models" lists them')
    group.add_argument("--ovseg", type=Path, metavar="FILE", help="an OVSeg or SimSeg checkpoint")
    group.add_argument("--sam", type=Path, metavar="FILE", help="a Segment Anything checkpoint")
    group.add_argument(
        "--clip",
        metavar="CLIP",
        help="a CLIP: a weights file, a folder in open_clip's layout, or open_clip:NAME/TAG",
    )
    group.add_argument("--maskclippp", type=Path, metavar="FILE", help="a MaskCLIP++ checkpoint, with --clip")
    group.add_argument("--unadapted", type=Path, metavar="FILE", help="another CLIP, for comparison")
    group.add_argument("--detectron2", nargs=2, metavar=("CONFIG", "WEIGHTS"), help="a detectron2 model")
    group.add_argument(
        "--regions",
        choices=REGIONS,
        help="how CLIP reads a masked region: one crop for each mask, or one pass of the image for all "
        "(text-region for ViTs, the others for convolutional towers)",
    )
    group.add_argument("--device", choices=DEVICES, help="auto uses a GPU if there is one")
    group.add_argument(
        "--precision",
        choices=("auto", *PRECISIONS),
        help="auto runs CLIP in half precision where that is faster, and the rest in float32; bfloat16 is "
        "many times slower on a CPU that has no instructions for it",
    )


def add_points_argument(group: argparse._ActionsContainer) -> None:
    """Add the argument that sets the grid of points at which Segment Anything proposes masks."""
    group.add_argument(
        "--points-per-side",
        "--points",
        type=_read_points,
        default=argparse.SUPPRESS,
        metavar="N",
        help="points along each side of Segment Anything's grid, or auto; by default the model's own number, "
        "which is 32 for published models. auto means 16 on a CPU and 32 on a GPU, or fewer if the image "
        "encoder has a small map. With 16 instead of 32, a CPU is up to four times as fast, but the masks of "
        "small objects may be missing",
    )


def _read_points(text: str) -> int | str:
    if text == AUTO:
        return text
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_POINTS_PER_SIDE:
        raise argparse.ArgumentTypeError(
            f'"{text}" is neither a whole number from 1 to {MOST_POINTS_PER_SIDE} nor "{AUTO}"'
        )
    return int(text)


def load_chosen(given: Mapping[str, Any], **options: Any) -> Segmenter:
    """Return the segmenter that the arguments choose.

    Args:
        given: the arguments by name.
        options: further options of :func:`load_segmenter`.

    Raises:
        OvsegError: there is no such model, file or device; the message names the remedy.
    """
    return load_segmenter(given.get("model"), **chosen(given, _OPTIONS), **options)


def chosen(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the arguments among ``names`` that the user gave."""
    return {name: given[name] for name in names if name in given}
