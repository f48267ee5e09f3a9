"""The command that measures a model of Sticker World and writes ``docs/results.md``.

One pass over the scenes measures all classifiers, so that each scene's proposals are computed once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg_demo.classification.rules import EnsembleRule
from ovseg_demo.cli.exit_codes import SUCCESS, exit_code
from ovseg_demo.cli.model_arguments import add_model_arguments, chosen, load_chosen
from ovseg_demo.cli.progress_bar import StageBar
from ovseg_demo.evaluation.colours import colour_accuracy
from ovseg_demo.evaluation.measures import (
    Counts,
    Coverage,
    LabelMaps,
    Measure,
    OracleClassifier,
    OracleMasks,
    UnmaskedRegions,
)
from ovseg_demo.evaluation.results_page import GENERATORS, Page, format_page, read_notes
from ovseg_demo.evaluation.scores import Scores, accuracy
from ovseg_demo.evaluation.sticker_world import BASE_NOUNS, NOVEL, STUFF, StickerScenes
from ovseg_demo.evaluation.tallies import Tally, count_images
from ovseg_demo.segmenter import Caches, Segmenter
from ovseg_demo.sticker_world import BENCHMARK_SEEDS

_OTHER_SETS = 910_000
_BETWEEN_SETS = 10_000

Figures = dict[str, float]


@dataclass(frozen=True)
class Contender:
    """A classifier of masks that is compared.

    Attributes:
        title: in the tables.
        classifier: of its segmenter.
        run: folder of its training stage in the runs; ``None``: a part of the model itself.
    """

    title: str
    classifier: str = "mask-adapted"
    run: str | None = None


CONTENDERS: Mapping[str, Contender] = {
    "un-adapted": Contender("CLIP, un-adapted", "un-adapted"),
    "control": Contender("fine-tuned on the same regions unmasked (control)", run="finetune-unmasked"),
    "prompts": Contender("mask prompts only", run="mask-prompts-only"),
    "captions": Contender("fine-tuned, pairs from captions", run="finetune-captions"),
    "captions+prompts": Contender(
        "fine-tuned + mask prompts, pairs from captions", run="mask-prompts-captions"
    ),
    "fine-tuned": Contender("fine-tuned, pairs from labels", "mask-adapted-no-prompts"),
    "shipped": Contender("fine-tuned + mask prompts, pairs from labels (bundled)"),
}
"""The classifiers that are compared, as in Table 3 of the paper, by their names in the figures."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A contender whose weights are present."""

    segmenter: Segmenter
    classifier: str


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the model and write the page; returns the exit code."""
    given = vars(_make_parser().parse_args(argv))

    def run() -> int:
        entries = find_contenders(given, given["runs"])
        page = measure_all(entries, given["scenes"], given["sets"], given["records"])
        given["out"].parent.mkdir(parents=True, exist_ok=True)
        given["out"].write_text(format_page(page, read_notes(given["out"])), encoding="utf-8")
        return SUCCESS

    return exit_code(run, resumes=True)


def find_contenders(given: Mapping[str, Any], runs: Path) -> dict[str, Entry]:
    """Return the entries of :data:`CONTENDERS` whose weights are present, in the model or in a training run.

    Args:
        given: arguments that choose the model.
        runs: folder of the training runs.

    Raises:
        OvsegError: the model cannot be loaded.
    """
    caches = Caches()
    if not chosen(given, ("ovseg", "sam", "clip")):  # else a run's CLIP would replace the whole model
        given = {"model": StickerScenes.name, **given}
    model = load_chosen(given, benchmark=StickerScenes.name, caches=caches)
    entries = {}
    for name, contender in CONTENDERS.items():
        if contender.run is None:
            if contender.classifier in model.classifiers:
                entries[name] = Entry(model, contender.classifier)
        elif (weights := runs / contender.run / "weights.pt").is_file():
            variant = load_chosen({**given, "clip": weights}, benchmark=StickerScenes.name, caches=caches)
            entries[name] = Entry(variant, contender.classifier)
    return entries


def measure_all(entries: Mapping[str, Entry], scenes: int, sets: int, records: Path) -> Page:
    """Measure all contenders on the benchmark, and the shipped one on other sets of as many scenes.

    Args:
        entries: by name; "shipped" must be among them.
        scenes: of each set.
        sets: number of sets: the benchmark, and others that give the deviation.
        records: folder for the counts of an interrupted run.
    """
    benchmark = StickerScenes(BENCHMARK_SEEDS[:scenes])
    others = [StickerScenes.from_seed(_OTHER_SETS + i * _BETWEEN_SETS, scenes) for i in range(sets - 1)]
    tallies = []
    with StageBar(leave=True) as bar:

        def figures_on(dataset: StickerScenes, some: Mapping[str, Entry]) -> dict[str, Figures]:
            tally = _open_tally(records, dataset, some)
            tallies.append(tally)
            counts = count_images(dataset, _measures(some), tally, bar)
            figures = {name: _figures(counts, name, dataset) for name in some}
            shipped = some["shipped"]
            figures["shipped"]["colours"] = colour_accuracy(
                shipped.segmenter, shipped.classifier, first_seed=dataset.seeds[0], progress=bar
            )
            return figures

        first = figures_on(benchmark, entries)
        shipped = {name: entries[name] for name in ("un-adapted", "shipped") if name in entries}
        repeats = [figures_on(dataset, shipped) for dataset in others]
    for tally in tallies:
        tally.remove()
    titles = {name: contender.title for name, contender in CONTENDERS.items()}
    weight = entries["shipped"].segmenter.clip_weight
    return Page(scenes=scenes, clip_weight=weight, titles=titles, figures=first, repeats=repeats)


def _open_tally(records: Path, dataset: StickerScenes, entries: Mapping[str, Entry]) -> Tally:
    generators = entries["shipped"].segmenter.generators
    fingerprints = [
        (name, entry.segmenter.fingerprint(generator=generator, classifier=entry.classifier))
        for name, entry in entries.items()
        for generator in generators
    ]
    return Tally.in_folder(records, dataset.seeds, fingerprints)


def _measures(entries: Mapping[str, Entry]) -> dict[str, Measure]:
    """Return the measures, by contender and figure, such as "shipped/sam"."""
    measures: dict[str, Measure] = {}
    for name, entry in entries.items():
        segmenter, classifier = entry.segmenter, entry.classifier
        vocabulary = StickerScenes.vocabulary
        measures[f"{name}/oracle"] = OracleMasks(segmenter, vocabulary, classifier)
        measures[f"{name}/unmasked"] = UnmaskedRegions(segmenter, vocabulary, classifier)
        for generator in _generators(segmenter):
            rule = GENERATORS[generator].rule
            settings = {"generator": generator, "classifier": classifier, "rule": rule}
            measures[f"{name}/{generator}"] = LabelMaps(segmenter, vocabulary, settings)
            if name == "shipped":
                soft = isinstance(rule, EnsembleRule)
                measures[f"{name}/{generator}-named"] = OracleClassifier(
                    segmenter, vocabulary, generator, soft
                )
                measures[f"{name}/{generator}-coverage"] = Coverage(segmenter, generator)
    return measures


def _figures(counts: Mapping[str, Counts], name: str, dataset: StickerScenes) -> Figures:
    """Return all figures of one contender: counts, and shares in per cent."""
    figures: Figures = {}
    for measure, sums in counts.items():
        of, what = measure.split("/")
        if of == name:
            figures |= {f"{what} {figure}": value for figure, value in _read(sums, dataset).items()}
    return figures


def _read(sums: Counts, dataset: StickerScenes) -> Figures:
    """Return the figures of one measure's sums: counts, and shares in per cent."""
    figures: Figures = {}
    if "confusion" in sums:
        scores = Scores.of(sums["confusion"], dataset)
        figures |= {"miou": scores.miou, "base": scores.base, "novel": scores.novel, "hiou": scores.harmonic}
    if "regions" in sums:
        nouns = (*BASE_NOUNS, *NOVEL)
        groups = {"right": nouns, "right base": BASE_NOUNS, "right novel": NOVEL, "right stuff": STUFF}
        figures |= {group: accuracy(sums, classes) for group, classes in groups.items()}
    if "objects" in sums:
        objects = max(int(sums["objects"]), 1)
        figures |= {f"covered {iou}": 100 * float(sums[f"covered_{iou}"]) / objects for iou in (50, 75)}
        figures |= {"objects": float(sums["objects"]), "masks": float(sums["masks"]) / len(dataset.keys)}
    return figures


def _generators(segmenter: Segmenter) -> list[str]:
    return [name for name in segmenter.generators if name in GENERATORS]


def _positive(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"at least {least}, not {text}")
        return int(text)

    return parse


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ovseg_demo.evaluation.results", description="Measure a model of Sticker World."
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="training runs (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"), help="default: %(default)s")
    parser.add_argument(
        "--scenes", type=_positive(1), default=len(BENCHMARK_SEEDS), help="of a set (default: %(default)s)"
    )
    parser.add_argument(
        "--sets", type=_positive(1), default=3, help="the benchmark and others (default: %(default)s)"
    )
    parser.add_argument(
        "--records",
        type=Path,
        default=Path("runs/results"),
        help="folder for the counts of an interrupted run (default: %(default)s)",
    )
    add_model_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
