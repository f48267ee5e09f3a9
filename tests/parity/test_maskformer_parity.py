"""MaskFormer against the reference outputs of the parity kits."""

import numpy as np
import pytest
import torch

from ovseg_demo.models.checkpoints import read_checkpoint
from ovseg_demo.proposals.maskformer.generator import (
    MaskFormerProposalGenerator,
    build_maskformer,
    normalise_pixels,
    resize_shortest_edge,
)
from tests.parity.kits import Kit, assert_close, load_kit


def build_network(kit: Kit):
    return build_maskformer(read_checkpoint(kit.checkpoint_path).maskformer())


@pytest.fixture(scope="module", params=["swin", "r101c"])
def kit(request) -> Kit:
    return load_kit(request.param)


@pytest.fixture(scope="module")
def network(kit):
    return build_network(kit)


@pytest.fixture(scope="module")
def proposals(kit, network):
    return generate(kit, network)


def generate(kit, network):
    generator = MaskFormerProposalGenerator(
        network,
        min_size=kit.config["min_size_test"],
        max_size=kit.config["max_size_test"],
        mask_threshold=kit.config["mask_threshold"],
    )
    return generator(kit.image)


def test_resized_image(kit):
    resized = resize_shortest_edge(kit.image, kit.config["min_size_test"], kit.config["max_size_test"])
    np.testing.assert_array_equal(resized, kit.outputs["input_resized_rgb"])


def test_features(kit, network):
    with torch.inference_mode():
        features = network.backbone(normalise_pixels(kit.outputs["input_resized_rgb"]))
        mask_features = network.sem_seg_head.pixel_decoder(features)
    for stage, feature in enumerate(features, start=2):
        assert_close(feature, kit.outputs[f"feat_res{stage}"])
    assert_close(mask_features, kit.outputs["mask_features"])


def test_queries(kit, proposals):
    assert_close(proposals.queries.mask_logits, kit.outputs["query_mask_logits"][0])
    assert_close(proposals.queries.class_embeddings, kit.outputs["query_class_embedding"][0])
    embedding = proposals.queries.non_object_embedding
    assert_close(embedding / np.linalg.norm(embedding), kit.outputs["text_features_with_non_object"][-1])


def test_binary_masks(kit, proposals):
    valid = kit.outputs["valid"]
    np.testing.assert_array_equal(proposals.queries.kept, np.flatnonzero(valid))
    expected = np.unpackbits(
        kit.outputs["binary_masks_packed"][valid], axis=-1, count=proposals.working_size[1]
    )
    # Threads share out convolutions and so change their rounding, which decides a pixel at the threshold.
    assert (proposals.masks != expected.astype(bool)).mean() <= 1e-4
    np.testing.assert_array_equal(proposals.boxes, kit.outputs["boxes_xyxy"])


def test_simseg_checkpoint_gives_proposals_at_its_working_size():
    kit = load_kit("simseg")
    proposals = generate(kit, build_network(kit))
    assert len(proposals) > 0
    assert min(proposals.working_size) == kit.config["min_size_test"]
    assert proposals.image_size == kit.image.shape[:2]
