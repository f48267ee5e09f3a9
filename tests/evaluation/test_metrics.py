"""mIoU against hand counts and against torchmetrics."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torchmetrics.functional.classification import multiclass_jaccard_index

from ovseg_demo.evaluation.metrics import IGNORED, class_iou, confusion_matrix, harmonic_mean, mean_iou


@st.composite
def label_maps(draw, max_classes=7):
    """Class count, labels with ignored pixels, and predictions with unlabelled ones."""
    class_count = draw(st.integers(1, max_classes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    highest = draw(st.integers(0, class_count - 1))  # so that classes are absent, too
    return (
        class_count,
        rng.integers(IGNORED, highest + 1, shape).astype(np.int32),
        rng.integers(-1, class_count, shape).astype(np.int32),
    )


def test_by_hand():
    labels = np.array([[0, 0, 1], [1, 2, IGNORED]])
    predicted = np.array([[0, 1, 1], [-1, 0, 3]])
    confusion = confusion_matrix(labels, predicted, 4)
    assert confusion.tolist() == [[1, 1, 0, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]
    iou = class_iou(confusion)
    np.testing.assert_allclose(iou, [1 / 3, 1 / 3, 0, np.nan])
    assert mean_iou(iou) == pytest.approx(2 / 9)
    assert mean_iou(iou, [1, 3]) == pytest.approx(1 / 3)
    assert np.isnan(mean_iou(iou, [3]))


@given(label_maps())
def test_agrees_with_torchmetrics(sample):
    class_count, labels, predicted = sample
    iou = class_iou(confusion_matrix(labels, predicted, class_count))
    nothing = class_count  # torchmetrics wants a class for unlabelled pixels
    reference = multiclass_jaccard_index(
        torch.from_numpy(np.where(predicted < 0, nothing, predicted)).flatten(),
        torch.from_numpy(labels).flatten().long(),
        num_classes=class_count + 1,
        average=None,
        ignore_index=IGNORED,
    )[:class_count].numpy()
    judged = labels != IGNORED
    present = [c for c in range(class_count) if c in labels[judged] or c in predicted[judged]]
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(iou)), present)
    np.testing.assert_allclose(iou[present], reference[present], rtol=1e-6)


@given(label_maps())
def test_matrices_of_parts_add_up_and_count_every_judged_pixel(sample):
    class_count, labels, predicted = sample
    whole = confusion_matrix(labels, predicted, class_count)
    parts = [
        confusion_matrix(*part, class_count)
        for part in zip(np.array_split(labels, 2), np.array_split(predicted, 2), strict=True)
    ]
    np.testing.assert_array_equal(sum(parts), whole)
    assert whole.sum() == (labels != IGNORED).sum()
    np.testing.assert_array_equal(
        whole.sum(axis=1), np.bincount(labels[labels != IGNORED], minlength=class_count)
    )


def test_perfect_and_empty_maps():
    labels = np.arange(6).reshape(2, 3)
    assert mean_iou(class_iou(confusion_matrix(labels, labels, 6))) == 1
    assert mean_iou(class_iou(confusion_matrix(labels, np.full_like(labels, -1), 6))) == 0


def test_labels_of_16_bits_are_counted():
    labels = np.array([[846, 300]])
    confusion = confusion_matrix(labels, np.array([[846, 299]]), 847)
    assert np.argwhere(confusion).tolist() == [[300, 299], [846, 846]]


@pytest.mark.parametrize(
    ("pair", "mean"), [((60, 30), 40), ((50, 50), 50), ((80, 0), 0), ((0, 0), 0)], ids=str
)
def test_harmonic_mean(pair, mean):
    assert harmonic_mean(*pair) == mean
