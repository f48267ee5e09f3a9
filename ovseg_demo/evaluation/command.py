"""The command ``evaluate``: a model's mIoU on a benchmark."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ovseg_demo.classification.rules import EnsembleRule, GranularityRule
from ovseg_demo.cli.exit_codes import SUCCESS
from ovseg_demo.cli.model_arguments import add_model_arguments, load_chosen
from ovseg_demo.cli.progress_bar import StageBar
from ovseg_demo.errors import DatasetError, ModelError, OvsegError
from ovseg_demo.evaluation.catalogue import DATASETS, STICKER_WORLD, open_dataset
from ovseg_demo.evaluation.datasets import Dataset
from ovseg_demo.evaluation.folders import open_labelled_images
from ovseg_demo.evaluation.measures import LabelMaps, Measure, OracleClassifier, OracleMasks
from ovseg_demo.evaluation.scores import Scores
from ovseg_demo.evaluation.tallies import Tally, count_images
from ovseg_demo.segmenter import CLASSIFIERS, Segmenter

_RECORDS = Path("runs/evaluation")

MODEL, ORACLE_MASKS, ORACLE_CLASSIFIER = "model", "oracle masks", "oracle classifier"
"""The measurements; ``--bottleneck`` adds the two with an oracle."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for the benchmark, the model, and how its label maps are drawn."""
    parser.add_argument("--dataset", choices=DATASETS, help=f"default: {STICKER_WORLD}")
    parser.add_argument("--root", type=Path, metavar="DIR", help="of the data set, in its official layout")
    parser.add_argument("--images", type=Path, metavar="DIR", help="your own images, instead of --dataset")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="DIR",
        help="their label images (PNG or TIFF, one value a pixel), with the same relative paths; or a COCO "
        "instance file",
    )
    parser.add_argument(
        "--names",
        type=Path,
        metavar="FILE",
        help='the names of the values in label images: lines such as "7: road", or a JSON object',
    )
    parser.add_argument(
        "--scenes",
        type=int,
        metavar="N",
        help=f"of {STICKER_WORLD}: other scenes than the fixed 200 of the benchmark",
    )
    parser.add_argument("--seed", type=int, metavar="S", help="of the first of those scenes (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument(
        "--bottleneck",
        action="store_true",
        help="also measure perfect masks, and the model's masks with a perfect classifier",
    )
    parser.add_argument(
        "--records",
        type=Path,
        default=_RECORDS,
        metavar="DIR",
        help="counts of an interrupted run, which the same command resumes (default: %(default)s)",
    )
    add_model_arguments(parser)
    group = parser.add_argument_group("settings", argument_default=argparse.SUPPRESS)
    group.add_argument("--generator", metavar="NAME", help="of masks: sam, maskformer or detectron2")
    group.add_argument("--classifier", choices=CLASSIFIERS, help="classifier of the masks")
    group.add_argument(
        "--rule",
        choices=("granularity", "ensemble"),
        help='how masks become a map; default: "ensemble" for maskformer, else "granularity"',
    )
    group.add_argument(
        "--granularity",
        type=float,
        metavar="G",
        help='of the masks, with the rule "granularity" (default: 0, all masks take part)',
    )
    group.add_argument(
        "--clip-weight",
        type=float,
        metavar="W",
        help="CLIP's share in the ensemble rule, from 0 to 1 (default: the model's for this data set)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the figures and a table of the classes, and write the JSON."""
    given = vars(arguments)
    if given["json"] is not None:
        _check_writable(given["json"])
    dataset = _open(given)
    segmenter = load_chosen(given, benchmark=dataset.name)
    settings = choose_settings(segmenter, given)
    scores, tally = evaluate(segmenter, dataset, settings, given["bottleneck"], given["records"])
    print(scores[MODEL].table())
    print(f"\n{dataset.name}, {len(dataset.keys):,} images, {_one_line(settings)}:")
    for name, measured in scores.items():
        print(f"  {name}: {measured.summary()}")
    if given["json"] is not None:
        _write_json(given["json"], dataset, settings, given, scores)
    tally.remove()  # last: where the file cannot be written, the counts are still there
    return SUCCESS


def _open(given: Mapping[str, Any]) -> Dataset:
    """Return the data set that the arguments choose.

    Raises:
        DatasetError: arguments of a benchmark and of own images are mixed, or files are missing.
    """
    own = {name: given[name] for name in ("images", "labels", "names")}
    if not any(own.values()):
        name = given["dataset"] or STICKER_WORLD
        return open_dataset(name, given["root"], scenes=given["scenes"], seed=given["seed"])
    of_benchmarks = [name for name in ("dataset", "root", "scenes", "seed") if given[name] is not None]
    if of_benchmarks:
        raise DatasetError(
            f"--images and --{of_benchmarks[0]} name different data sets; leave out one of them."
        )
    if own["images"] is None or own["labels"] is None:
        raise DatasetError("Your own data set needs both --images and --labels.")
    return open_labelled_images(own["images"], own["labels"], own["names"])


def choose_settings(segmenter: Segmenter, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of :meth:`Segmenter.segment`: the given ones, and the benchmarks' defaults.

    Raises:
        ModelError: a number is out of its range, or is of the rule that is not used.
    """
    generator = given.get("generator") or (
        "maskformer" if given.get("rule") == "ensemble" else segmenter.generators[0]
    )
    is_ensemble = given.get("rule", "ensemble" if generator == "maskformer" else "") == "ensemble"
    if is_ensemble and "granularity" in given:
        raise ModelError(
            f'--granularity {given["granularity"]:g} does nothing in the rule "ensemble"; add --rule '
            "granularity, or leave it out."
        )
    if not is_ensemble and "clip_weight" in given:
        raise ModelError(
            f'--clip-weight {given["clip_weight"]:g} does nothing in the rule "granularity"; choose '
            "--generator maskformer and --rule ensemble, or leave it out."
        )
    return {
        "generator": generator,
        "classifier": given.get("classifier", CLASSIFIERS[0]),
        "rule": EnsembleRule(given.get("clip_weight", segmenter.clip_weight))
        if is_ensemble
        else GranularityRule(given.get("granularity", 0.0)),
    }


def describe_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as plain values, for JSON and for telling runs apart."""
    rule = settings["rule"]
    name = "ensemble" if isinstance(rule, EnsembleRule) else "granularity"
    own = {key: value for key, value in asdict(rule).items() if value is not None}
    return {**settings, "rule": name, **own}


def _one_line(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{value}" for value in describe_settings(settings).values())


def evaluate(
    segmenter: Segmenter,
    dataset: Dataset,
    settings: Mapping[str, Any],
    bottleneck: bool = False,
    records: Path = _RECORDS,
) -> tuple[dict[str, Scores], Tally]:
    """Return the scores of a model on a data set, and their counts; print a progress bar.

    An interrupted run is resumed.

    Args:
        segmenter: the model.
        dataset: the images.
        settings: arguments of :meth:`Segmenter.segment`.
        bottleneck: measure with oracles too.
        records: folder for the counts of an interrupted run.

    Returns:
        Scores of the model and of the oracles, and the tally of their counts, which the caller removes.

    Raises:
        OvsegError: the data or the settings cannot be used.
    """
    vocabulary = dataset.vocabulary
    measures: dict[str, Measure] = {MODEL: LabelMaps(segmenter, vocabulary, settings)}
    if bottleneck:
        measures[ORACLE_MASKS] = OracleMasks(segmenter, vocabulary, settings["classifier"])
        soft = isinstance(settings["rule"], EnsembleRule)
        measures[ORACLE_CLASSIFIER] = OracleClassifier(segmenter, vocabulary, settings["generator"], soft)
    fingerprint = segmenter.fingerprint(generator=settings["generator"], classifier=settings["classifier"])
    identity = (
        dataset.name,
        dataset.keys,
        sorted(describe_settings(settings).items()),
        sorted(measures),
        fingerprint,
    )
    tally = Tally.in_folder(records, *identity)
    with StageBar(leave=True) as bar:
        counts = count_images(dataset, measures, tally, bar)
    return {name: Scores.of(counts[name]["confusion"], dataset) for name in measures}, tally


def _check_writable(path: Path) -> None:
    """Check that a file can be written, before hours of measuring.

    Raises:
        OvsegError: its folder is missing or protected, or it is a folder itself.
    """
    is_new = not path.exists()
    try:
        path.open("a").close()
    except OSError as error:
        raise _not_writable(path, error) from error
    if is_new:
        path.unlink()


def _write_json(
    path: Path,
    dataset: Dataset,
    settings: Mapping[str, Any],
    given: Mapping[str, Any],
    scores: Mapping[str, Scores],
) -> None:
    record = {
        "model": given.get("model"),
        "dataset": dataset.name,
        "images": len(dataset.keys),
        "settings": describe_settings(settings),
        **scores[MODEL].record(),
    }
    oracles = {name.replace(" ", "_"): scores[name].record() for name in scores if name != MODEL}
    if oracles:
        record["bottleneck"] = oracles
    try:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise _not_writable(path, error) from error


def _not_writable(path: Path, error: OSError) -> OvsegError:
    return OvsegError(f'"{path}" cannot be written ({error.strerror}); name another --json file.')
