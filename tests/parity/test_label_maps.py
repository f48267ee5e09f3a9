"""Score maps and label maps of whole runs, from checkpoint and image, against the reference's."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from ovseg_demo import EnsembleRule, Segmenter, load_segmenter
from ovseg_demo.images import resize_longer_side
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.segmentation import Segmentation
from ovseg_demo.vocabulary import TEMPLATES
from tests.parity.kits import Kit, kits, load_kit

FULL_RUN = ("demo_single_class_sem_seg", "eval_ensemble0.7_no_mask_prompt_sem_seg")


def load_kit_segmenter(kit: Kit) -> Segmenter:
    options = {
        "min_size": kit.config["min_size_test"],
        "max_size": kit.config["max_size_test"],
        "mask_threshold": kit.config["mask_threshold"],
    }
    return load_segmenter(
        ovseg=kit.checkpoint_path, device="cpu", precision="float32", maskformer_options=options
    )


def assert_equals_score_map(segmentation: Segmentation, expected: np.ndarray) -> None:
    """Scores within 1e-3 of the largest one, and the labels that follow on 99.8% of the pixels.

    The labels are a little freer than the scores: random weights leave many pixels with two best scores that
    differ by less than rounding does from processor to processor.
    """
    scores = np.concatenate([strip.numpy() for _, strip in segmentation.score_map.strips()], axis=1)
    assert scores.shape == expected.shape
    assert np.abs(scores - expected).max() <= 1e-3 * np.abs(expected).max()
    np.testing.assert_array_equal(segmentation.label_map, labels_of(scores, len(segmentation.class_names)))
    assert_equals_label_map(segmentation, labels_of(expected, len(segmentation.class_names)), 0.998)


def labels_of(scores: np.ndarray, class_count: int) -> np.ndarray:
    """The label map (H, W) of a score map (K, H, W), -1 where nothing scores or a hidden name is best."""
    labels = scores.argmax(axis=0)
    return np.where((scores.max(axis=0) > 0) & (labels < class_count), labels, -1)


def assert_equals_label_map(segmentation: Segmentation, expected: np.ndarray, share: float = 0.999) -> None:
    assert (segmentation.label_map == expected).mean() >= share


@pytest.fixture(scope="module", params=kits("swin", "r101c", arrays=FULL_RUN))
def ovseg_kit(request) -> Kit:
    return load_kit(request.param)


@pytest.fixture(scope="module")
def ovseg_segmenter(ovseg_kit) -> Segmenter:
    return load_kit_segmenter(ovseg_kit)


@pytest.mark.parametrize("single_class", [False, True])
def test_demo_mode(ovseg_kit, ovseg_segmenter, single_class):
    classes = ovseg_kit.config["single_class"] if single_class else ovseg_kit.config["class_names"]
    expected = ovseg_kit.outputs["demo_single_class_sem_seg" if single_class else "demo_sem_seg"]
    segmentation = ovseg_segmenter.segment(ovseg_kit.image, classes, generator="maskformer", granularity=1)
    assert_equals_label_map(segmentation, labels_of(expected, len(segmentation.class_names)))
    proposals = with_reference_masks(
        ovseg_segmenter.propose(ovseg_kit.image, generator="maskformer"), ovseg_kit
    )
    analysis = ovseg_segmenter.classify(ovseg_kit.image, proposals)
    assert_equals_score_map(analysis.segment(classes, granularity=1), expected)


def with_reference_masks(proposals: Proposals, kit: Kit) -> Proposals:
    """The same proposals with the reference's binary masks.

    Rounding decides a pixel at the threshold, whose scores are then all or nothing; the masks have their own
    test.
    """
    packed = kit.outputs["binary_masks_packed"][kit.outputs["valid"]]
    assert packed.shape == proposals.packed_masks.shape
    return replace(proposals, packed_masks=packed)


@pytest.mark.parametrize("classifier", ["mask-adapted", "mask-adapted-no-prompts"])
def test_evaluation_mode(ovseg_kit, ovseg_segmenter, classifier):
    weight = ovseg_kit.config["ensemble_weight_eval"]
    suffix = "" if classifier == "mask-adapted" else "_no_mask_prompt"
    segmentation = ovseg_segmenter.segment(
        ovseg_kit.image,
        ovseg_kit.config["class_names"],
        rule=EnsembleRule(weight),
        classifier=classifier,
    )
    assert_equals_score_map(segmentation, ovseg_kit.outputs[f"eval_ensemble{weight}{suffix}_sem_seg"])


@pytest.fixture(scope="module", params=kits("simseg", arrays=("vild_clip_only_sem_seg",)))
def simseg_kit(request) -> Kit:
    return load_kit(request.param)


@pytest.fixture(scope="module")
def simseg_segmenter(simseg_kit) -> Segmenter:
    return load_kit_segmenter(simseg_kit)


@pytest.mark.parametrize(
    "setting", ["learned_cross_dataset", "vild_cross_dataset", "learned_zero_shot", "vild_clip_only"]
)
def test_simseg(simseg_kit, simseg_segmenter, setting):
    trained = tuple(bool(flag) for flag in simseg_kit.config["trained_classes"])
    weight = 0 if setting.endswith("clip_only") else simseg_kit.config["ensemble_weight"]
    segmentation = simseg_segmenter.segment(
        simseg_kit.image,
        simseg_kit.config["class_names"],
        rule=EnsembleRule(weight, trained if setting.endswith("zero_shot") else None),
        templates=setting.split("_")[0],
    )
    assert_equals_score_map(segmentation, simseg_kit.outputs[f"{setting}_sem_seg"])


@pytest.fixture(scope="module", params=kits("sam_demo"))
def sam_kit(request) -> Kit:
    return load_kit(request.param)


@pytest.fixture(scope="module")
def given_proposals(sam_kit) -> Proposals:
    """The kit's masks, at the working size."""
    working_image = resize_longer_side(sam_kit.image, sam_kit.config["long_side"])
    masks = np.unpackbits(sam_kit.outputs["masks_packed"], axis=-1, count=working_image.shape[1]).view(bool)
    return Proposals.from_masks(masks, np.ones(len(masks)), working_image, sam_kit.image.shape[:2], "sam")


@pytest.fixture(scope="module", params=[1, 0], ids=["quick_gelu", "gelu"])
def quick_gelu(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def sam_kit_segmenter(sam_kit, quick_gelu) -> Segmenter:
    """With the CLIP of the kit that this one refers to."""
    clip_kit = sam_kit.sibling(re.search(r"(\w+)/checkpoint\.pth", sam_kit.config["clip_weights"])[1])
    return load_segmenter(
        ovseg=clip_kit.checkpoint_path, device="cpu", precision="float32", quick_gelu=bool(quick_gelu)
    )


@pytest.fixture(scope="module")
def ask_as_published(sam_kit, sam_kit_segmenter, given_proposals) -> Callable[..., Segmentation]:
    """Segments the kit's image from its masks as the published demo did: no mask prompts, one template."""
    analysis = sam_kit_segmenter.classify(
        sam_kit.image, given_proposals, classifier="mask-adapted-no-prompts"
    )
    return partial(
        analysis.segment,
        templates=next(name for name, texts in TEMPLATES.items() if texts == (sam_kit.config["template"],)),
    )


def test_sam_demo(sam_kit, quick_gelu, ask_as_published):
    prefix = f"label_map_quickgelu{quick_gelu}_granularity"
    label_maps = {
        name.removeprefix(prefix): labels
        for name, labels in sam_kit.outputs.items()
        if name.startswith(prefix)
    }
    assert label_maps
    for granularity, labels in label_maps.items():
        segmentation = ask_as_published(sam_kit.config["class_names"], granularity=float(granularity))
        is_empty = labels == sam_kit.config["empty_label"]
        assert_equals_label_map(segmentation, np.where(is_empty, -1, labels.astype(np.int32)))
    expected = sam_kit.outputs[f"class_probabilities_quickgelu{quick_gelu}"]
    assert np.abs(segmentation.probabilities - expected).max() <= 1e-3


def test_sam_demo_with_a_single_class(sam_kit, quick_gelu, ask_as_published):
    if not quick_gelu:
        pytest.skip("the kit has a single class with QuickGELU alone")
    segmentation = ask_as_published(sam_kit.config["single_class"], granularity=0.8)
    expected = sam_kit.outputs["class_probabilities_single"]
    assert np.abs(segmentation.probabilities - expected[:, :1]).max() <= 1e-3
    is_dog = (
        sam_kit.outputs["label_map_single_class_granularity0.8"] == 0
    )  # "others" and nothing are unlabelled
    assert_equals_label_map(segmentation, np.where(is_dog, 0, -1))
