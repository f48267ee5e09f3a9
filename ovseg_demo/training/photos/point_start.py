"""Initial weights of Segment Anything's mask decoder: every output token reads what is at its point.

With random weights, a token attends to the whole image, and the first thousand steps are spent on finding the
point. Here some frequencies of the positional encoding are fixed, and their channels of image and tokens
carry nothing but positions. Queries and keys of the attentions between tokens and image are equal projections
of these channels. A sum of cosines of a few octaves has one peak, at the point itself; each head has a width
of its own, from a cell to the whole image.
"""

from __future__ import annotations

import math

import torch
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import Attention
from torch import Tensor

OCTAVES = (0.25, 0.5, 1.0, 2.0)
"""Fixed frequencies along each axis, in periods of a coordinate that goes from -1 to 1."""

_OTHER_FREQUENCIES = 1.5
"""Standard deviation of the other, random frequencies."""

_HEADS = (
    (6.0, 3.0, 2.0, 1.5),
    (6.0, 3.0, 2.0, 1.5),
    (6.0, 3.0, 2.0, 1.5),
    (5.0, 3.0, 2.0, 0.3),
    (5.0, 3.0, 2.0, 0.3),
    (5.0, 2.0, 0.2, 0.0),
    (4.0, 1.0, 0.0, 0.0),
    (1.0, 0.0, 0.0, 0.0),
)
"""How high each head's scores of the octaves are where tokens read the image: widths from 1 to 14 cells."""

_PIXEL_HEADS = (
    (1.0, 1.0, 2.0, 3.0),
    (1.0, 1.0, 2.0, 3.0),
    (1.0, 1.0, 3.0, 0.0),
    (1.0, 1.0, 3.0, 0.0),
    (1.0, 2.0, 0.0, 0.0),
    (1.0, 2.0, 0.0, 0.0),
    (2.0, 0.0, 0.0, 0.0),
    (2.0, 0.0, 0.0, 0.0),
)
"""The same where pixels read tokens: within 2.5 to 16 cells of the point they prefer those with its place."""

_PLACE_GAIN = 2.4
"""How much larger than a position its copy in a token is after the first layer norm."""

_SELF_PREFERENCE = 3.0
"""Score of a token for itself in the first self-attention."""

_TOKEN_SCALE = 0.5
"""Standard deviation of the learned tokens."""


@torch.no_grad()
def start_at_points(sam: Sam) -> None:
    """Set positions, tokens and attentions of a new network; see the module's description.

    Args:
        sam: its image encoder has a neck that ends with ``out_norm``; its decoder has one layer, 8 heads and
            cross attentions with at least 16 channels a head.

    Raises:
        ValueError: a head has too few channels for the octaves.
    """
    prompts, decoder = sam.prompt_encoder, sam.mask_decoder
    layer = decoder.transformer.layers[0]
    frequencies = prompts.pe_layer.positional_encoding_gaussian_matrix  # (2, C / 2)
    frequencies.mul_(_OTHER_FREQUENCIES)
    fixed = 2 * len(OCTAVES)
    for number, octave in enumerate(OCTAVES):
        frequencies[:, 2 * number : 2 * number + 2] = octave * torch.eye(2)
    sines = torch.arange(fixed)
    places = torch.cat([sines, sines + frequencies.shape[1]])  # channels that carry positions only
    learned = [decoder.iou_token, decoder.mask_tokens, prompts.not_a_point_embed, *prompts.point_embeddings]
    for embedding in learned:
        embedding.weight.mul_(_TOKEN_SCALE)
        embedding.weight[:, places] = 0.0
    prompts.no_mask_embed.weight.zero_()
    out_norm = sam.image_encoder.neck.out_norm
    out_norm.weight[places] = 0.0
    out_norm.bias[places] = 0.0
    _start_self_attention(
        layer.self_attn, places, prompts.not_a_point_embed.weight[0], tokens=2 + decoder.num_mask_tokens + 1
    )
    final = decoder.transformer.final_attn_token_to_image
    attentions = [
        (layer.cross_attn_token_to_image, _HEADS),
        (layer.cross_attn_image_to_token, _PIXEL_HEADS),
        (final, _HEADS),
    ]
    for attention, heads in attentions:
        _attend_to_place(attention, places, heads)
        attention.out_proj.weight[places] = 0.0
        attention.out_proj.bias[places] = 0.0
    layer.mlp.lin2.weight[places] = 0.0
    layer.mlp.lin2.bias[places] = 0.0


def _start_self_attention(attention: Attention, places: Tensor, placeless: Tensor, tokens: int) -> None:
    """Give the point's place to all tokens but one.

    Heads that hold place channels average all tokens; in the others each token attends to itself.

    Args:
        attention: to be started.
        places: channels that carry positions.
        placeless: (C,), the learned token that attends to itself in all heads, so that pixels can compare.
        tokens: how many there are.
    """
    width = attention.internal_dim // attention.num_heads
    weight = torch.empty(attention.internal_dim, attention.embedding_dim)
    torch.nn.init.orthogonal_(weight)
    size = _TOKEN_SCALE**2 * width  # squared length of a token in a head
    weight *= math.sqrt(_SELF_PREFERENCE * math.sqrt(width) / size)
    for head in {int(place) // width for place in places}:
        weight[head * width : (head + 1) * width] = 0.0
        weight[head * width] = placeless / placeless.square().sum() * math.sqrt(8.0 * math.sqrt(width))
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.copy_(weight)
        projection.bias.zero_()
    gain = torch.ones(attention.embedding_dim)
    gain[places] = tokens  # an average of tokens of which one has a place
    attention.v_proj.weight.copy_(torch.diag(gain))
    attention.out_proj.weight.copy_(torch.eye(attention.embedding_dim))
    for projection in (attention.v_proj, attention.out_proj):
        projection.bias.zero_()


def _attend_to_place(attention: Attention, places: Tensor, heads: tuple[tuple[float, ...], ...]) -> None:
    """Set queries and keys to equal projections of the place channels, with scores as high as ``heads``."""
    width = attention.internal_dim // attention.num_heads
    if width < len(places) or attention.num_heads != len(heads):
        raise ValueError(
            f"{attention.num_heads} heads of {width} channels; {len(heads)} of {len(places)} needed"
        )
    weight = torch.zeros_like(attention.q_proj.weight)
    for head, heights in enumerate(heads):
        gains = torch.tensor(heights).repeat_interleave(2).repeat(2)  # sines, then cosines
        rows = head * width + torch.arange(len(places))
        weight[rows, places] = (gains * math.sqrt(width) / _PLACE_GAIN).sqrt()
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.copy_(weight)
        projection.bias.zero_()
