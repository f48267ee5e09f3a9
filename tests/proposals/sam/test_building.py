"""Segment Anything networks built from tensors: sizes are read off the shapes, misfits are named."""

import pytest
import torch
from segment_anything import sam_model_registry

from ovseg_demo.errors import CheckpointError
from ovseg_demo.proposals.sam.building import read_config
from ovseg_demo.proposals.sam.generator import SamConfig, VitConfig, build_sam, new_sam
from tests.tiny.sam import TINY_SAM, changed, tiny_sam

PUBLISHED = {
    "vit_b": {"embed_dim": 768, "depth": 12, "num_heads": 12, "global_attention": (2, 5, 8, 11)},
    "vit_l": {"embed_dim": 1024, "depth": 24, "num_heads": 16, "global_attention": (5, 11, 17, 23)},
    "vit_h": {"embed_dim": 1280, "depth": 32, "num_heads": 16, "global_attention": (7, 15, 23, 31)},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_read_off_the_shapes(name):
    with torch.device("meta"):
        published = sam_model_registry[name]()
    config = read_config(published.state_dict())
    sizes = PUBLISHED[name]
    assert config == SamConfig(
        VitConfig(image_size=1024, patch_size=16, mlp_dim=4 * sizes["embed_dim"], window_size=14, **sizes)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_size": 128, "patch_size": 16},
        {"window_size": 0, "global_attention": (0, 1, 2)},
        {"window_size": 11},
        {"mlp_dim": 77},
        {"num_heads": 4, "qkv_bias": False},
        {"prompt_dim": 48, "mask_prompt_dim": 8},
        {"decoder_depth": 3, "decoder_mlp_dim": 20, "decoder_downsampling": 1},
        {"multimask_outputs": 5, "iou_head_depth": 4, "iou_head_dim": 10},
    ],
    ids=str,
)
def test_sizes_of_small_networks_are_read_off_the_shapes(changes):
    config = changed(**changes)
    assert read_config(new_sam(config).state_dict()) == config


def test_a_window_of_the_grids_size_is_the_grid():
    config = changed(window_size=TINY_SAM.grid_size, global_attention=(1,))
    sam = tiny_sam(config)
    rebuilt = build_sam(sam.state_dict())
    assert read_config(sam.state_dict()).encoder.global_attention == (0, 1, 2)
    pixels = torch.rand(1, 3, config.image_size, config.image_size)
    with torch.inference_mode():
        torch.testing.assert_close(rebuilt.image_encoder(pixels), sam.image_encoder(pixels))


def test_a_built_network_computes_what_the_original_does():
    sam = tiny_sam()
    rebuilt = build_sam(sam.state_dict())
    record = {
        "image": torch.randint(0, 256, (3, 64, 48)),
        "original_size": (64, 48),
        "point_coords": torch.tensor([[[10.0, 20.0]]]),
        "point_labels": torch.ones(1, 1),
    }
    expected = sam([record], multimask_output=True)[0]
    output = rebuilt([record], multimask_output=True)[0]
    assert torch.equal(output["low_res_logits"], expected["low_res_logits"])
    assert torch.equal(output["iou_predictions"], expected["iou_predictions"])
    assert not rebuilt.training


def test_weights_are_shared_and_not_copied():
    tensors = tiny_sam().state_dict()
    rebuilt = build_sam(tensors).state_dict()
    assert all(rebuilt[name].data_ptr() == tensor.data_ptr() for name, tensor in tensors.items())


def test_half_precision_weights_are_widened():
    tensors = {name: tensor.half() for name, tensor in tiny_sam().state_dict().items()}
    rebuilt = build_sam(tensors).state_dict()
    assert all(tensor.dtype == torch.float32 for tensor in rebuilt.values())
    assert all(torch.equal(rebuilt[name], tensor.float()) for name, tensor in tensors.items())


def test_new_networks_differ_by_seed_and_can_be_trained():
    torch.manual_seed(0)
    first, second = new_sam(TINY_SAM), new_sam(TINY_SAM)
    assert not torch.equal(first.image_encoder.pos_embed, second.image_encoder.pos_embed)
    assert first.training
    assert all(parameter.requires_grad for parameter in first.parameters())


def without(name: str) -> dict:
    tensors = tiny_sam().state_dict()
    del tensors[name]
    return tensors


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        pytest.param({}, "no tensor begins with", id="empty"),
        pytest.param({"visual.conv1.weight": torch.zeros(1)}, "no weights of a Segment Anything", id="CLIP"),
        pytest.param(without("image_encoder.pos_embed"), "image_encoder.pos_embed", id="no positions"),
        pytest.param(
            without("image_encoder.blocks.1.attn.rel_pos_h"),
            "blocks.1.attn.rel_pos_h",
            id="no relative positions",
        ),
        pytest.param(without("mask_decoder.iou_token.weight"), "iou_token", id="missing"),
        pytest.param(
            {**tiny_sam().state_dict(), "more": torch.zeros(1)}, '"more" is unexpected', id="unexpected"
        ),
        pytest.param(
            {**tiny_sam().state_dict(), "image_encoder.blocks.2.mlp.lin1.weight": torch.zeros(9, 9)},
            r'lin1\.weight" has the shape \(9, 9\) where the others ask for',
            id="wrong shape",
        ),
        pytest.param(
            {**tiny_sam().state_dict(), "image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(7, 16)},
            r"windows of \[3, 4\]",
            id="two window sizes",
        ),
    ],
)
def test_tensors_that_are_no_network_are_refused_by_name(tensors, named):
    with pytest.raises(CheckpointError, match=named):
        build_sam(tensors)
