"""The reported figures from counts, as text and as JSON."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovseg_demo.evaluation.datasets import Dataset
from ovseg_demo.evaluation.metrics import class_iou, harmonic_mean, mean_iou


@dataclass(frozen=True, eq=False)
class Scores:
    """Figures of a confusion matrix, in per cent.

    Attributes:
        class_names: K names.
        iou: float64 (K,), NaN for classes in neither the ground truth nor a label map.
        true_pixels, found_pixels: int64 (K,).
        miou: mean over the classes.
        base, novel, harmonic: mIoU of base and of novel classes and their harmonic mean; ``None`` where the
            data set has no novel classes.
    """

    class_names: tuple[str, ...]
    iou: np.ndarray
    true_pixels: np.ndarray
    found_pixels: np.ndarray
    miou: float
    base: float | None = None
    novel: float | None = None
    harmonic: float | None = None

    @classmethod
    def of(cls, confusion: np.ndarray, dataset: Dataset) -> Scores:
        """Return the scores of a :func:`~ovseg_demo.evaluation.metrics.confusion_matrix` (K, K + 1)."""
        iou = 100 * class_iou(confusion)
        groups = {}
        if dataset.novel_classes:
            base = mean_iou(iou, sorted(set(range(len(iou))) - set(dataset.novel_classes)))
            novel = mean_iou(iou, dataset.novel_classes)
            groups = {"base": base, "novel": novel, "harmonic": harmonic_mean(base, novel)}
        return cls(
            class_names=dataset.vocabulary.class_names,
            iou=iou,
            true_pixels=confusion.sum(axis=1),
            found_pixels=confusion[:, :-1].sum(axis=0),
            miou=mean_iou(iou),
            **groups,
        )

    def summary(self) -> str:
        """Return one line, such as "mIoU 61.3 (base 63.0, novel 55.1, harmonic mean 58.8)"."""
        line = f"mIoU {self.miou:.1f}"
        if self.novel is not None:
            line += f" (base {self.base:.1f}, novel {self.novel:.1f}, harmonic mean {self.harmonic:.1f})"
        return line

    def table(self) -> str:
        """Return a heading, and a line for each class with a defined IoU, in descending order."""
        known = [index for index in np.argsort(-self.iou, kind="stable") if not math.isnan(self.iou[index])]
        width = max((len(self.class_names[index]) for index in known), default=0)
        pixels = max(self.true_pixels.sum(), 1)
        lines = [f"{'class':{width}}   IoU  of the truth  of the maps"]
        lines += [
            f"{self.class_names[index]:{width}} {self.iou[index]:5.1f} "
            f"{self.true_pixels[index] / pixels:13.3%} {self.found_pixels[index] / pixels:12.3%}"
            for index in known
        ]
        return "\n".join(lines)

    def record(self) -> dict[str, Any]:
        """Return all figures for JSON; undefined ones are ``None``."""
        classes = [
            {"name": name, "iou": _number(iou), "true_pixels": int(true), "found_pixels": int(found)}
            for name, iou, true, found in zip(
                self.class_names, self.iou, self.true_pixels, self.found_pixels, strict=True
            )
        ]
        return {
            "miou": _number(self.miou),
            "base_miou": _number(self.base),
            "novel_miou": _number(self.novel),
            "harmonic_mean": _number(self.harmonic),
            "classes": classes,
        }


def accuracy(counts: dict[str, np.ndarray], classes: tuple[int, ...] | None = None) -> float:
    """Return the percentage of regions of some classes (by default all) with the right class.

    NaN stands for no regions.
    """
    which = slice(None) if classes is None else list(classes)
    regions = counts["regions"][which].sum()
    return float(100 * counts["right"][which].sum() / regions) if regions else math.nan


def _number(value: float | None) -> float | None:
    """Return a number for JSON, rounded to three decimals; ``None`` for NaN, which JSON does not have."""
    return None if value is None or math.isnan(value) else round(float(value), 3)
