"""Initial weights of a MaskFormer that knows places: every query begins as a disc at an anchor of its own.

With random weights, all queries attend to the whole image, and many thousand steps are spent on giving each
of them a region. Here the mask embedding of a query draws a disc around its anchor by the places in the mask
features, and its cross-attention reads the cells at the anchor: queries and keys are equal projections of the
channels of DETR's positions with short waves, which image tokens and queries' content leave free. Training
then changes the discs by what is seen there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ovseg_demo.proposals.maskformer.config import ATTENTION_HEADS, PLACE_CHANNELS, PLACE_FREQUENCIES
from ovseg_demo.proposals.maskformer.network import MaskFormerNetwork, sine_positions

RINGS = ((8, 0.09), (5, 0.17), (3, 0.3), (1, 0.45), (1, 0.7))
"""Grids of anchors: how many along each side, and the radius of their discs in sides of the input."""

_DISC_WEIGHTS = (1.0, 1.0, 0.5, 0.0)
"""Shares of the frequencies of the places in a disc."""

_CENTRE_LOGIT = 2.0

_GAINS = (12.0, 9.0, 7.0, 5.0, 3.0, 1.5, 0.5, 0.0)
"""How sharply each head attends to the anchor: from a cell or two to the whole image."""

_PLACE_SCALE = 0.3
"""Standard deviation of the projection of places into image tokens."""

_EMBED_SCALE = 0.1
"""Factor of the mask MLP's last layer, which adds to the discs."""

QUERIES = sum(side**2 for side, _ in RINGS)


@torch.no_grad()
def start_at_anchors(network: MaskFormerNetwork) -> None:
    """Set anchors, positions and attentions of a new network; see the module's description.

    Raises:
        ValueError: the network does not know places, or has another number of queries than :data:`QUERIES`.
    """
    config, predictor = network.config, network.sem_seg_head.predictor
    if not config.knows_places or config.queries != QUERIES or config.mask_width < PLACE_CHANNELS:
        raise ValueError(
            f"{config.queries} queries, mask features of {config.mask_width}; {QUERIES} queries that know "
            f"places and at least {PLACE_CHANNELS} features needed"
        )
    decoder = network.sem_seg_head.pixel_decoder
    decoder.place_proj.weight.zero_()
    decoder.place_proj.weight[:PLACE_CHANNELS, :, 0, 0] = torch.eye(PLACE_CHANNELS)
    decoder.mask_features.weight[:PLACE_CHANNELS] = 0.0
    anchors = torch.cat([_grid(side) for side, _ in RINGS])
    radii = torch.cat([torch.full((side**2,), radius) for side, radius in RINGS])
    predictor.place_embed.weight.zero_()
    predictor.place_embed.weight[:, :PLACE_CHANNELS] = _discs(anchors, radii)
    last = predictor.mask_embed.layers[-1]
    last.weight.mul_(_EMBED_SCALE)
    last.bias.zero_()
    channels = _place_channels(config.hidden_width)
    predictor.query_embed.weight.copy_(_positions_at(anchors, config.hidden_width))
    nn.init.normal_(predictor.place_proj.weight, std=_PLACE_SCALE)
    for projection in (predictor.place_proj, predictor.input_proj):
        projection.weight[channels] = 0.0
    predictor.input_proj.bias[channels] = 0.0
    for layer in predictor.transformer["decoder"].layers:
        _attend_to_anchors(layer.multihead_attn, channels)
        for output in (layer.self_attn.out_proj, layer.multihead_attn.out_proj, layer.linear2):
            output.weight[channels] = 0.0
            output.bias[channels] = 0.0


def _grid(side: int) -> Tensor:
    """Return the y and x of a grid of anchors, (side², 2), in sides of the input."""
    axis = (torch.arange(side) + 0.5) / side
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).flatten(0, 1)


def _discs(anchors: Tensor, radii: Tensor) -> Tensor:
    """Return the weights (Q, ``PLACE_CHANNELS``) of places of logits that are 0 at a radius from anchors."""
    frequencies, shares = math.pi * torch.tensor(PLACE_FREQUENCIES), torch.tensor(_DISC_WEIGHTS)
    drop = (shares * (1 - (frequencies * radii[:, None]).cos())).sum(dim=1)
    heights = _CENTRE_LOGIT / drop
    angles = frequencies * anchors[:, :, None]  # (Q, 2, frequencies)
    waves = torch.stack([angles.cos(), angles.sin()], dim=-1) * shares[:, None]
    constant = drop - 2 * shares.sum()
    return heights[:, None] * torch.cat([constant[:, None], waves.flatten(1)], dim=1)


def _positions_at(anchors: Tensor, width: int, cells: int = 64) -> Tensor:
    """Return DETR's positions (Q, width) of the nearest cells of a fine map."""
    fine = sine_positions(width, cells, cells)
    rows, columns = (anchors * cells).long().clamp(max=cells - 1).unbind(1)
    return fine[rows * cells + columns]


def _place_channels(width: int) -> Tensor:
    """Return the channels of DETR's positions with the shortest waves: half of a head's width for y and x."""
    share = width // ATTENTION_HEADS // 2
    return torch.cat([torch.arange(share), width // 2 + torch.arange(share)])


def _attend_to_anchors(attention: nn.MultiheadAttention, channels: Tensor) -> None:
    """Make equal projections of the place channels the queries and keys of all heads."""
    width = attention.embed_dim
    head_width = width // ATTENTION_HEADS
    weight = torch.zeros(width, width)
    for head, gain in enumerate(_GAINS):
        weight[head * head_width + torch.arange(len(channels)), channels] = math.sqrt(gain)
    attention.in_proj_weight[:width] = weight
    attention.in_proj_weight[width : 2 * width] = weight
    attention.in_proj_bias[: 2 * width] = 0.0
