"""The yardsticks of the benchmarks compute what ours do: only then their times compare."""

import numpy as np
import pytest
import torch

from benchmarks import published
from benchmarks.cases import first, random_proposals
from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.clip.network import MASK_EMBEDDING, build_clip
from ovseg_demo.classification.labeling import class_probabilities
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import GranularityRule, NamedMasks
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.vocabulary import Vocabulary
from tests.tiny.clip import tiny_clip_tensors

NAMES = ("dog", "white roses", "Saturn V")
PROPOSALS = random_proposals(40, (60, 80))


@pytest.fixture(scope="module")
def tensors():
    return tiny_clip_tensors(vocabulary_size=49408)


@pytest.fixture(scope="module")
def clip(tensors):
    return MaskAdaptedClip.from_tensors(tensors, runtime=Runtime(torch.device("cpu")))


@pytest.fixture(scope="module")
def plain(tensors):
    return build_clip(tensors).requires_grad_(False)


def test_regions(tensors, clip, plain):
    expected = published.embed_regions(plain, tensors[MASK_EMBEDDING], PROPOSALS)
    np.testing.assert_allclose(clip.embed_regions(PROPOSALS).vectors, expected, atol=1e-4)


def test_names(clip, plain):
    expected = published.embed_names(plain, NAMES)
    np.testing.assert_allclose(clip.embed_names(NAMES, "vild"), expected, atol=1e-5)


def test_maps(clip):
    vocabulary = Vocabulary.parse(NAMES)
    regions, names = clip.embed_regions(PROPOSALS).vectors, clip.embed_names(NAMES, "vild")
    probabilities = class_probabilities(regions, names, vocabulary)
    partition = MaskPartition.of(PROPOSALS)
    ours = GranularityRule(0).label(NamedMasks(PROPOSALS, partition, probabilities, names, vocabulary))
    assert (ours.label_map.labels == published.label(PROPOSALS, regions, names)).mean() > 0.999
    assert len(np.unique(ours.label_map.labels)) > 1


def test_a_part_of_the_masks_is_what_it_says():
    few = first(PROPOSALS, 3)
    np.testing.assert_array_equal(few.masks, PROPOSALS.masks[:3])
    np.testing.assert_array_equal(few.boxes, PROPOSALS.boxes[:3])
