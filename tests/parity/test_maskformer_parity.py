"""MaskFormer against the reference outputs of the parity kits."""

import numpy as np
import pytest
import torch

from ovseg_demo.image_files.scaling import resize_shortest_edge
from ovseg_demo.models.checkpoints import read_checkpoint
from ovseg_demo.proposals.maskformer.generator import (
    MaskFormerProposalGenerator,
    build_maskformer,
    normalise_pixels,
)
from tests.parity.kits import Kit, assert_close, kits, load_kit


def build_network(kit: Kit):
    return build_maskformer(read_checkpoint(kit.checkpoint_path).maskformer())


@pytest.fixture(scope="module", params=kits("swin", "r101c"))
def kit(request) -> Kit:
    return load_kit(request.param)


@pytest.fixture(scope="module", params=kits("swin", "r101c", arrays=("query_mask_logits",)))
def full_kit(request) -> Kit:
    """A kit with the weights of all of MaskFormer."""
    return load_kit(request.param)


@pytest.fixture(scope="module")
def network(kit):
    return build_network(kit)


@pytest.fixture(scope="module")
def proposals(full_kit):
    return generate(full_kit, build_network(full_kit))


def resize(kit: Kit) -> np.ndarray:
    return resize_shortest_edge(kit.image, kit.config["min_size_test"], kit.config["max_size_test"])


def generate(kit, network):
    generator = MaskFormerProposalGenerator(
        network,
        min_size=kit.config["min_size_test"],
        max_size=kit.config["max_size_test"],
        mask_threshold=kit.config["mask_threshold"],
    )
    return generator(kit.image)


def test_resized_image(kit):
    kit.assert_equal("input_resized_rgb", resize(kit))


def test_features(kit, network):
    with torch.inference_mode():
        features = network.backbone(normalise_pixels(resize(kit)))
        mask_features = network.sem_seg_head.pixel_decoder(features)
    computed = {f"feat_res{stage}": feature for stage, feature in enumerate(features, start=2)}
    computed["mask_features"] = mask_features
    compared = [name for name in computed if kit.has(name)]
    assert compared[:2] == ["feat_res2", "feat_res3"]
    for name in compared:
        kit.assert_close(name, computed[name])


def test_queries(full_kit, proposals):
    full_kit.assert_close("query_mask_logits", proposals.queries.mask_logits[None])
    full_kit.assert_close("query_class_embedding", proposals.queries.class_embeddings[None])
    embedding = proposals.queries.non_object_embedding
    assert_close(embedding / np.linalg.norm(embedding), full_kit.outputs["text_features_with_non_object"][-1])


def test_binary_masks(full_kit, proposals):
    valid = full_kit.outputs["valid"]
    np.testing.assert_array_equal(proposals.queries.kept, np.flatnonzero(valid))
    expected = np.unpackbits(
        full_kit.outputs["binary_masks_packed"][valid], axis=-1, count=proposals.working_size[1]
    )
    # Threads share out convolutions and so change their rounding, which decides a pixel at the threshold.
    assert (proposals.masks != expected.astype(bool)).mean() <= 1e-4
    np.testing.assert_array_equal(proposals.boxes, full_kit.outputs["boxes_xyxy"])


@pytest.mark.parametrize("folder", kits("simseg", arrays=("vild_clip_only_sem_seg",)))
def test_simseg_checkpoint_gives_proposals_at_its_working_size(folder):
    kit = load_kit(folder)
    proposals = generate(kit, build_network(kit))
    assert len(proposals) > 0
    assert min(proposals.working_size) == kit.config["min_size_test"]
    assert proposals.image_size == kit.image.shape[:2]
