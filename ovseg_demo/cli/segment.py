"""``ovseg segment``: segment images and write the results to folders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_demo.analysis import Analysis
from ovseg_demo.classification.rules import GranularityRule
from ovseg_demo.classification.suggestions import Suggestion
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
from ovseg_demo.images import ImageSource, load_image, read_source
from ovseg_demo.models.loading import DEFAULT_MODEL
from ovseg_demo.progress import ProgressCallback
from ovseg_demo.runtime.out_of_memory import is_out_of_memory
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.segmenter import CLASSIFIERS, Segmenter
from ovseg_demo.vocabulary import LEARNED, TEMPLATES, Vocabulary, describe_ignored

AUTO = "auto"
"""In place of class names: each image gets the names that are suggested for it."""

_ANALYSIS_SETTINGS = ("generator", "classifier")
_MAP_SETTINGS = ("templates", "granularity")


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
        metavar="NAMES",
        help='class names in quotes, such as "saturn v, toys / plush toys, desk"; a slash joins synonyms; '
        '"auto" takes the names that are suggested for each image',
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where to write a folder for each image, with overlay.png, label_map.png and segmentation.json",
    )
    parser.add_argument(
        "--suggest",
        action="store_true",
        help="print class names that suit each image, and write nothing",
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
    _check_arguments(given)
    vocabulary = _read_classes(given)
    if vocabulary is not None:
        print(vocabulary.describe())
    paths, problems = expand_inputs(given["images"])
    total = len(paths) + len(problems)
    if paths:
        if not given["suggest"]:
            _make_folder(given["output"])
        segmenter = load_chosen(given, **chosen(given, ("points_per_side",)))
        if given["suggest"]:
            work = partial(_suggest_and_describe, segmenter, given)
        else:
            work = partial(_segment_and_save, segmenter, vocabulary, given)
        problems += _work_through(paths, work)
    if problems:
        print(f"{len(problems)} of {total} could not be segmented:", *problems, sep="\n  ", file=sys.stderr)
    return 1 if problems else 0


def _check_arguments(given: Mapping[str, Any]) -> None:
    """Raise :class:`OvsegError` unless the arguments fit together; wrong ones fail before the long work."""
    if given["suggest"]:
        if given["classes"] is not None or given["output"] is not None:
            raise OvsegError(
                "--suggest prints names and writes nothing; leave out --classes and --output, or give "
                "--classes auto to segment with the suggested names."
            )
        return
    missing = [f"--{name}" for name in ("classes", "output") if given[name] is None]
    if missing:
        raise OvsegError(
            f"{' and '.join(missing)} must be given, unless --suggest prints names alone; see "
            '"ovseg segment --help".'
        )
    if "granularity" in given:
        GranularityRule(given["granularity"])


def _read_classes(given: Mapping[str, Any]) -> Vocabulary | None:
    """Return the classes that the user names; ``None`` where they are suggested for each image."""
    if given["suggest"] or given["classes"].strip().casefold() == AUTO:
        return None
    return Vocabulary.parse(given["classes"], distractors=given.get("distractors", ""))


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


def _work_through(paths: Sequence[Path], work: Callable[[Path], str]) -> list[str]:
    """Call ``work`` for each image, print the line it returns, and return a sentence for each failure."""
    problems = []
    with tqdm(paths, desc="Images") as images:
        for path in images:
            try:
                line = work(path)
            except Exception as error:
                problems.append(_describe_failure(path, error))
            else:
                images.write(line, file=sys.stdout)
    return problems


def _segment_and_save(
    segmenter: Segmenter, vocabulary: Vocabulary | None, given: Mapping[str, Any], path: Path
) -> str:
    """Segment an image, save the result, and return a line that describes it."""
    folder = given["output"] / result_folder(path)
    segmentation = _segment(segmenter, path, vocabulary, given)
    _save(segmentation, path, folder, given, is_suggested=vocabulary is None)
    return f"{path.name} → {folder}: {summarise(segmentation)}"


def _suggest_and_describe(segmenter: Segmenter, given: Mapping[str, Any], path: Path) -> str:
    """Return a line with the names that are suggested for an image, in the notation of ``--classes``."""
    with StageBar(position=1) as bar:
        analysis = segmenter.analyze(_read(path, given), progress=bar, **chosen(given, _ANALYSIS_SETTINGS))
        return f"{path.name}: {', '.join(one.name for one in _suggest(analysis, path, bar))}"


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
    segmenter: Segmenter, path: Path, vocabulary: Vocabulary | None, given: Mapping[str, Any]
) -> Segmentation:
    """Return the label map of an image; without a vocabulary, of the names that are suggested for it."""
    with StageBar(position=1) as bar:
        analysis = segmenter.analyze(_read(path, given), progress=bar, **chosen(given, _ANALYSIS_SETTINGS))
        if vocabulary is None:
            names = [one.name for one in _suggest(analysis, path, bar)]
            vocabulary = Vocabulary.parse(names, distractors=given.get("distractors", ""))
        segmentation = analysis.segment(vocabulary, progress=bar, **chosen(given, _MAP_SETTINGS))
    return replace(segmentation, timings=(*analysis.timings, *segmentation.timings))


def _read(path: Path, given: Mapping[str, Any]) -> ImageSource:
    return load_image(path, stretch=True) if given["stretch"] else path


def _suggest(analysis: Analysis, path: Path, progress: ProgressCallback) -> tuple[Suggestion, ...]:
    """Return the names that are suggested for an image.

    Raises:
        ImageError: there are none.
    """
    suggestions = analysis.suggest(progress=progress)
    if not suggestions:
        raise ImageError(
            f'No class name can be suggested for "{path.name}", because no mask was found in it; name '
            "classes with --classes."
        )
    return suggestions


def _save(
    segmentation: Segmentation, path: Path, folder: Path, given: Mapping[str, Any], *, is_suggested: bool
) -> None:
    weights = {name: _as_text(value) for name, value in chosen(given, WEIGHTS).items()}
    settings = {
        "model": given.get("model", None if weights else DEFAULT_MODEL),
        **weights,
        "device": "auto",
        "precision": "auto",
        "points_per_side": None,
        "stretch": given["stretch"],
        "suggested_classes": is_suggested,
        **chosen(given, ("device", "precision", "points_per_side")),
    }
    source = read_source(path)
    try:
        save_segmentation(segmentation, folder, settings=settings, source=source)
    except OSError as error:
        raise _OutputError(folder, error) from error


def _as_text(value: Path | Sequence[str]) -> str | list[str]:
    return str(value) if isinstance(value, Path) else [str(part) for part in value]
