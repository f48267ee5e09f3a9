"""Write ``docs/results.md``: measured figures as Markdown tables, above the notes that people write."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ovseg_demo.classification.rules import EnsembleRule, GranularityRule, Rule
from ovseg_demo.evaluation.goals import GOALS, UNMASKED_LOSS
from ovseg_demo.sticker_world import NOUNS, STUFF, UNSEEN_PAIRS

NOTES = "## Notes"
"""The heading of the part that people write; a new measurement keeps it."""


_INTRODUCTION = """\
# Results

`python -m ovseg_demo.evaluation.results` measures the figures and writes this page, except its notes.

- All figures are per cent.
- The benchmark is {scenes} scenes of Sticker World, 640×480 pixels. No training and no choice of a setting
  used their seeds.
- The vocabulary is all {nouns} nouns and {stuff} stuff classes, without synonyms.
- mIoU is the mean over the classes that a scene or a label map contains, from one confusion matrix over all
  scenes. Pixels to which a label map gives no class count as wrong.
- *Base* nouns and stuff are part of the segmentation training and of the mask-noun pairs. *Novel* nouns are
  part of CLIP's pre-training only.
- With SAM's proposals, label maps are drawn at granularity 0, so all masks take part. With MaskFormer's they
  follow the ensemble rule with a CLIP weight λ of {weight:g}."""

_SHIPPED = """\
## The model sticker-world

{table}

- Each set has {scenes} scenes; the sets other than the benchmark have other seeds.
- Accuracy is the share of the masks that get the right class; masks of fewer than 24×24 pixels are left out.
- Recall is the share of the objects larger than 48×48 pixels that a proposal covers with that IoU.
- The accuracy of colours is measured on four crops, cut out by a perfect mask, of each of the {pairs} pairs
  of a colour and a noun that no training contains. Eight colours compete.
- Unmasked crops contain the scenes' objects with their surroundings. The loss compares the bundled CLIP with
  the un-adapted one, in percentage points."""

_CONTENDERS = """\
## Adapting CLIP to masks (Table 3 of the paper at small scale)

{table}

Gains that the paper reports, measured here; a negative gain contradicts the paper:

{gains}"""

_BOTTLENECK = """\
## The bottleneck

{table}

- Oracle masks are the true regions: one mask for each object and one for each stuff class.
- The oracle classifier gives a proposal the class of the region with the highest IoU, and that IoU as its
  probability.
- The paper's figures are for ADE20K-150."""

_PROPOSALS = """\
## Proposals

{table}

- IoU ≥ 0.5 and IoU ≥ 0.75 are the recall of {objects:,.0f} objects larger than 48×48 pixels.
- mIoU is the bundled model's on these proposals."""


@dataclass(frozen=True)
class GeneratorUse:
    """The title of a generator, and the settings with which its masks become label maps."""

    title: str
    rule: Rule


GENERATORS: Mapping[str, GeneratorUse] = MappingProxyType(
    {
        "sam": GeneratorUse("SAM", GranularityRule(0.0)),
        "maskformer": GeneratorUse("MaskFormer", EnsembleRule()),
    }
)

Figures = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Page:
    """The content of the page.

    Attributes:
        scenes: of each set.
        clip_weight: λ of MaskFormer's evaluation rule.
        titles: of all contenders, by name, in the order of the tables.
        figures: of each contender that was measured, on the benchmark.
        repeats: the same of the shipped model and the un-adapted CLIP, on other sets of scenes.
    """

    scenes: int
    clip_weight: float
    titles: Mapping[str, str]
    figures: Mapping[str, Figures]
    repeats: Sequence[Mapping[str, Figures]]


EXPECTED = (
    ("prompts", "un-adapted", "mask prompts only over un-adapted"),
    ("fine-tuned", "un-adapted", "fine-tuned over un-adapted"),
    ("shipped", "fine-tuned", "mask prompts on top of fine-tuning"),
    ("fine-tuned", "control", "masked over unmasked fine-tuning"),
    ("captions", "un-adapted", "fine-tuned on pairs from captions over un-adapted"),
    ("captions+prompts", "captions", "mask prompts on top of that fine-tuning"),
    ("captions", "fine-tuned", "pairs from captions over pairs from labels"),
)
"""Gains that the paper reports: (better, worse, title); the first should exceed the second."""


def format_page(page: Page, notes: str = "") -> str:
    """Return the page as Markdown, with ``notes`` as its last part."""
    shipped = page.figures["shipped"]
    objects = max((shipped.get(f"{name}-coverage objects", 0) for name in GENERATORS), default=0)
    parts = (
        _introduction(page),
        _SHIPPED.format(table=_goals(page), scenes=page.scenes, pairs=len(UNSEEN_PAIRS)),
        _CONTENDERS.format(table=_contenders(page), gains=_gains(page)),
        _BOTTLENECK.format(table=_bottleneck(page)),
        _PROPOSALS.format(table=_proposals(shipped), objects=objects),
        f"{NOTES}\n\n{notes.strip()}",
    )
    return "\n\n".join(parts).rstrip() + "\n"


def read_notes(path: Path) -> str:
    """Return the notes of an existing page; empty if there are none."""
    if not path.is_file():
        return ""
    return path.read_text(encoding="utf-8").partition(f"{NOTES}\n")[2].strip()


def _introduction(page: Page) -> str:
    text = _INTRODUCTION.format(
        scenes=page.scenes, nouns=len(NOUNS), stuff=len(STUFF), weight=page.clip_weight
    )
    missing = [title for name, title in page.titles.items() if name not in page.figures]
    if missing:
        text += f"\n- Not measured, because the weights are missing: {'; '.join(missing)}."
    return text


def _goals(page: Page) -> str:
    sets = [_with_loss(figures) for figures in (page.figures, *page.repeats)]
    rows = []
    for goal in GOALS:
        values = [figures.get(goal.figure, math.nan) for figures in sets]
        spread = "–"
        if len(sets) > 1 and not any(map(math.isnan, values)):
            spread = f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"
        measured = (_cell(values[0]), spread)
        verdict = "not measured" if math.isnan(values[0]) else goal.verdict(values[0])
        rows.append((goal.title, *measured, goal.bound(goal.floor), goal.bound(goal.aim), verdict))
    header = ("figure", "benchmark", f"mean ± deviation of {len(sets)} sets", "floor", "aim", "")
    return _table(header, rows)


def _contenders(page: Page) -> str:
    header = (
        "classifier",
        "mIoU, oracle masks",
        "accuracy: base",
        "novel",
        "stuff",
        *(f"mIoU, {use.title}" for use in GENERATORS.values()),
        "accuracy, unmasked crops",
    )
    columns = (
        "oracle miou",
        "oracle right base",
        "oracle right novel",
        "oracle right stuff",
        *(f"{name} miou" for name in GENERATORS),
        "unmasked right",
    )
    rows = [
        (title, *(_cell(page.figures[name].get(column)) for column in columns))
        for name, title in page.titles.items()
        if name in page.figures
    ]
    return _table(header, rows)


def _gains(page: Page) -> str:
    columns = ("oracle miou", *(f"{name} miou" for name in GENERATORS))
    rows = []
    for better, worse, title in EXPECTED:
        if better in page.figures and worse in page.figures:
            first, second = page.figures[better], page.figures[worse]
            gains = [
                first[column] - second[column] if column in first and column in second else None
                for column in columns
            ]
            rows.append((title, *(_cell(gain, "+.1f") for gain in gains)))
    header = ("gain in mIoU", "oracle masks", *(use.title for use in GENERATORS.values()))
    return _table(header, rows)


def _bottleneck(page: Page) -> str:
    shipped, unadapted = page.figures["shipped"], page.figures.get("un-adapted", {})
    rows = [("oracle masks", "un-adapted CLIP", _cell(unadapted.get("oracle miou")), "20.1")]
    rows += [("oracle masks", "bundled CLIP", _cell(shipped.get("oracle miou")), "")]
    for name, use in GENERATORS.items():
        paper = "66.5" if name == "maskformer" else ""
        rows.append((use.title, "oracle", _cell(shipped.get(f"{name}-named miou")), paper))
        rows.append((use.title, "bundled CLIP", _cell(shipped.get(f"{name} miou")), ""))
    return _table(("masks", "classifier", "mIoU", "in the paper"), rows)


def _proposals(shipped: Figures) -> str:
    header = (
        "proposals",
        "masks a scene",
        "IoU ≥ 0.5",
        "IoU ≥ 0.75",
        "mIoU",
        "base",
        "novel",
        "harmonic mean",
    )
    figures = ("coverage masks", "coverage covered 50", "coverage covered 75")
    rows = [
        (
            use.title,
            *(_cell(shipped.get(f"{name}-{figure}")) for figure in figures),
            *(_cell(shipped.get(f"{name} {figure}")) for figure in ("miou", "base", "novel", "hiou")),
        )
        for name, use in GENERATORS.items()
    ]
    return _table(header, rows)


def _with_loss(figures: Mapping[str, Figures]) -> Figures:
    """Return the shipped model's figures, and its loss on unmasked crops against the un-adapted CLIP."""
    shipped = dict(figures["shipped"])
    if "un-adapted" in figures:
        shipped[UNMASKED_LOSS] = figures["un-adapted"]["unmasked right"] - shipped["unmasked right"]
    return shipped


def _cell(value: float | None, spec: str = ".1f") -> str:
    return "–" if value is None or math.isnan(value) else format(value, spec)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
