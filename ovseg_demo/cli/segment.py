"""``ovseg segment``: segment images, one or a whole data set, and write the results to a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovseg_demo.classification.rules import GranularityRule
from ovseg_demo.cli.exit_codes import SOME_FAILED, SUCCESS
from ovseg_demo.cli.model_arguments import (
    WEIGHTS,
    add_model_arguments,
    add_points_argument,
    chosen,
    load_chosen,
)
from ovseg_demo.cli.progress_bar import StageBar
from ovseg_demo.datasets.inputs import find_images
from ovseg_demo.datasets.items import Item
from ovseg_demo.datasets.job import AUTO, DEFAULT_FORMATS, INDEXED, Job
from ovseg_demo.datasets.ray_engine import run_on_ray
from ovseg_demo.datasets.remote import parse_place
from ovseg_demo.datasets.resume import check_settings
from ovseg_demo.datasets.runner import Counts, Done, Failure, Outcome, describe_failure, run_local
from ovseg_demo.datasets.store import ERRORS, ResultStore
from ovseg_demo.errors import OvsegError, VocabularyError
from ovseg_demo.export.formats import FORMATS
from ovseg_demo.models.loading import DEFAULT_MODEL
from ovseg_demo.progress import ProgressCallback
from ovseg_demo.runtime.caching import ByteCache
from ovseg_demo.segmenter import CLASSIFIERS, Caches
from ovseg_demo.vocabulary import LEARNED, TEMPLATES, Vocabulary

_SETTINGS = ("templates", "generator", "classifier")
_LISTED = 20  # failures in the summary, where a file has all
_NOT_COMPARED = "-"  # in place of the fingerprint of weights, where nothing is recorded


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the images, class names, output folder and settings."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help='images, folders with their sub-folders, patterns such as "*.jpg", lists (CSV or JSON Lines '
        'with "path" and "classes"), Parquet files, or folders that Hugging Face\'s datasets saved; also '
        "addresses such as s3://bucket/folder",
    )
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help='class names in quotes, such as "saturn v, toys / plush toys, desk"; a slash joins synonyms; '
        '"auto" takes the names that are suggested for each image. Names in a list count instead',
    )
    parser.add_argument(
        "--output",
        type=parse_place,
        metavar="DIR",
        help="where to write a folder for each image below images/, and annotations.json, a COCO data set of "
        "all. The same command continues an interrupted run",
    )
    parser.add_argument(
        "--suggest",
        action="store_true",
        help="print class names that suit each image, and write nothing",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace results of other settings in the output folder",
    )
    parser.add_argument(
        "--format",
        nargs="+",
        choices=FORMATS,
        default=DEFAULT_FORMATS,
        metavar="FORMAT",
        help=f"the files of each image, among {', '.join(FORMATS)} (default: {' '.join(DEFAULT_FORMATS)})",
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where the networks run: in this process, or on workers of Ray (extra: ray)",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="of Ray (default: %(default)s)")
    parser.add_argument(
        "--gpus-per-worker",
        type=float,
        default=0,
        metavar="G",
        help="GPUs of each worker of Ray; a fraction lets workers share one (default: %(default)s)",
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
    _describe_names(given)
    items, problems = find_images(given["images"], leave_out=given["output"])
    if not items:
        _print_failures(problems, len(problems), len(problems))
        return SOME_FAILED
    if given["suggest"]:
        return _suggest_all(_make_job({**given, "classes": AUTO}, weights=_NOT_COMPARED), items, problems)
    _check_names(items, given)
    with ResultStore(given["output"]) as store:
        job = _make_job(given)
        check_settings(store, job, items, replaces=given["overwrite"])
        store.clear_errors()  # not before: a run that is refused leaves the errors of the last one
        for problem in problems:
            store.add_error({"file": "", "error": problem, "kind": "ImageError"})
        return _segment_all(job, items, problems, store, given)


def _check_arguments(given: Mapping[str, Any]) -> None:
    """Raise :class:`OvsegError` unless the arguments fit together; wrong ones fail before the long work."""
    if given["suggest"]:
        if given["classes"] is not None or given["output"] is not None:
            raise OvsegError(
                "--suggest prints names and writes nothing; leave out --classes and --output, or give "
                "--classes auto to segment with the suggested names."
            )
    elif given["output"] is None:
        missing = [f"--{name}" for name in ("classes", "output") if given[name] is None]
        raise OvsegError(
            f"{' and '.join(missing)} must be given, unless --suggest prints names alone; see "
            '"ovseg segment --help".'
        )
    if given["workers"] < 1:
        raise OvsegError(f"--workers is {given['workers']}; choose 1 or more.")
    if not given["gpus_per_worker"] >= 0:  # not a number, either
        raise OvsegError(f"--gpus-per-worker is {given['gpus_per_worker']:g}; choose 0 or more.")


def _describe_names(given: Mapping[str, Any]) -> None:
    if given["classes"] is not None and given["classes"].strip().casefold() != AUTO:
        vocabulary = Vocabulary.parse(given["classes"], distractors=given.get("distractors", ""))
        print(vocabulary.describe())


def _check_names(items: Sequence[Item], given: Mapping[str, Any]) -> None:
    """Check before the long work that each image has class names.

    Raises:
        OvsegError: one has none, or a format needs the same for all.
    """
    nameless = next((item for item in items if item.names is None), None)
    if nameless is not None and given["classes"] is None:
        raise VocabularyError(
            f'--classes must be given, since "{nameless.name}" has no class names of its own in a list.'
        )
    indexed = [name for name in given["format"] if name in INDEXED]
    own = any(item.names is not None for item in items) or given["classes"].strip().casefold() == AUTO
    if indexed and own:
        raise OvsegError(
            f'The format "{indexed[0]}" numbers the classes of the whole data set; give the same class names '
            "to all images with --classes."
        )


def _make_job(
    given: Mapping[str, Any], weights: str | None = None, whole: Mapping[str, Any] | None = None
) -> Job:
    """Return the job of the arguments.

    Args:
        given: the arguments, as they are recorded.
        weights: the fingerprint, if it is known.
        whole: the same with paths that another process finds; by default ``given``.
    """
    # An image is segmented once, so its analysis is not kept.
    caches = Caches(analyses=ByteCache(0))
    segmenter = load_chosen(whole or given, **chosen(given, ("points_per_side",)), caches=caches)
    if weights is None:
        with StageBar() as progress:
            weights = segmenter.fingerprint(**chosen(given, ("generator", "classifier")), progress=progress)
    files = {name: _as_text(value) for name, value in chosen(given, WEIGHTS).items()}
    description = {
        "model": given.get("model", None if files else DEFAULT_MODEL),
        "device": "auto",
        "precision": "auto",
        "points_per_side": None,
        **chosen(given, ("device", "precision", "points_per_side", "regions")),
    }
    return Job(
        segmenter,
        given["classes"],
        distractors=given.get("distractors", ""),
        rule=GranularityRule(given["granularity"]) if "granularity" in given else None,
        stretch=given["stretch"],
        formats=given["format"],
        description=description,
        weights_files=files,
        weights=weights,
        **chosen(given, _SETTINGS),
    )


def _with_whole_paths(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with weights files that are found from any working folder."""

    def complete(value: Path | str) -> Path | str:
        path = Path(value)
        return type(value)(path.absolute()) if path.exists() else value  # else a name such as open_clip:…

    def complete_all(value: Path | str | Sequence[str]) -> Path | str | list[str]:
        return complete(value) if isinstance(value, str | Path) else [complete(part) for part in value]

    return {**given, **{name: complete_all(value) for name, value in chosen(given, WEIGHTS).items()}}


def _segment_all(
    job: Job, items: Sequence[Item], problems: Sequence[str], store: ResultStore, given: Mapping[str, Any]
) -> int:
    counts, failures = Counts(), list(problems)
    with tqdm(total=len(items), desc="Images") as bar:

        def on_outcome(outcome: Outcome) -> None:
            counts.add(outcome)
            bar.update()
            if isinstance(outcome, Failure):
                store.add_error(outcome.line())
                failures.append(outcome.sentence)
                del failures[_LISTED:]
            elif isinstance(outcome, Done):
                folder = store.image_folder(outcome.key)
                line = f"{outcome.item.name} → {folder}: {outcome.summary}"
                bar.write(line, file=sys.stdout)

        try:
            _segment(items, job, store, given, on_outcome)
        except KeyboardInterrupt:
            bar.close()
            finished = store.merge()
            print(
                f"{finished:,} images are finished in {store.address}; the same command continues.",
                file=sys.stderr,
            )
            raise
    finished = store.merge()
    _describe_end(store, counts, finished)
    failed, total = counts.failed + len(problems), len(items) + len(problems)
    if failed:
        _print_failures(failures, failed, total, file=ERRORS)
    return SOME_FAILED if failed else SUCCESS


def _segment(
    items: Sequence[Item],
    job: Job,
    store: ResultStore,
    given: Mapping[str, Any],
    on_outcome: Callable[[Outcome], None],
) -> None:
    if given["engine"] == "local":
        run_local(items, job, store, on_outcome=on_outcome, progress=_stage_bar)
        return
    run_on_ray(
        items,
        job,
        partial(_make_job, dict(given), job.weights, _with_whole_paths(given)),
        store,
        workers=given["workers"],
        gpus_per_worker=given["gpus_per_worker"],
        on_outcome=on_outcome,
    )


def _suggest_all(job: Job, items: Sequence[Item], problems: Sequence[str]) -> int:
    """Print a line with suggested names for each image, and return the exit code."""
    failures = list(problems)
    with tqdm(items, desc="Images") as bar:
        for item in bar:
            try:
                with _stage_bar() as progress:
                    names = job.suggest(job.load(item), item, progress)
                bar.write(f"{item.name}: {', '.join(names)}", file=sys.stdout)
            except Exception as error:
                failure = describe_failure(item, error)
                if not isinstance(failure, Failure):
                    raise
                failures.append(failure.sentence)
    if failures:
        _print_failures(failures, len(failures), len(items) + len(problems))
    return SOME_FAILED if failures else SUCCESS


def _stage_bar() -> AbstractContextManager[ProgressCallback]:
    return StageBar(position=1)


def _describe_end(store: ResultStore, counts: Counts, finished: int) -> None:
    skipped = f", {counts.skipped:,} were finished before" if counts.skipped else ""
    of_all = "1 image" if finished == 1 else f"{finished:,} images"
    print(f"{counts.done:,} done{skipped}. {store.annotations}: {of_all}")


def _print_failures(sentences: Sequence[str], failed: int, total: int, file: str | None = None) -> None:
    """Print what failed: the first sentences where ``file`` has them all, or else every sentence."""
    lines = list(sentences if file is None else sentences[:_LISTED])
    if failed > len(lines):
        lines.append(f"… and {failed - len(lines):,} more in {file}")
    print(f"{failed:,} of {total:,} could not be segmented:", *lines, sep="\n  ", file=sys.stderr)


def _as_text(value: Path | Sequence[str]) -> str | list[str]:
    return str(value) if isinstance(value, str | Path) else [str(part) for part in value]
