"""Tiny seeded MaskFormer models: milliseconds to run, with masks of many sizes and shapes."""

from __future__ import annotations

import torch

from ovseg_demo.proposals.maskformer.config import MaskFormerConfig, ResNetConfig, SwinConfig
from ovseg_demo.proposals.maskformer.network import MaskFormerNetwork, published_tensors

BACKBONES = {
    "swin": SwinConfig(embed_dim=16, depths=(2, 2, 2, 2), num_heads=(2, 2, 4, 4), window_sizes=(3, 3, 3, 3)),
    "resnet": ResNetConfig(
        stem_channels=(8, 8, 16), depths=(1, 1, 1, 3), widths=(8, 8, 16, 16), channels=(32, 32, 64, 64)
    ),
    # As wide at the start as Sticker World's, whose settings it gets: 384 pixels, not 640.
    "narrow": ResNetConfig(
        stem_channels=(16, 8, 16), depths=(1, 1, 1, 3), widths=(8, 8, 16, 16), channels=(32, 32, 64, 64)
    ),
}


def tiny_maskformer_config(
    backbone: str = "swin", embedding_width: int = 32, queries: int = 12
) -> MaskFormerConfig:
    return MaskFormerConfig(
        backbone=BACKBONES[backbone],
        embedding_width=embedding_width,
        pixel_decoder_width=32,
        mask_width=24,
        hidden_width=32,
        feedforward_width=48,
        decoder_layers=2,
        queries=queries,
        mask_embed_widths=(32, 32),
        class_embed_widths=(40,),
    )


def tiny_maskformer(
    backbone: str = "swin", embedding_width: int = 32, queries: int = 12, seed: int = 0
) -> MaskFormerNetwork:
    """A network in evaluation mode whose masks differ in place and size, as an untrained one's would not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MaskFormerNetwork(tiny_maskformer_config(backbone, embedding_width, queries)).eval()
        with torch.no_grad():
            _spread_masks(network)
    return network


def tiny_maskformer_tensors(
    backbone: str = "swin", embedding_width: int = 32, queries: int = 12, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Its tensors as a published checkpoint's ``"model"`` names them.

    ``backbone.…``, ``sem_seg_head.…`` and ``clip_adapter.non_object_embedding``.
    """
    return published_tensors(tiny_maskformer(backbone, embedding_width, queries, seed))


def _spread_masks(network: MaskFormerNetwork) -> None:
    """Make the masks of queries differ: spread their attention, remove the common part, offset each mask."""
    head = network.sem_seg_head
    predictor, mask_features = head.predictor, head.pixel_decoder.mask_features
    for layer in predictor.transformer["decoder"].layers:
        layer.multihead_attn.in_proj_weight.mul_(4)
    features = network.backbone(torch.randn(1, 3, 128, 128))
    mask_features.bias.sub_(head.pixel_decoder(features).mean(dim=(0, 2, 3)))
    for mlp, spread in ((predictor.mask_embed, 6.0), (predictor.class_embed, 1.0)):
        last, outputs = mlp.layers[-1], []
        hook = last.register_forward_hook(lambda _, __, output, outputs=outputs: outputs.append(output))
        head(features)
        hook.remove()
        last.bias.sub_(outputs[0].mean(dim=(0, 1)))
        for parameter in (last.weight, last.bias):
            parameter.mul_(spread / outputs[0].std())
    # A feature that is 1 everywhere turns the embeddings' first entry into an offset of the whole mask.
    mask_features.weight[0] = 0
    mask_features.bias[0] = 1
    predictor.mask_embed.layers[-1].bias[0] -= 6
