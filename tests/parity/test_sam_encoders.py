"""SAM with small image encoders against the published implementations, from the image to all of its masks."""

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from ovseg_demo import load_segmenter
from ovseg_demo.models.checkpoints import CheckpointKind, read_checkpoint
from ovseg_demo.proposals.sam.building import build_sam
from tests.parity.kits import Kit, assert_close, kits, load_kit, thin


@pytest.fixture(scope="module", params=kits("mobile_sam", "repvit_sam"))
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


def test_image_embedding(kit, predictor):
    kit.assert_close("image_embedding", predictor.features.numpy())


@pytest.mark.parametrize(("prefix", "multimask", "stride"), [("", True, 4), ("single_", False, 8)])
def test_masks_of_points(kit, predictor, prefix, multimask, stride):
    points = predictor.transform.apply_coords(kit.outputs["point_coords"], predictor.original_size)
    labels = torch.ones(len(points), 1)
    _, quality, logits = predictor.predict_torch(
        torch.from_numpy(points)[:, None], labels, multimask_output=multimask
    )
    kit.assert_close(f"{prefix}iou_predictions", quality.numpy())
    kit.assert_close(f"{prefix}low_res_masks_every{stride}", thin(logits.numpy(), stride))


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
