"""SAM with small image encoders against the published implementations, from the image to all of its masks."""

import re

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from ovseg_demo import load_segmenter
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.sam.building import build_sam
from tests.parity.kits import Kit, assert_close, load_kit


@pytest.fixture(scope="module", params=["mobile_sam", "repvit_sam"])
def kit(request) -> Kit:
    return load_kit(request.param)


@pytest.fixture(scope="module")
def sam(kit) -> Sam:
    return build_sam(read_checkpoint(kit.checkpoint_path, CheckpointKind.SAM).sam())


@pytest.fixture(scope="module")
def predictor(kit, sam) -> SamPredictor:
    """segment-anything's own, with our network and the kit's image."""
    predictor = SamPredictor(sam)
    predictor.set_image(kit.image)
    return predictor


def assert_equals_stored(actual: torch.Tensor, kit: Kit, name: str) -> None:
    """Compare with the kit's array ``name``, or with what it has of it: ``name_every4`` and the like."""
    stored = next(found for found in kit.outputs if re.fullmatch(rf"{name}(_every\d+)*", found))
    stride = int(np.prod([int(number) for number in re.findall(r"_every(\d+)", stored)]))
    assert_close(actual[..., ::stride, ::stride].numpy(), kit.outputs[stored])


def test_image_embedding(kit, predictor):
    assert_equals_stored(predictor.features, kit, "image_embedding")


@pytest.mark.parametrize(("prefix", "multimask"), [("", True), ("single_", False)])
def test_masks_of_points(kit, predictor, prefix, multimask):
    points = predictor.transform.apply_coords(kit.outputs["point_coords"], predictor.original_size)
    labels = torch.ones(len(points), 1)
    _, quality, logits = predictor.predict_torch(
        torch.from_numpy(points)[:, None], labels, multimask_output=multimask
    )
    assert_close(quality.numpy(), kit.outputs[f"{prefix}iou_predictions"])
    assert_equals_stored(logits, kit, f"{prefix}low_res_masks")


def test_masks_of_everything(kit):
    options = dict(kit.config["everything"], long_side=None)
    segmenter = load_segmenter(
        "sticker-world", sam=kit.checkpoint_path, sam_options=options, device="cpu", precision="float32"
    )
    found = segmenter.propose(kit.image, generator="sam")
    order = np.argsort(-kit.outputs["everything_predicted_iou"], kind="stable")
    assert_close(found.scores, kit.outputs["everything_predicted_iou"][order])
    expected = kit.outputs["everything_masks_packed"][order]
    height, width = kit.image.shape[:2]
    different = np.bitwise_count(found.packed_masks ^ expected).sum(axis=(1, 2))
    assert (different <= 1e-3 * height * width).all()
    intersections = np.bitwise_count(found.packed_masks & expected).sum(axis=(1, 2), dtype=np.int64)
    assert (intersections >= 0.999 * np.bitwise_count(expected).sum(axis=(1, 2), dtype=np.int64)).all()
