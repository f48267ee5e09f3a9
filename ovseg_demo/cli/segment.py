"""``ovseg segment``: segment images and write the results to folders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_demo.cli.inputs import expand_inputs, result_folder
from ovseg_demo.cli.model_arguments import (
    WEIGHTS,
    add_model_arguments,
    add_points_argument,
    chosen,
    load_chosen,
)
from ovseg_demo.cli.progress_bar import StageBar
from ovseg_demo.errors import DeviceError, ImageError, OvsegError
from ovseg_demo.export.folder import save_segmentation
from ovseg_demo.images import load_image, read_source
from ovseg_demo.models.loading import DEFAULT_MODEL
from ovseg_demo.runtime.out_of_memory import is_out_of_memory
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.segmenter import CLASSIFIERS, Segmenter
from ovseg_demo.vocabulary import LEARNED, TEMPLATES, Vocabulary, describe_ignored

_SETTINGS = ("templates", "generator", "classifier", "granularity")


class _OutputError(OvsegError):
    """A folder for results cannot be written to."""

    def __init__(self, folder: Path, error: OSError):
        reason = error.strerror or error
        super().__init__(
            f'"{folder}" cannot be written to ({reason}); free space, change its permissions, or name '
            "another folder with --output."
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the images, class names, output folder and settings."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help='images, folders, or patterns such as "*.jpg"'
    )
    parser.add_argument(
        "--classes",
        required=True,
        metavar="NAMES",
        help='class names in quotes, such as "saturn v, toys / plush toys, desk"; a slash joins synonyms',
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="where to write a folder for each image, with overlay.png, label_map.png and segmentation.json",
    )
    add_model_arguments(parser)
    group = parser.add_argument_group("settings", argument_default=argparse.SUPPRESS)
    group.add_argument(
        "--generator", metavar="NAME", help="the proposal generator: sam, maskformer or detectron2"
    )
    add_points_argument(group)
    group.add_argument("--classifier", choices=CLASSIFIERS, help="the model that classifies the masks")
    group.add_argument(
        "--granularity",
        type=float,
        metavar="G",
        help="granularity of the masks, from 0 (coarse) to 1 (precise)",
    )
    group.add_argument(
        "--stretch",
        action="store_true",
        default=False,
        help="scale images of more than 8 bits from their own minimum and maximum, for 12-bit data",
    )
    group.add_argument(
        "--distractors", metavar="NAMES", help="names that compete with the classes and are not drawn"
    )
    group.add_argument("--templates", choices=(*TEMPLATES, LEARNED), help="the prompt templates")


def run(arguments: argparse.Namespace) -> int:
    """Segment all images and return the exit code; errors of single images are printed at the end."""
    given = vars(arguments)
    vocabulary = Vocabulary.parse(given["classes"], distractors=given.get("distractors", ""))
    print(vocabulary.describe())
    paths, problems = expand_inputs(given["images"])
    total = len(paths) + len(problems)
    if paths:
        _make_folder(given["output"])
        segmenter = load_chosen(given, **chosen(given, ("points_per_side",)))
        problems += _segment_all(segmenter, vocabulary, paths, given)
    if problems:
        print(f"{len(problems)} of {total} could not be segmented:", *problems, sep="\n  ", file=sys.stderr)
    return 1 if problems else 0


def summarise(segmentation: Segmentation) -> str:
    """Return one line: each class found, with its share of the pixels and its score, then those not found."""
    legend = segmentation.legend()
    found = [f"{entry.name} {entry.share:.1%} ({entry.score:.2f})" for entry in legend if entry.is_found]
    missing = [entry.name for entry in legend if not entry.is_found]
    parts = [", ".join(found)] if found else []
    if missing:
        parts.append(f"not found: {', '.join(missing)}")
    if segmentation.vocabulary.ignored:
        parts.append(describe_ignored(segmentation.vocabulary.ignored))
    return "; ".join(parts)


def _segment_all(
    segmenter: Segmenter, vocabulary: Vocabulary, paths: Sequence[Path], given: Mapping[str, Any]
) -> list[str]:
    """Segment each image, save the results, and return a sentence for each image that fails."""
    problems = []
    with tqdm(paths, desc="Images") as images:
        for path in images:
            folder = given["output"] / result_folder(path)
            try:
                segmentation = _segment(segmenter, path, vocabulary, given)
                _save(segmentation, path, folder, given)
                line = f"{path.name} → {folder}: {summarise(segmentation)}"
            except Exception as error:
                problems.append(_describe_failure(path, error))
                segmentation = None  # frees its memory before the next image
            else:
                images.write(line, file=sys.stdout)
    return problems


def _describe_failure(path: Path, error: Exception) -> str:
    """Return one sentence for an image that failed; raise errors that would stop every image."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, DeviceError | _OutputError):
        return f'"{path.name}": {error}'
    if is_out_of_memory(error):
        return f'"{path.name}": There is too little memory for this image; scale it down.'
    raise error


def _make_folder(folder: Path) -> None:
    """Make the output folder before the long work.

    Raises:
        OvsegError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _OutputError(folder, error) from error


def _segment(
    segmenter: Segmenter, path: Path, vocabulary: Vocabulary, given: Mapping[str, Any]
) -> Segmentation:
    image = load_image(path, stretch=True) if given["stretch"] else path
    with StageBar(position=1) as bar:
        return segmenter.segment(image, vocabulary, progress=bar, **chosen(given, _SETTINGS))


def _save(segmentation: Segmentation, path: Path, folder: Path, given: Mapping[str, Any]) -> None:
    weights = {name: _as_text(value) for name, value in chosen(given, WEIGHTS).items()}
    settings = {
        "model": given.get("model", None if weights else DEFAULT_MODEL),
        **weights,
        "device": "auto",
        "precision": "auto",
        "points_per_side": None,
        "stretch": given["stretch"],
        **chosen(given, ("device", "precision", "points_per_side")),
    }
    source = read_source(path)
    try:
        save_segmentation(segmentation, folder, settings=settings, source=source)
    except OSError as error:
        raise _OutputError(folder, error) from error


def _as_text(value: Path | Sequence[str]) -> str | list[str]:
    return str(value) if isinstance(value, Path) else [str(part) for part in value]
