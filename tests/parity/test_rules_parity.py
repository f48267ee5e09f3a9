"""Score maps against the reference's, from its embeddings of regions and names: no CLIP takes part."""

from dataclasses import replace

import numpy as np
import pytest

from ovseg_demo.classification.labeling import class_probabilities
from ovseg_demo.classification.partition import MaskPartition
from ovseg_demo.classification.rules import EnsembleRule, GranularityRule, Labeling, NamedMasks
from ovseg_demo.models.checkpoints import read_checkpoint
from ovseg_demo.proposals.maskformer.generator import MaskFormerProposalGenerator, build_maskformer
from ovseg_demo.vocabulary import Vocabulary
from tests.parity.kits import Kit, kits, load_kit

ARRAYS = ("query_mask_logits", "region_features", "demo_sem_seg", "eval_ensemble0.7_sem_seg")


@pytest.fixture(scope="module", params=kits("swin", "r101c", arrays=ARRAYS))
def kit(request) -> Kit:
    return load_kit(request.param)


@pytest.fixture(scope="module")
def proposals(kit):
    """MaskFormer's proposals with the reference's binary masks: rounding decides a pixel at the threshold."""
    generator = MaskFormerProposalGenerator(
        build_maskformer(read_checkpoint(kit.checkpoint_path).maskformer()),
        min_size=kit.config["min_size_test"],
        max_size=kit.config["max_size_test"],
        mask_threshold=kit.config["mask_threshold"],
    )
    packed = kit.outputs["binary_masks_packed"][kit.outputs["valid"]]
    return replace(generator(kit.image), packed_masks=packed)


@pytest.fixture(scope="module")
def vocabulary(kit) -> Vocabulary:
    return Vocabulary.parse(kit.config["class_names"])


def assert_equals_scores(kit: Kit, name: str, labeling: Labeling) -> None:
    """Scores within 1e-3 of the largest one, and the labels that follow on 99.8% of the pixels."""
    scores = np.concatenate([strip.numpy() for _, strip in labeling.score_map.strips()], axis=1)
    kit.assert_close(name, scores, 1e-3)
    actual, expected = kit.pair(name, scores)
    labels = np.where(expected.max(axis=0) > 0, expected.argmax(axis=0), -1)
    drawn, _ = kit.pair(name, labeling.label_map.labels)
    assert drawn.shape == labels.shape == actual.shape[1:]
    assert (drawn == labels).mean() >= 0.998


@pytest.fixture(scope="module")
def masks(kit, proposals, vocabulary) -> NamedMasks:
    text = kit.outputs["text_features_with_non_object"][:-1]
    probabilities = class_probabilities(kit.outputs["region_features"], text, vocabulary)
    return NamedMasks(proposals, MaskPartition.of(proposals), probabilities, text, vocabulary)


def test_granularity_rule(kit, masks):
    assert_equals_scores(kit, "demo_sem_seg", GranularityRule(1).label(masks))


def test_ensemble_rule(kit, masks):
    weight = kit.config["ensemble_weight_eval"]
    assert_equals_scores(kit, f"eval_ensemble{weight}_sem_seg", EnsembleRule(weight).label(masks))
