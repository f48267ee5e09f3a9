"""The quality figures of the model sticker-world: what each is, its floor, and its aim.

A floor is the least that a bundled model must reach, an aim is what training works towards. Ratios of speed
and memory have their bounds in ``benchmarks/``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Goal:
    """One figure with its floor and its aim.

    Attributes:
        title: its row in ``docs/results.md``.
        figure: its key in the measured figures.
        floor: in per cent, or percentage points.
        aim: in the same unit.
        on_ten_scenes: the bundled model's figure on the first ten scenes of the benchmark, in per cent, with
            which ``tests/evaluation/test_shipped_model.py`` compares; ``None``: not tested.
        lower_is_better: true for losses.
    """

    title: str
    figure: str
    floor: float
    aim: float
    on_ten_scenes: float | None = None
    lower_is_better: bool = False

    def bound(self, value: float) -> str:
        """Return the floor or the aim as text, such as "≤ 5"."""
        return f"{'≤ ' if self.lower_is_better else ''}{value:g}"

    def verdict(self, value: float) -> str:
        """Return whether a figure reaches the aim, the floor, or neither, as text."""
        sign = -1 if self.lower_is_better else 1
        if sign * value >= sign * self.aim:
            return "aim reached"
        return "floor reached" if sign * value >= sign * self.floor else "**below the floor**"


UNMASKED_LOSS = "unmasked loss"

GOALS: tuple[Goal, ...] = (
    Goal("mIoU, SAM proposals", "sam miou", 45, 60, on_ten_scenes=30.4),
    Goal("mIoU of novel nouns, SAM proposals", "sam novel", 35, 50),
    Goal("mIoU, MaskFormer proposals", "maskformer miou", 45, 60, on_ten_scenes=47.3),
    Goal("mIoU of novel nouns, MaskFormer proposals", "maskformer novel", 35, 50),
    Goal("mIoU, oracle masks", "oracle miou", 75, 85, on_ten_scenes=86.2),
    Goal("accuracy on oracle masks, base nouns", "oracle right base", 80, 90, on_ten_scenes=92.3),
    Goal("accuracy on oracle masks, novel nouns", "oracle right novel", 75, 85, on_ten_scenes=88.9),
    Goal("recall of SAM proposals, IoU ≥ 0.5", "sam-coverage covered 50", 85, 95, on_ten_scenes=90.1),
    Goal("recall of SAM proposals, IoU ≥ 0.75", "sam-coverage covered 75", 55, 80, on_ten_scenes=49.3),
    Goal("accuracy of colours, unseen colour-noun pairs", "colours", 75, 90),
    Goal("loss of accuracy on unmasked crops by fine-tuning", UNMASKED_LOSS, 10, 3, lower_is_better=True),
)

ON_TEN_SCENES: Mapping[str, float] = MappingProxyType(
    {goal.figure: goal.on_ten_scenes for goal in GOALS if goal.on_ten_scenes is not None}
)
"""The figures of the regression test, by their keys."""
