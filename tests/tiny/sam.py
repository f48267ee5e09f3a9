"""A Segment Anything network small enough for tests, with weights under which it proposes masks."""

from dataclasses import fields, replace
from typing import Any

import torch
from segment_anything.modeling import MaskDecoder, Sam

from ovseg_demo.proposals.sam.building import SamConfig, new_sam
from ovseg_demo.proposals.sam.encoders.vit import VitConfig

TINY_SAM = SamConfig(
    encoder=VitConfig(
        image_size=64,
        patch_size=8,
        embed_dim=32,
        depth=3,
        num_heads=2,
        mlp_dim=64,
        window_size=3,  # does not divide the grid of 8: windows are padded
        global_attention=(1,),
    ),
    prompt_dim=32,
    mask_prompt_dim=4,
    decoder_mlp_dim=48,
    iou_head_dim=24,
)

TINY_SAM_THRESHOLDS = {
    "points_per_side": 8,
    "pred_iou_thresh": 0.4,
    "stability_score_thresh": 0.8,
    "stability_score_offset": 0.1,
    "box_nms_thresh": 1.0,
}
"""Settings of a generator under which some of the tiny network's masks pass each filter and some fail it.

The masks of random weights are scattered over the whole image, so their boxes are alike: below 1, box NMS
    leaves
hardly more than one.
"""


def changed(config: SamConfig = TINY_SAM, **changes: Any) -> SamConfig:
    """A configuration with some sizes replaced, of the image encoder or of the rest."""
    encoder_names = {field.name for field in fields(config.encoder)}
    encoder = {name: value for name, value in changes.items() if name in encoder_names}
    rest = {name: value for name, value in changes.items() if name not in encoder_names}
    return replace(config, encoder=replace(config.encoder, **encoder), **rest)


def tiny_sam(config: SamConfig = TINY_SAM, seed: int = 0) -> Sam:
    """A seeded random network whose masks and predicted qualities differ from point to point.

    ``tiny_sam().state_dict()`` is a checkpoint in segment-anything's format.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam = new_sam(config)
        with torch.no_grad():
            for parameter in sam.parameters():
                # Nothing stays at zero (relative positions, biases), so that every term of the network is
                # tested.
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
            _keep_masks_small(sam.mask_decoder)
            quality = sam.mask_decoder.iou_prediction_head.layers[-1]
            quality.weight.mul_(0.1)
            quality.bias.fill_(0.5)
    return sam.eval()


def _keep_masks_small(decoder: MaskDecoder) -> None:
    # The first upscaled channel is made constant, and each mask's weight on it negative: logits below zero on
    # average.
    upscaling = decoder.output_upscaling[3]
    upscaling.weight[:, 0] = 0
    upscaling.bias[0] = 1
    for mlp in decoder.output_hypernetworks_mlps:
        mlp.layers[-1].weight[0] = 0
        mlp.layers[-1].bias[0] = -1
