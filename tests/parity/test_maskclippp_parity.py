"""Mask pooling and MaskCLIP++ against their reference implementations, in float32."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ovseg_demo.classification.building import Tuned, build_classifier
from ovseg_demo.classification.clip.source import ClipSource
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.runtime.devices import Runtime
from ovseg_demo.vocabulary import ClassName, Vocabulary
from tests.parity.kits import Kit, kits, load_kit
from tests.parity.test_text_region_parity import given_proposals

FLOAT32 = Runtime(torch.device("cpu"), torch.float32)
KITS = kits("maskclippp", arrays=("masks_packed",))
SETTINGS = {"untuned": "soft-pooling", "fcclip": "fc-clip", "maskclippp": "soft-pooling"}
pytestmark = pytest.mark.parametrize("folder", KITS)


def make_classifier(kit: Kit, prefix: str):
    """The kit's classifier, which reads a smaller image than the published one."""
    source = ClipSource(read_checkpoint(kit.weights_path("open_clip_model.safetensors")).clip())
    tuned = None
    if prefix == "maskclippp":
        tuned = Tuned(*read_checkpoint(kit.checkpoint_path, CheckpointKind.MASKCLIPPP).maskclippp())
    classifier = build_classifier(source, FLOAT32, SETTINGS[prefix], tuned)
    config = kit.config
    classifier.regions.pooled._settings = replace(
        classifier.regions.pooled._settings,
        shorter_side=config["min_size_test"],
        longest_side=config["max_size_test"],
        second_shorter_side=config["test_image_size"],
    )
    return classifier


def vocabulary_of(kit: Kit) -> Vocabulary:
    entries = [[name.strip() for name in entry.split(",")] for entry in kit.config["class_names"]]
    return Vocabulary(tuple(ClassName(name, tuple(synonyms)) for name, *synonyms in entries))


def test_input_and_dense_features(folder):
    kit = load_kit(folder)
    regions = make_classifier(kit, "untuned").regions.pooled
    pixels = regions.resize(kit.image)
    np.testing.assert_array_equal(pixels.shape[1:], kit.outputs["resized_input_shape"])
    kit.assert_close("untuned_dense_features", regions.dense_features(pixels)[None].numpy())
    weights = regions._weigh(torch.from_numpy(given_proposals(kit).masks).float()[:, None], pixels.shape[1:])
    kit.assert_close("masks_on_grid", weights[:, 0].numpy())


@pytest.mark.parametrize("prefix", SETTINGS)
def test_region_embeddings(folder, prefix):
    kit = load_kit(folder)
    found = make_classifier(kit, prefix).embed_regions(given_proposals(kit))
    seen = kit.outputs["masks_on_grid"].any(axis=(1, 2))
    if prefix == "fcclip":
        seen = (kit.outputs["masks_on_grid"] > 0.5).any(axis=(1, 2))
    expected = kit.outputs[f"{prefix}_region_embeddings"]
    assert np.abs(found.vectors[seen] - expected[seen]).max() <= 1e-4
    assert len(found.small) == np.count_nonzero(~seen) > 0
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("prefix", SETTINGS)
def test_class_logits(folder, prefix):
    kit, vocabulary = load_kit(folder), vocabulary_of(load_kit(folder))
    classifier = make_classifier(kit, prefix)
    found = classifier.embed_regions(given_proposals(kit))
    names = classifier.embed_names(vocabulary.all_names, "vild")
    if prefix == "fcclip":
        kit.assert_close("fcclip_text_features", names)
    if found.adaptation is not None:
        names = found.adaptation(names)
        kit.assert_close("maskclippp_adapted_text", names)
    regions = kit.outputs[f"{prefix}_region_embeddings"]
    logits = classifier.logit_scale * regions @ names.T
    first = np.cumsum([0, *kit.outputs["synonyms_per_class"][:-1]])
    kit.assert_close(f"{prefix}_class_logits", np.maximum.reduceat(logits, first, axis=1))


def test_adapted_names_do_not_depend_on_each_other(folder):
    kit, vocabulary = load_kit(folder), vocabulary_of(load_kit(folder))
    classifier = make_classifier(kit, "maskclippp")
    adapt = classifier.embed_regions(given_proposals(kit)).adaptation
    names = classifier.embed_names(vocabulary.all_names, "vild")
    one_by_one = np.concatenate([adapt(names[[row]]) for row in range(len(names))])
    np.testing.assert_allclose(one_by_one, adapt(names), atol=1e-5)
