"""Classes that larger masks outvote, and the granularity at which they are in the map."""

import numpy as np
import pytest

from ovseg_demo.classification.outvoted import GRANULARITIES, SURE, find_outvoted
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import GranularityRule, NamedMasks
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.vocabulary import Vocabulary

SIZE = 48, 64
NAMES = Vocabulary.parse("sky, wall, person", distractors="others")


def random_masks(seed: int) -> NamedMasks:
    """A person, and larger rectangles around it, which outvote it at some granularities."""
    random = np.random.default_rng(seed)
    masks = np.zeros((12, *SIZE), bool)
    masks[0, 20:28, 28:36] = True
    probabilities = np.full((len(masks), 4), 0.02, np.float32)
    probabilities[0, 2] = 0.96
    for mask, row in zip(masks[1:], probabilities[1:], strict=True):
        top, left = random.integers(0, 20), random.integers(0, 28)
        mask[top : 28 + random.integers(0, 20), left : 36 + random.integers(0, 28)] = True
        row[random.choice(4, p=[0.4, 0.2, 0.3, 0.1])] = random.uniform(0.3, 0.94)
    image = np.zeros((*SIZE, 3), np.uint8)
    proposals = Proposals.from_masks(masks, np.ones(len(masks)), image, SIZE, "sam")
    return NamedMasks(proposals, MaskPartition.of(proposals), probabilities, np.zeros((4, 8)), NAMES)


def areas_at(masks: NamedMasks, granularity: float) -> np.ndarray:
    return GranularityRule(granularity).label(masks).label_map.summarise(3)[0]


def test_the_nearest_granularity_is_the_one_of_the_formula():
    outvoted = 0
    for seed in range(60):
        masks = random_masks(seed)
        areas = areas_at(masks, 0.8)
        found = {one.index: one for one in find_outvoted(masks.partition, masks.probabilities, areas, 0.8)}
        best = masks.probabilities[:, :3].max(axis=0)
        assert set(found) == {index for index in range(3) if areas[index] == 0 and best[index] >= SURE}
        for index, one in found.items():
            assert one.score == pytest.approx(best[index])
            mask = masks.proposals.unpack(masks.probabilities[:, index].argmax())
            in_mask = {}
            for granularity in GRANULARITIES:
                labels = GranularityRule(granularity).label(masks).label_map.labels
                in_mask[granularity] = (labels[mask] == index).mean()
            enough = [granularity for granularity in GRANULARITIES if in_mask[granularity] >= 0.1]
            nearest = min(enough, key=lambda one: (abs(one - 0.8), one), default=None)
            assert one.granularity == nearest
            assert one.share == 0
            outvoted += nearest is not None
    assert outvoted > 10


def test_a_class_that_comes_first_but_is_left_out_has_its_share():
    masks = np.zeros((2, *SIZE), bool)
    masks[0], masks[1, :, :32] = True, True
    proposals = Proposals.from_masks(masks, np.ones(2), np.zeros((*SIZE, 3), np.uint8), SIZE, "sam")
    probabilities = np.array([[0.7, 0.1, 0.1, 0.1], [0.0, 0.0, 0.95, 0.05]], np.float32)
    (one,) = find_outvoted(MaskPartition.of(proposals), probabilities, np.array([9, 9, 0]), 0.8)
    assert one.granularity is None
    assert one.share == pytest.approx(1.05 / 2)


def test_without_masks_or_missing_classes_there_is_nothing_to_say():
    masks = random_masks(1)
    assert find_outvoted(masks.partition, masks.probabilities, np.array([1, 1, 1]), 0.8) == []
    none = Proposals.from_masks(
        np.zeros((0, *SIZE), bool), np.ones(0), np.zeros((*SIZE, 3), np.uint8), SIZE, "sam"
    )
    empty = np.zeros((0, 4), np.float32)
    assert find_outvoted(MaskPartition.of(none), empty, np.zeros(3), 0.8) == []
