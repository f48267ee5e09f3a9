"""TextRegion against its reference implementation, in float32."""

import numpy as np
import pytest
import torch

from ovseg_demo.classification.building import build_classifier
from ovseg_demo.classification.clip.name_encoder import causal_names
from ovseg_demo.classification.clip.network import build_clip
from ovseg_demo.classification.pooled.grid import masks_on_grid, resize
from ovseg_demo.classification.pooled.text_region import TextRegion, TextRegionSettings, difference_scores
from ovseg_demo.classification.pooled.vit_towers import ClipViT
from ovseg_demo.classification.regions import CLIP_MEAN, CLIP_STD
from ovseg_demo.models.checkpoints import read_checkpoint
from ovseg_demo.models.clip_sources import read_clip_source
from ovseg_demo.progress import no_progress
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.runtime.devices import Runtime
from tests.parity.kits import Kit, assert_close, kits, load_kit, thin

FLOAT32 = Runtime(torch.device("cpu"), torch.float32)
WHOLE_KITS = kits("text_region", arrays=("interpolated_on_grid",))
CASES = [
    pytest.param(*kit.values, setting, id=f"{kit.id}-{setting}", marks=kit.marks)
    for setting in ("native", "interpolated")
    for kit in kits("text_region", arrays=(f"{setting}_on_grid",))
]
each_case = pytest.mark.parametrize(("folder", "setting"), CASES)


def given_proposals(kit: Kit) -> Proposals:
    masks = np.unpackbits(kit.outputs["masks_packed"], axis=-1, count=kit.image.shape[1]).astype(bool)
    return Proposals.from_masks(masks, np.ones(len(masks)), kit.image, kit.image.shape[:2], "sam")


def load_clip(kit: Kit):
    tensors = read_checkpoint(kit.checkpoint_path).clip()
    return build_clip(tensors, quick_gelu=kit.config["clip"]["quick_gelu"]).requires_grad_(False), tensors


def make_reader(kit: Kit, setting: str, variant: str = "raw_values") -> TextRegion:
    sizes = kit.config["settings"][setting]
    tower = ClipViT(load_clip(kit)[0].visual, sizes["crop_size"], variant)
    return TextRegion(tower, TextRegionSettings(*sizes["scale"]), CLIP_MEAN, CLIP_STD, FLOAT32)


@pytest.mark.parametrize("folder", WHOLE_KITS)
def test_text_features(folder):
    kit = load_kit(folder)
    names = causal_names(*load_clip(kit), FLOAT32, kit.config["clip"]["quick_gelu"])
    assert_close(names.embed(kit.config["class_names"], "imagenet"), kit.outputs["text_features"])


@each_case
@torch.inference_mode()
def test_map_of_values_and_filter(folder, setting):
    kit, proposals = load_kit(folder), given_proposals(load_kit(folder))
    reader = make_reader(kit, setting)
    tiles = reader.cut(kit.image)
    np.testing.assert_array_equal([tiles.rows, tiles.columns], kit.outputs[f"{setting}_tiles_hw"])
    features = reader.merged_map(tiles, no_progress)
    kit.assert_close(f"{setting}_values", features.numpy())
    weights = masks_on_grid(proposals, lambda masks: resize(masks, features.shape[1:])).flatten(1)
    kit.assert_close(f"{setting}_masks_on_grid", weights.numpy())
    on_grid = weights.any(dim=1)
    np.testing.assert_array_equal(on_grid.numpy(), kit.outputs[f"{setting}_on_grid"])
    scores = difference_scores(features.flatten(1), weights[on_grid])
    kit.assert_close(f"{setting}_difference_scores", scores.numpy())


@each_case
@pytest.mark.parametrize("variant", ["raw_values", "unit_values", "demo"])
def test_region_embeddings_and_label_map(folder, setting, variant):
    kit = load_kit(folder)
    proposals = given_proposals(kit)
    on_grid = kit.outputs[f"{setting}_on_grid"]
    kept = np.flatnonzero(on_grid)[kit.outputs[f"{setting}_kept"][on_grid]]
    found = make_reader(kit, setting, variant).embed(on_grid_only(proposals, on_grid), no_progress, None)
    vectors = np.zeros((len(proposals), found.vectors.shape[1]), np.float32)
    vectors[on_grid] = found.vectors
    kit.assert_close(f"{setting}_{variant}_region_embeddings", vectors[kept])
    cosines = vectors[kept] @ kit.outputs["text_features"].T
    kit.assert_close(f"{setting}_{variant}_region_cosines", cosines)
    if not kit.has(f"{setting}_{variant}_label_map"):
        return
    scores = np.tensordot(cosines.T, proposals.masks[kept].astype(np.float32), axes=1)
    expected = kit.outputs[f"{setting}_{variant}_label_map"]
    assert (scores.argmax(axis=0) == expected).mean() >= 0.999
    logits = kit.config["region_logit_scale"] * scores
    shares = np.exp(logits - logits.max(axis=0))
    name = f"{setting}_{variant}_pixel_probabilities_every8"
    kit.assert_close(name, thin(shares / shares.sum(axis=0), 8))


def on_grid_only(proposals: Proposals, on_grid: np.ndarray) -> Proposals:
    """The reference leaves out masks that no cell of the grid sees; ours give them the nearest cell."""
    masks = proposals.masks[on_grid]
    size = proposals.image_size
    return Proposals.from_masks(masks, np.ones(len(masks)), proposals.working_image, size, "sam")


@pytest.mark.parametrize("folder", kits("text_region", arrays=("native_on_grid",)))
def test_native_tiles_are_the_reference_settings_at_the_towers_own_side(folder):
    kit = load_kit(folder)
    source = read_clip_source(kit.checkpoint_path, quick_gelu=kit.config["clip"]["quick_gelu"])
    classifier = build_classifier(source, FLOAT32, "text-region-native")
    on_grid = kit.outputs["native_on_grid"]
    kept = kit.outputs["native_kept"][on_grid]
    found = classifier.embed_regions(on_grid_only(given_proposals(kit), on_grid))
    kit.assert_close("native_raw_values_region_embeddings", found.vectors[kept])


@each_case
def test_every_mask_has_an_embedding(folder, setting):
    kit = load_kit(folder)
    found = make_reader(kit, setting).embed(given_proposals(kit), no_progress, None)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    assert len(found.small) == np.count_nonzero(~kit.outputs[f"{setting}_on_grid"])
