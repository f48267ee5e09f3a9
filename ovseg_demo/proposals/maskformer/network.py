"""The MaskFormer network with open-vocabulary class embeddings (arXiv 2107.06278, arXiv 2210.04150).

Modules have the names of the published checkpoints. A state dict therefore has the tensors of a published
file, except those that :data:`DERIVED` names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ovseg_demo.proposals.maskformer.config import (
    ATTENTION_HEADS,
    GROUP_NORM_GROUPS,
    PLACE_CHANNELS,
    PLACE_FREQUENCIES,
    POSITION_TEMPERATURE,
    MaskFormerConfig,
    ResNetConfig,
    SwinConfig,
    TimmCnnConfig,
    read_config,
)
from ovseg_demo.proposals.maskformer.resnet import ConvNorm, ResNet
from ovseg_demo.proposals.maskformer.swin import Swin
from ovseg_demo.proposals.trunks import make_trunk
from ovseg_demo.runtime.mapped_files import place_tensors
from ovseg_demo.runtime.tensors import check_names_and_shapes

NON_OBJECT = "non_object_embedding"
DERIVED = ("relative_position_index", "num_batches_tracked")
"""Endings of the names of tensors that the network computes; a file may contain them."""


@dataclass(frozen=True, eq=False)
class QueryPredictions:
    """The predictions of one decoder layer for all queries.

    Attributes:
        mask_logits: (B, Q, h4, w4), over the whole input at the stride of res2.
        class_embeddings: (B, Q, D), not normalised, in the space of the text embeddings.
    """

    mask_logits: Tensor
    class_embeddings: Tensor


class TimmCnn(nn.Module):
    """A convolutional classifier of timm without its head."""

    def __init__(self, config: TimmCnnConfig):
        super().__init__()
        self.trunk = make_trunk(config.trunk)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return res2 … res5 of normalised pixels (B, 3, H, W): (B, C, h, w) at strides 4, 8, 16 and 32."""
        return tuple(self.trunk(pixels.contiguous(memory_format=torch.channels_last)))


class PixelDecoder(nn.Module):
    """A feature pyramid that sums res5 … res2 from coarse to fine.

    With ``knows_places``, mask features contain a projection of their places (:func:`places`).
    """

    def __init__(self, channels: tuple[int, ...], width: int, mask_width: int, *, knows_places: bool = False):
        super().__init__()
        for level, in_channels in enumerate(channels[:-1], start=1):
            self.add_module(f"adapter_{level}", _pyramid_conv(in_channels, width, 1))
            self.add_module(f"layer_{level}", _pyramid_conv(width, width, 3))
        self.add_module(f"layer_{len(channels)}", _pyramid_conv(channels[-1], width, 3))
        self.mask_features = nn.Conv2d(width, mask_width, 3, padding=1)
        nn.init.kaiming_uniform_(self.mask_features.weight, a=1)
        nn.init.zeros_(self.mask_features.bias)
        self.place_proj = nn.Conv2d(PLACE_CHANNELS, mask_width, 1, bias=False) if knows_places else None

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Return the mask features (B, mask_width, h4, w4) of res2 … res5."""
        coarsest = len(features)
        pyramid = F.relu(self.get_submodule(f"layer_{coarsest}")(features[-1]))
        for level in reversed(range(1, coarsest)):
            lateral = self.get_submodule(f"adapter_{level}")(features[level - 1])
            pyramid = lateral + F.interpolate(pyramid, size=lateral.shape[-2:], mode="nearest")
            pyramid = F.relu(self.get_submodule(f"layer_{level}")(pyramid))
        mask_features = self.mask_features(pyramid)
        if self.place_proj is None:
            return mask_features
        return mask_features + self.place_proj(places(*mask_features.shape[-2:]).to(mask_features))


class DecoderLayer(nn.Module):
    """A post-norm DETR decoder layer; positions are added to queries and keys, not to values."""

    def __init__(self, width: int, feedforward_width: int):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, ATTENTION_HEADS, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, ATTENTION_HEADS, batch_first=True)
        self.linear1 = nn.Linear(width, feedforward_width)
        self.linear2 = nn.Linear(feedforward_width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, query_embed: Tensor, memory: Tensor, memory_keys: Tensor) -> Tensor:
        """Return the queries' content (B, Q, C) after this layer.

        Args:
            x: the queries' content, (B, Q, C).
            query_embed: the queries' learned positions, (B, Q, C).
            memory: the image's tokens, (B, h5·w5, C).
            memory_keys: the same tokens with their positions added.
        """
        # need_weights selects a code path that rounds as the reference implementation does, so that no pixel
        # near the threshold changes sides. The weights are not used. With 100 queries the cost is negligible.
        queries = x + query_embed
        x = self.norm1(x + self.self_attn(queries, queries, x, need_weights=True)[0])
        x = self.norm2(x + self.multihead_attn(x + query_embed, memory_keys, memory, need_weights=True)[0])
        return self.norm3(x + self.linear2(F.relu(self.linear1(x))))


class Decoder(nn.Module):
    """The decoder layers; one layer norm, common to all of them, normalises each output."""

    def __init__(self, config: MaskFormerConfig):
        super().__init__()
        layer_sizes = (config.hidden_width, config.feedforward_width)
        self.layers = nn.ModuleList(DecoderLayer(*layer_sizes) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(config.hidden_width)

    def forward(self, query_embed: Tensor, memory: Tensor, positions: Tensor) -> list[Tensor]:
        """Return the queries' content (B, Q, C) after each layer; it starts at zero."""
        x = torch.zeros_like(query_embed)
        outputs = []
        for layer in self.layers:
            x = layer(x, query_embed, memory, memory + positions)
            outputs.append(self.norm(x))
        return outputs


class MultilayerPerceptron(nn.Module):
    """Linear layers with a ReLU between them."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, widths[-1]) for an input (…, widths[0])."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        return last(x)


class Predictor(nn.Module):
    """The transformer that predicts masks and class embeddings of the queries, always in float32."""

    def __init__(self, config: MaskFormerConfig, in_channels: int):
        super().__init__()
        width = config.hidden_width
        self.transformer = nn.ModuleDict({"decoder": Decoder(config)})
        for parameter in self.transformer.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.query_embed = nn.Embedding(config.queries, width)
        self.input_proj = nn.Conv2d(in_channels, width, 1) if config.projects_features else nn.Identity()
        self.mask_embed = MultilayerPerceptron((width, *config.mask_embed_widths, config.mask_width))
        self.class_embed = MultilayerPerceptron((width, *config.class_embed_widths, config.embedding_width))
        self.place_proj = nn.Conv2d(PLACE_CHANNELS, width, 1, bias=False) if config.knows_places else None
        self.place_embed = nn.Embedding(config.queries, config.mask_width) if config.knows_places else None

    def forward(self, res5: Tensor, mask_features: Tensor, *, all_layers: bool) -> list[QueryPredictions]:
        """Return the predictions from res5 and mask features, as :meth:`MaskFormerNetwork.forward` does."""
        # With a hundred queries, float32 costs little time.
        with torch.autocast(res5.device.type, enabled=False):
            outputs = self.decode(res5.float(), self.query_embed.weight.expand(len(res5), -1, -1))
            if not all_layers:
                outputs = outputs[-1:]
            mask_features = mask_features.float()
            return [self._predict(queries, mask_features) for queries in outputs]

    def decode(self, res5: Tensor, query_embed: Tensor) -> list[Tensor]:
        """Return the content of queries (B, Q, C) after each layer, given image features (B, C5, h5, w5)."""
        memory = self.input_proj(res5)
        positions = sine_positions(*memory.shape[1:]).to(memory)
        if self.place_proj is not None:
            memory = memory + self.place_proj(places(*memory.shape[-2:]).to(memory))
        tokens = memory.flatten(2).transpose(1, 2)  # (B, h5·w5, C)
        return self.transformer["decoder"](query_embed, tokens, positions)

    def embed_masks(self, queries: Tensor) -> Tensor:
        """Return the mask embeddings (…, Q, M) of the queries' content (…, Q, C)."""
        embeddings = self.mask_embed(queries)
        return embeddings if self.place_embed is None else embeddings + self.place_embed.weight

    def _predict(self, queries: Tensor, mask_features: Tensor) -> QueryPredictions:
        mask_logits = torch.einsum("bqc,bchw->bqhw", self.embed_masks(queries), mask_features)
        return QueryPredictions(mask_logits, self.class_embed(queries))


class SemSegHead(nn.Module):
    """All that follows the backbone."""

    def __init__(self, config: MaskFormerConfig):
        super().__init__()
        channels = config.backbone.channels
        self.pixel_decoder = PixelDecoder(
            channels, config.pixel_decoder_width, config.mask_width, knows_places=config.knows_places
        )
        self.predictor = Predictor(config, channels[-1])

    def forward(self, features: tuple[Tensor, ...], *, all_layers: bool = False) -> list[QueryPredictions]:
        """Return the predictions from res2 … res5, as :meth:`MaskFormerNetwork.forward` does."""
        return self.predictor(features[-1], self.pixel_decoder(features), all_layers=all_layers)


def _make_backbone(config: SwinConfig | ResNetConfig | TimmCnnConfig) -> nn.Module:
    if isinstance(config, SwinConfig):
        return Swin(config)
    return TimmCnn(config) if isinstance(config, TimmCnnConfig) else ResNet(config)


class MaskFormerNetwork(nn.Module):
    """Backbone, pixel decoder and transformer, with random weights until others are loaded.

    Attributes:
        config: the network's sizes.
        non_object_embedding: a parameter (1, D): the class "none of the names" in the space of the text
            embeddings.
    """

    def __init__(self, config: MaskFormerConfig):
        super().__init__()
        self.config = config
        self.backbone = _make_backbone(config.backbone)
        self.sem_seg_head = SemSegHead(config)
        self.non_object_embedding = nn.Parameter(torch.empty(1, config.embedding_width))
        nn.init.normal_(self.non_object_embedding, std=0.02)

    def forward(self, pixels: Tensor, *, all_layers: bool = False) -> list[QueryPredictions]:
        """Return the predicted masks and class embeddings of all queries.

        Args:
            pixels: RGB (B, 3, H, W), normalised as by
                :func:`ovseg_demo.proposals.maskformer.generator.normalise_pixels`; H and W are multiples of
                32.
            all_layers: whether to return the predictions of every decoder layer, for deep supervision.

        Returns:
            The predictions of the last decoder layer, or of all layers in order.
        """
        return self.sem_seg_head(self.backbone(pixels), all_layers=all_layers)


def build_maskformer(tensors: Mapping[str, Tensor]) -> MaskFormerNetwork:
    """Return the network with the weights of a checkpoint, in float32 and evaluation mode.

    The shapes of the tensors give all sizes. Float32 tensors become the network's weights without a copy.

    Args:
        tensors: ``backbone.…``, ``sem_seg_head.…`` and ``non_object_embedding``, whose name is
            ``clip_adapter.non_object_embedding`` in a published file.

    Raises:
        CheckpointError: tensors are missing or unexpected, or their shapes contradict each other.
    """
    own = {name: tensor for name, tensor in tensors.items() if not name.endswith(DERIVED)}
    weights = place_tensors(own, lambda _, tensor: tensor.float())
    with torch.device("meta"):
        network = MaskFormerNetwork(read_config(weights))
    expected = {name: value for name, value in network.state_dict().items() if not name.endswith(DERIVED)}
    check_names_and_shapes(expected, weights, "an OVSeg or SimSeg MaskFormer")
    network.load_state_dict(weights, assign=True)
    if isinstance(network.backbone, Swin):
        network.backbone.derive_buffers()
    elif isinstance(network.backbone, TimmCnn):
        network.backbone.to(memory_format=torch.channels_last)
    return network.eval()


def published_tensors(network: MaskFormerNetwork) -> dict[str, Tensor]:
    """Return the network's tensors, without copies, under the names of a published checkpoint's ``"model"``.

    This is the inverse of :func:`build_maskformer`, except for ``clip_adapter.`` before
    ``non_object_embedding``. As in published files, Swin's relative position indices are included, although
    they follow from the window sizes.
    """
    tensors = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith(DERIVED)}
    tensors[f"clip_adapter.{NON_OBJECT}"] = tensors.pop(NON_OBJECT)
    indexes = {name: buffer for name, buffer in network.named_buffers() if name.endswith("position_index")}
    return tensors | indexes


def sine_positions(channels: int, height: int, width: int) -> Tensor:
    """Return the sine position embeddings of DETR (arXiv 2005.12872): (height * width, channels).

    The first half of the channels encodes y, the second x. Rows and columns are counted from 1 and scaled so
    that the last one is at 2π. In each half, sine and cosine alternate over wavelengths that grow from 2π to
    10,000 · 2π.
    """
    half = channels // 2
    wavelengths = POSITION_TEMPERATURE ** (2 * (torch.arange(half) // 2) / half)
    rows = torch.arange(1, height + 1) / (height + 1e-6) * (2 * math.pi)
    columns = torch.arange(1, width + 1) / (width + 1e-6) * (2 * math.pi)
    y, x = (_alternate_sine_cosine(axis[:, None] / wavelengths) for axis in (rows, columns))
    y = y[:, None].expand(height, width, half)
    x = x[None, :].expand(height, width, half)
    return torch.cat([y, x], dim=-1).flatten(0, 1)


def places(height: int, width: int) -> Tensor:
    """Return the place of each cell of a map: (1, ``PLACE_CHANNELS``, height, width).

    The first channel is 1. Then follow cosine and sine of πfy for each frequency f, and the same of x; y and
    x lie in (0, 1) at the cells' centres.
    """
    frequencies = math.pi * torch.tensor(PLACE_FREQUENCIES)
    channels = [torch.ones(1, height, width)]
    for axis, length in enumerate((height, width)):
        angles = frequencies[:, None] * (torch.arange(length) + 0.5) / length
        waves = torch.stack([angles.cos(), angles.sin()], dim=1).flatten(0, 1)  # (2 · frequencies, length)
        waves = waves[:, :, None] if axis == 0 else waves[:, None]
        channels.append(waves.expand(-1, height, width))
    return torch.cat(channels)[None]


def _alternate_sine_cosine(angles: Tensor) -> Tensor:
    return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=-1).flatten(1)


def _pyramid_conv(in_channels: int, out_channels: int, kernel_size: int) -> ConvNorm:
    conv = ConvNorm(in_channels, out_channels, kernel_size, nn.GroupNorm(GROUP_NORM_GROUPS, out_channels))
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return conv
