"""Mean intersection over union, from one confusion matrix over a whole data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

IGNORED = -1
"""Label of pixels that do not count."""


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, class_count: int) -> np.ndarray:
    """Count pixels by their true and their predicted class; matrices of several images may be added.

    Args:
        labels: int (H, W), true classes, or :data:`IGNORED`.
        predicted: int (H, W), predicted classes; -1, no class, counts as wrong.
        class_count: K.

    Returns:
        int64 (K, K + 1): rows are true classes, columns predicted ones, the last one unlabelled pixels.
    """
    judged = labels != IGNORED
    truth = labels[judged].astype(np.int64)
    guess = predicted[judged].astype(np.int64) % (class_count + 1)  # -1 → K
    counts = np.bincount(truth * (class_count + 1) + guess, minlength=class_count * (class_count + 1))
    return counts.reshape(class_count, class_count + 1)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Return each class's IoU: float64 (K,) in [0, 1], NaN for classes in neither labels nor predictions."""
    found = confusion[:, :-1]
    intersection = found.diagonal()
    union = confusion.sum(axis=1) + found.sum(axis=0) - intersection
    return np.divide(intersection, union, out=np.full(len(union), np.nan), where=union > 0)


def mean_iou(iou: np.ndarray, classes: Sequence[int] | None = None) -> float:
    """Return the mean over the classes (by default all) whose IoU is defined; NaN if there is none."""
    chosen = iou if classes is None else iou[list(classes)]
    known = chosen[~np.isnan(chosen)]
    return float(known.mean()) if len(known) else float("nan")


def harmonic_mean(first: float, second: float) -> float:
    """Return the harmonic mean; 0 if both are 0.

    An example is hIoU of base and novel classes (arXiv 2112.14757).
    """
    return 2 * first * second / (first + second) if first + second else 0.0
