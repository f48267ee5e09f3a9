"""Label maps of perfect masks or a perfect classifier: OVSeg's bottleneck (arXiv 2210.04150, section 1)."""

from __future__ import annotations

import numpy as np

from ovseg_demo.classification.partition import MaskPartition, label_cells
from ovseg_demo.classification.resampling import resize_nearest
from ovseg_demo.classification.score_maps import ScoreMap, SoftMasks
from ovseg_demo.evaluation.datasets import LabelledImage
from ovseg_demo.evaluation.metrics import IGNORED
from ovseg_demo.proposals.types import Proposals

ORACLE = "oracle"
"""Name of the generator of perfect masks."""


def oracle_proposals(sample: LabelledImage) -> Proposals:
    """Return one perfect mask for each segment, in their order."""
    count = len(sample.segment_classes)
    masks = sample.segments == np.arange(count)[:, None, None]
    return Proposals.from_masks(masks, np.ones(count), sample.image, sample.labels.shape, ORACLE)


def segment_overlaps(proposals: Proposals, partition: MaskPartition, sample: LabelledImage) -> np.ndarray:
    """Return the IoU of each proposal with each segment: float32 (N, S) in [0, 1].

    Pixels that do not count are left out. Segments are brought to the proposals' working size.
    """
    count = len(sample.segment_classes)
    segments = resize_nearest(sample.segments, proposals.working_size)
    judged = segments != IGNORED
    pairs = partition.cells[judged].astype(np.int64) * count + segments[judged]
    pixels = np.bincount(pairs, minlength=len(partition) * count).reshape(len(partition), count)
    members = partition.unpack(slice(None)).T.astype(np.float32)  # (N, cells)
    intersections = members @ pixels.astype(np.float32)  # (N, S); exact up to 2²⁴ pixels
    mask_areas = intersections.sum(axis=1, keepdims=True)
    return intersections / np.maximum(mask_areas + pixels.sum(axis=0) - intersections, 1)


def label_by_oracle(
    proposals: Proposals, sample: LabelledImage, class_count: int, *, soft: bool
) -> np.ndarray:
    """Return the label map of proposals with a perfect classifier: int32 (H, W), -1 where unlabelled.

    Each mask gets the class of the segment with the highest IoU, and that IoU as its probability, so that the
    better of two overlapping masks wins.

    Args:
        proposals: N masks.
        sample: the ground truth.
        class_count: K.
        soft: sum MaskFormer's soft masks (the ensemble rule) instead of binary ones (granularity 0).
    """
    partition = MaskPartition.of(proposals)
    overlaps = segment_overlaps(proposals, partition, sample)
    probabilities = np.zeros((len(proposals), class_count), dtype=np.float32)
    if overlaps.size:
        classes = sample.segment_classes[overlaps.argmax(axis=1)]
        probabilities[np.arange(len(proposals)), classes] = overlaps.max(axis=1)
    size = sample.labels.shape
    if not soft:
        resampling = "nearest" if proposals.queries is None else "bilinear"
        return label_cells(partition, probabilities, class_count, size, resampling).labels
    of_queries = np.zeros((len(proposals.queries.mask_logits), class_count), dtype=np.float32)
    of_queries[proposals.queries.kept] = probabilities
    masks = SoftMasks(proposals.queries, proposals.working_size)
    return ScoreMap(masks, of_queries, class_count, size, "bilinear").label().labels
