"""Stage 2's crops and embeddings against the reference implementation's, in float32."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ovseg_demo.classification.clip.classifier import MaskAdaptedClip
from ovseg_demo.classification.clip.network import MASK_EMBEDDING
from ovseg_demo.classification.regions import iterate_regions
from ovseg_demo.image_files.scaling import resize_shortest_edge
from ovseg_demo.images import resize_longer_side
from ovseg_demo.models.checkpoints import read_checkpoint
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime
from tests.parity.kits import Kit, assert_close, kits, load_kit

FLOAT32 = Runtime(torch.device("cpu"), torch.float32)
OVSEG_KITS = kits("swin", "r101c", arrays=("region_features_no_mask_prompt",))


def load_classifier(kit: Kit) -> tuple[MaskAdaptedClip, np.ndarray]:
    """The kit's CLIP, and its non-object embedding at unit length (1, D)."""
    checkpoint = read_checkpoint(kit.checkpoint_path)
    clip = MaskAdaptedClip.from_tensors(
        checkpoint.clip(), runtime=FLOAT32, quick_gelu=kit.config["clip"]["quick_gelu"]
    )
    non_object = checkpoint.maskformer()["non_object_embedding"].float()
    return clip, torch.nn.functional.normalize(non_object, dim=-1).numpy()


def given_proposals(kit: Kit) -> Proposals:
    """Proposals of the kit's own masks, so that stage 1 has no part in the comparison."""
    image = resize_shortest_edge(kit.image, kit.config["min_size_test"], kit.config["max_size_test"])
    packed = kit.outputs["binary_masks_packed"][kit.outputs["valid"]]
    masks = np.unpackbits(packed, axis=-1, count=image.shape[1])
    return Proposals.from_masks(masks, np.ones(len(masks)), image, kit.image.shape[:2], "maskformer")


def first_four_regions(proposals: Proposals, size: int) -> tuple[np.ndarray, np.ndarray]:
    regions, masks = next(iter(iterate_regions(proposals, size, batch=4)))
    return regions.numpy(), masks.numpy()


@pytest.mark.parametrize("folder", OVSEG_KITS)
def test_ovseg_text_features(folder):
    kit = load_kit(folder)
    clip, non_object = load_classifier(kit)
    features = clip.embed_names(kit.config["class_names"], kit.config["text_templates"])
    assert_close(np.concatenate([features, non_object]), kit.outputs["text_features_with_non_object"])


@pytest.mark.parametrize("folder", kits("simseg"))
@pytest.mark.parametrize("templates", ["vild", "learned"])
def test_simseg_text_features(folder, templates):
    kit = load_kit(folder)
    clip, non_object = load_classifier(kit)
    features = clip.embed_names(kit.config["class_names"], templates)
    expected = kit.outputs[f"text_features_{templates}_with_non_object"]
    assert_close(np.concatenate([features, non_object]), expected)


@pytest.mark.parametrize("folder", OVSEG_KITS)
def test_ovseg_crops(folder):
    kit = load_kit(folder)
    clip, _ = load_classifier(kit)
    proposals = given_proposals(kit)
    assert np.array_equal(proposals.boxes, kit.outputs["boxes_xyxy"])
    regions, masks = first_four_regions(proposals, clip.input_size)
    kit.assert_close("regions_normalised_first_four", regions)
    assert np.array_equal(masks, kit.outputs["region_masks_first_four"])


@pytest.mark.parametrize("folder", OVSEG_KITS)
@pytest.mark.parametrize("mask_prompts", [True, False])
def test_ovseg_region_features(folder, mask_prompts):
    kit = load_kit(folder)
    clip, _ = load_classifier(kit)
    assert clip.has_mask_prompts
    features = clip.embed_regions(given_proposals(kit), mask_prompts=mask_prompts).vectors
    expected = "region_features" if mask_prompts else "region_features_no_mask_prompt"
    assert_close(features, kit.outputs[expected])


def load_demo(folder: Path, quick_gelu: bool) -> tuple[Kit, MaskAdaptedClip, Proposals]:
    """The published demo's SAM path: an un-adapted CLIP, and given masks of an image at its working size."""
    kit = load_kit(folder)
    tensors = read_checkpoint(kit.sibling("swin").checkpoint_path).clip()
    del tensors[MASK_EMBEDDING]
    clip = MaskAdaptedClip.from_tensors(tensors, runtime=FLOAT32, quick_gelu=quick_gelu)
    working_image = resize_longer_side(kit.image, kit.config["long_side"])
    masks = np.unpackbits(kit.outputs["masks_packed"], axis=-1, count=kit.outputs["masks_shape"][2])
    image_size = kit.image.shape[:2]
    return kit, clip, Proposals.from_masks(masks, np.ones(len(masks)), working_image, image_size, "sam")


@pytest.mark.parametrize("folder", kits("sam_demo"))
def test_sam_crops(folder):
    kit, clip, proposals = load_demo(folder, quick_gelu=True)
    regions, _ = first_four_regions(proposals, clip.input_size)
    kit.assert_close("first_four_regions_normalised", regions)
    means = [
        regions.mean(dim=(1, 2, 3)) for regions, _ in iterate_regions(proposals, clip.input_size, batch=8)
    ]
    assert_close(torch.cat(means).numpy(), kit.outputs["regions_mean_per_crop"])


@pytest.mark.parametrize("folder", kits("sam_demo"))
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_sam_features(folder, quick_gelu):
    kit, clip, proposals = load_demo(folder, quick_gelu)
    suffix = f"quickgelu{int(quick_gelu)}"
    assert_close(clip.embed_regions(proposals).vectors, kit.outputs[f"region_features_{suffix}"])
    text = clip.embed_names(kit.config["class_names"], "photo")
    assert_close(text, kit.outputs[f"text_features_{suffix}"])
