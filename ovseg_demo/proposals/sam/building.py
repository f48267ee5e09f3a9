"""Segment Anything networks of any size: from a checkpoint's tensors, or new ones to be trained."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from ovseg_demo.proposals.normalization import PIXEL_MEAN, PIXEL_STD
from ovseg_demo.proposals.sam.encoders.base import EncoderConfig, InputFrame
from ovseg_demo.proposals.sam.encoders.registry import PREFIX, read_encoder_config
from ovseg_demo.proposals.sam.shapes import Shapes
from ovseg_demo.runtime.mapped_files import place_tensors
from ovseg_demo.runtime.tensors import check_names_and_shapes

_COUNTER = "num_batches_tracked"
"""A batch norm's count of training batches, which inference does not read."""


@dataclass(frozen=True)
class SamConfig:
    """Every size of a Segment Anything network; the defaults are those that all published models share.

    Attributes:
        encoder: sizes of the image encoder, whose class is its kind.
        prompt_dim: width of image embedding, prompts and mask decoder; a multiple of 16.
        mask_prompt_dim: hidden width of the network that reads mask prompts.
        decoder_depth, decoder_heads, decoder_mlp_dim, decoder_downsampling: of the two-way transformer;
            cross attention is narrower than ``prompt_dim`` by the last factor.
        multimask_outputs: masks proposed for an ambiguous prompt.
        iou_head_depth, iou_head_dim: layers and hidden width of the head that predicts a mask's quality.
    """

    encoder: EncoderConfig
    prompt_dim: int = 256
    mask_prompt_dim: int = 16
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp_dim: int = 2048
    decoder_downsampling: int = 2
    multimask_outputs: int = 3
    iou_head_depth: int = 3
    iou_head_dim: int = 256

    @property
    def frame(self) -> InputFrame:
        """The encoder's input and the grid of its embedding."""
        return self.encoder.frame

    @property
    def image_size(self) -> int:
        """Side of the square input in pixels."""
        return self.frame.image_size

    @property
    def grid_size(self) -> int:
        """Cells along a side of the image embedding."""
        return self.frame.grid_size

    @property
    def patch_size(self) -> int:
        """Input pixels along a side of a cell."""
        return self.frame.image_size // self.frame.grid_size


def read_config(tensors: Mapping[str, Tensor]) -> SamConfig:
    """Read every size off a checkpoint's tensors.

    The number of decoder heads leaves no trace in the shapes: it is the published 8.

    Args:
        tensors: the names of segment-anything, or of one of the small encoders, to tensors.

    Raises:
        CheckpointError: a tensor that tells a size is missing, or the sizes contradict each other.
    """
    encoder = read_encoder_config(tensors)
    shapes = Shapes(tensors)
    layers = "mask_decoder.transformer.layers"
    prompt_dim = shapes["prompt_encoder.no_mask_embed.weight"][1]
    return SamConfig(
        encoder=encoder,
        prompt_dim=prompt_dim,
        mask_prompt_dim=shapes["prompt_encoder.mask_downscaling.3.weight"][0],
        decoder_depth=shapes.count(layers),
        decoder_mlp_dim=shapes[f"{layers}.0.mlp.lin1.weight"][0],
        decoder_downsampling=prompt_dim // shapes[f"{layers}.0.cross_attn_token_to_image.q_proj.weight"][0],
        multimask_outputs=shapes["mask_decoder.mask_tokens.weight"][0] - 1,
        iou_head_depth=shapes.count("mask_decoder.iou_prediction_head.layers"),
        iou_head_dim=shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
    )


def build_sam(tensors: Mapping[str, Tensor]) -> Sam:
    """Return the Segment Anything network of these tensors, on the CPU, in float32, for inference.

    All kinds of image encoders in :data:`.encoders.registry.ENCODERS` and all sizes take the same path.
    Float32 tensors become the network's weights without a copy, except where an encoder folds its batch norms
    into its convolutions.

    Args:
        tensors: names to tensors as in the published file, such as ``sam.state_dict()`` of segment-anything.

    Raises:
        CheckpointError: tensors are missing, unexpected or of contradicting shapes.
    """
    config = read_config(tensors)
    named = _module_names(config, tensors)
    own = {name: tensor for name, tensor in named.items() if not name.endswith(_COUNTER)}
    weights = place_tensors(own, lambda _, tensor: _convert(tensor, torch.device("cpu"), torch.float32))
    with torch.device("meta"):
        sam = _construct(config)
    expected = {name: tensor for name, tensor in sam.state_dict().items() if not name.endswith(_COUNTER)}
    check_names_and_shapes(expected, weights, "a Segment Anything model")
    sam.load_state_dict(weights, assign=True)
    for name, values in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
        # Not part of a checkpoint, so still without data.
        sam.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
    sam.eval()
    sam.image_encoder.finish()
    return sam


def new_sam(config: SamConfig) -> Sam:
    """Return a randomly initialised network to train; its ``state_dict()`` is a checkpoint."""
    sam = _construct(config)
    sam.image_encoder.initialize()
    return sam


def move_sam(sam: Sam, device: torch.device, encoder_dtype: torch.dtype = torch.float32) -> Sam:
    """Return a network for inference on a device, with the image encoder in a precision of its own.

    Weights are shared with ``sam`` where device and precision allow; ``sam`` stays as it is.
    """
    own = dict([*sam.named_parameters(), *sam.named_buffers()])
    placed = place_tensors(
        own,
        lambda name, tensor: _convert(
            tensor.detach(), device, encoder_dtype if name.startswith(PREFIX) else torch.float32
        ),
    )
    moved = {
        id(tensor): nn.Parameter(placed[name], requires_grad=False)
        if isinstance(tensor, nn.Parameter)
        else placed[name]
        for name, tensor in own.items()
    }
    copied = deepcopy(sam, moved)  # everything but the tensors
    # On the way through training mode, parts drop what they have derived from the old weights and kept.
    return copied.train().eval()


def _module_names(config: SamConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the network's own names, without those that take no part."""
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(PREFIX):
            own = config.encoder.module_name(name.removeprefix(PREFIX))
            if own is not None:
                named[PREFIX + own] = tensor
        else:
            named[name] = tensor
    return named


def _convert(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a tensor on a device; numbers with a fraction have the dtype."""
    return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)


def _construct(config: SamConfig) -> Sam:
    frame = config.frame
    sam = Sam(
        image_encoder=config.encoder.build(config.prompt_dim),
        prompt_encoder=PromptEncoder(
            embed_dim=config.prompt_dim,
            image_embedding_size=(frame.grid_size, frame.grid_size),
            input_image_size=(frame.prompt_size, frame.prompt_size),
            mask_in_chans=config.mask_prompt_dim,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=config.prompt_dim,
            transformer=TwoWayTransformer(
                depth=config.decoder_depth,
                embedding_dim=config.prompt_dim,
                num_heads=config.decoder_heads,
                mlp_dim=config.decoder_mlp_dim,
                attention_downsample_rate=config.decoder_downsampling,
            ),
            num_multimask_outputs=config.multimask_outputs,
            iou_head_depth=config.iou_head_depth,
            iou_head_hidden_dim=config.iou_head_dim,
        ),
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )
    for module in sam.mask_decoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = config.encoder.decoder_norm_eps
    return sam
