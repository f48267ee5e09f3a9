"""``docs/results.md``: figures as Markdown tables, and the notes that people write below them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ovseg_demo.classification.rules import EnsembleRule, GranularityRule, Rule
from ovseg_demo.sticker_world import NOUNS, STUFF, UNSEEN_PAIRS

NOTES = "## Notes"
"""What follows this heading is written by hand and survives a new measurement."""


_INTRODUCTION = """\
# Results

Written by `python -m ovseg_demo.evaluation.results`, but for the notes at the end. All figures are per cent.
The benchmark is {scenes} scenes of Sticker World, 640×480 pixels, from seeds that no training and no choice
of settings saw. The vocabulary is always whole: all {nouns} nouns and {stuff} stuff classes, by their names,
without synonyms. mIoU is the mean over classes that are in a scene or in a label map, from one confusion
matrix; pixels without a label count as wrong. *Base* nouns and stuff were in the segmentation training and in
the mask-noun pairs, *novel* nouns were met by CLIP's pre-training alone. SAM's masks all take part in its
label maps (granularity 0); MaskFormer's follow the evaluation rule, in which CLIP's share λ is {weight:g}."""

_SHIPPED = """\
## The shipped model

{table}

Each set has {scenes} scenes; those beside the benchmark come from other seeds. Regions of fewer than 24×24
pixels need not be named. Colours are asked on four crops, cut out by a perfect mask, of each of the {pairs}
pairs of a colour and a noun that no training saw. Unmasked crops show the scenes' objects with their
surroundings; their loss is how many points fewer the shipped CLIP names right than the un-adapted one."""

_CONTENDERS = """\
## Adapting CLIP to masks (the paper's Table 3 in small)

{table}

What the paper found to help, and what it gains here (below zero, the ordering did not come out):

{gains}"""

_BOTTLENECK = """\
## The bottleneck

{table}

Oracle masks are the true regions, one an object and one a stuff class. The oracle classifier gives a proposal
the class of the region that it fits best, weighted by their IoU. The paper's figures are for ADE20K-150."""

_PROPOSALS = """\
## Proposals

{table}

The shares are those of the {objects:,.0f} objects over 48×48 pixels that a proposal covers with an IoU of at
least 0.5 and 0.75; mIoU is the shipped model's on these proposals."""


@dataclass(frozen=True)
class GeneratorUse:
    """How a generator's masks become label maps in the tables."""

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
    """All that is reported.

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


@dataclass(frozen=True)
class Goal:
    """A row of the table of floors and aims.

    Attributes:
        title: of the row.
        figure: of the shipped model.
        floor, aim: in per cent.
        lower_is_better: for losses.
    """

    title: str
    figure: str
    floor: float
    aim: float
    lower_is_better: bool = False

    def bound(self, value: float) -> str:
        """The floor or the aim, as it is printed."""
        return f"{'≤ ' if self.lower_is_better else ''}{value:g}"

    def verdict(self, value: float) -> str:
        """Which of the two is reached."""
        sign = -1 if self.lower_is_better else 1
        if sign * value >= sign * self.aim:
            return "aim reached"
        return "floor reached" if sign * value >= sign * self.floor else "**below the floor**"


UNMASKED_LOSS = "unmasked loss"

GOALS = (
    Goal("mIoU, SAM proposals", "sam miou", 45, 60),
    Goal("the same on novel nouns", "sam novel", 35, 50),
    Goal("mIoU, MaskFormer proposals", "maskformer miou", 45, 60),
    Goal("the same on novel nouns", "maskformer novel", 35, 50),
    Goal("mIoU, oracle masks", "oracle miou", 75, 85),
    Goal("oracle masks named right, base nouns", "oracle right base", 80, 90),
    Goal("oracle masks named right, novel nouns", "oracle right novel", 75, 85),
    Goal("objects over 48×48 pixels covered by a SAM proposal, IoU ≥ 0.5", "sam-coverage covered 50", 85, 95),
    Goal("the same, IoU ≥ 0.75", "sam-coverage covered 75", 55, 80),
    Goal("right colour first among 8, unseen colour-noun pairs", "colours", 75, 90),
    Goal("points lost on unmasked crops through fine-tuning", UNMASKED_LOSS, 10, 3, lower_is_better=True),
)

EXPECTED = (
    ("prompts", "un-adapted", "mask prompts only over un-adapted"),
    ("fine-tuned", "un-adapted", "fine-tuned over un-adapted"),
    ("shipped", "fine-tuned", "mask prompts on top of fine-tuning"),
    ("fine-tuned", "control", "masked over unmasked fine-tuning"),
    ("captions", "un-adapted", "fine-tuned on pairs from captions over un-adapted"),
    ("captions+prompts", "captions", "mask prompts on top of that"),
    ("captions", "fine-tuned", "pairs from captions over pairs from labels"),
)
"""Orderings that the paper found: the first should be better than the second."""


def write_page(page: Page, notes: str = "") -> str:
    """The page as Markdown; ``notes`` is its hand-written end."""
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
    """The hand-written end of a page that was written before; empty if there is none."""
    if not path.is_file():
        return ""
    return path.read_text(encoding="utf-8").partition(f"{NOTES}\n")[2].strip()


def _introduction(page: Page) -> str:
    text = _INTRODUCTION.format(
        scenes=page.scenes, nouns=len(NOUNS), stuff=len(STUFF), weight=page.clip_weight
    )
    missing = [title for name, title in page.titles.items() if name not in page.figures]
    if missing:
        text += f"\n\nNot measured here, for want of its weights: {'; '.join(missing)}."
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
        "named right: base",
        "novel",
        "stuff",
        *(f"mIoU, {use.title}" for use in GENERATORS.values()),
        "unmasked crops right",
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
    rows += [("oracle masks", "shipped CLIP", _cell(shipped.get("oracle miou")), "")]
    for name, use in GENERATORS.items():
        paper = "66.5" if name == "maskformer" else ""
        rows.append((use.title, "oracle", _cell(shipped.get(f"{name}-named miou")), paper))
        rows.append((use.title, "shipped CLIP", _cell(shipped.get(f"{name} miou")), ""))
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
    """The shipped model's figures, and what it lost against the un-adapted CLIP on unmasked crops."""
    shipped = dict(figures["shipped"])
    if "un-adapted" in figures:
        shipped[UNMASKED_LOSS] = figures["un-adapted"]["unmasked right"] - shipped["unmasked right"]
    return shipped


def _cell(value: float | None, spec: str = ".1f") -> str:
    return "–" if value is None or math.isnan(value) else format(value, spec)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
