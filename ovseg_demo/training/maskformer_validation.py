"""Validation figures of a MaskFormer: its masks, and its own classification of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovseg_demo.classification.labeling import query_probabilities
from ovseg_demo.classification.score_maps import ScoreMap, SoftMasks
from ovseg_demo.evaluation.metrics import class_iou, confusion_matrix, mean_iou
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.training.maskformer_losses import IGNORED
from ovseg_demo.vocabulary import ClassName, Vocabulary

_SMALLEST_SHARE = 0.002
"""Share of the image's pixels below which a region is left out (24×24 pixels of 640×480)."""


def mask_figures(
    generator: MaskFormerProposalGenerator,
    images: Sequence[tuple[np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    text_embeddings: np.ndarray,
) -> dict[str, float]:
    """Return figures in per cent over labelled images.

    Args:
        generator: with the network.
        images: uint8 RGB (H, W, 3) and labels int (H, W); -1 is ignored, K and above are novel classes.
        class_names: K names of the training classes.
        text_embeddings: float32 (K, D), unit length.

    Returns:
        For "base" and, if there are any, "novel" classes, over the regions (all pixels of one class in one
        image): ``…_recall_50`` and ``…_recall_75``, the share that a binary mask covers with that IoU,
        and ``…_mask_iou``, the mean IoU of the best mask. ``miou``, of the label map of the network's own
        class embeddings (no CLIP), on pixels of base classes.
    """
    vocabulary = Vocabulary(tuple(ClassName(name, ()) for name in class_names))
    best: dict[str, list[float]] = {"base": [], "novel": []}
    confusion = np.zeros((len(class_names), len(class_names) + 1), dtype=np.int64)
    for image, labels in images:
        proposals = generator(image)
        for label, iou in best_ious(proposals, labels).items():
            best["base" if label < len(class_names) else "novel"].append(iou)
        known = np.where(labels < len(class_names), labels, IGNORED)
        drawn = draw_own_names(proposals, text_embeddings, vocabulary)
        confusion += confusion_matrix(known, drawn, len(class_names))
    figures = {"miou": mean_iou(class_iou(confusion))}
    for group, values in best.items():
        if values:
            ious = np.array(values)
            figures[f"{group}_recall_50"] = (ious >= 0.5).mean()
            figures[f"{group}_recall_75"] = (ious >= 0.75).mean()
            figures[f"{group}_mask_iou"] = ious.mean()
    return {name: round(100 * float(value), 2) for name, value in figures.items()}


def best_ious(proposals: Proposals, labels: np.ndarray) -> dict[int, float]:
    """Return the highest IoU of each class's region in an image with a mask; tiny regions are left out.

    Args:
        proposals: of the image.
        labels: int (H, W), at the image's own size; it is sampled at the masks' resolution.
    """
    sampled = labels[np.ix_(*_centres(labels.shape, proposals.working_size))]
    masks = proposals.masks.reshape(len(proposals), sampled.size).astype(np.float32)
    areas = masks.sum(axis=1)
    found = {}
    for label in np.unique(sampled[sampled != IGNORED]):
        region = (sampled == label).ravel().astype(np.float32)
        if region.mean() >= _SMALLEST_SHARE:
            overlap = masks @ region
            found[int(label)] = float((overlap / (areas + region.sum() - overlap)).max(initial=0.0))
    return found


def draw_own_names(proposals: Proposals, text_embeddings: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Return the label map int32 (H, W) of a MaskFormer alone.

    It is made of soft masks with their own class probabilities.
    """
    probabilities = query_probabilities(proposals.queries, text_embeddings, vocabulary)
    masks = SoftMasks(proposals.queries, proposals.working_size)
    classes = len(vocabulary.classes)
    return ScoreMap(masks, probabilities, classes, proposals.image_size, "bilinear").label().labels


def _centres(size: tuple[int, int], new_size: tuple[int, int]) -> list[np.ndarray]:
    """Return the rows and columns of ``size`` at the centres of the cells of ``new_size``."""
    return [((np.arange(new) + 0.5) * old / new).astype(int) for old, new in zip(size, new_size, strict=True)]
