"""Segment Anything networks of any size: from a checkpoint's tensor shapes, or new ones to be trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from ovseg_demo.errors import CheckpointError

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class SamConfig:
    """Every size of a Segment Anything network; the defaults are those that all published models share.

    Attributes:
        image_size: side of the square input in pixels; a multiple of ``patch_size``.
        patch_size: side of a patch; the image embedding has ``image_size / patch_size`` cells a side.
        embed_dim, depth, num_heads, mlp_dim: width, blocks, heads and hidden width of the image encoder.
        window_size: side of the attention windows in cells; 0 if every block attends globally.
        global_attention: indexes of the blocks that attend globally.
        qkv_bias: whether the encoder's query, key and value projections have a bias.
        prompt_dim: width of image embedding, prompts and mask decoder; a multiple of 16.
        mask_prompt_dim: hidden width of the network that reads mask prompts.
        decoder_depth, decoder_heads, decoder_mlp_dim, decoder_downsampling: of the two-way transformer;
            cross attention is narrower than ``prompt_dim`` by the last factor.
        multimask_outputs: masks proposed for an ambiguous prompt.
        iou_head_depth, iou_head_dim: layers and hidden width of the head that predicts a mask's quality.
    """

    image_size: int
    patch_size: int
    embed_dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    window_size: int
    global_attention: tuple[int, ...]
    qkv_bias: bool = True
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
    def grid_size(self) -> int:
        """Cells along a side of the image embedding."""
        return self.image_size // self.patch_size


def read_config(tensors: Mapping[str, torch.Tensor]) -> SamConfig:
    """Read every size off a checkpoint's tensor shapes.

    The number of decoder heads leaves no trace in the shapes: it is the published 8.

    Args:
        tensors: segment-anything's names to tensors.

    Raises:
        CheckpointError: a tensor that tells a size is missing, or the sizes contradict each other.
    """
    shapes = _Shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    embed_dim, _, patch_size, _ = shapes["image_encoder.patch_embed.proj.weight"]
    grid_size = shapes["image_encoder.pos_embed"][1]
    depth = shapes.count("image_encoder.blocks")
    spans = [_attention_span(shapes, block) for block in range(depth)]
    windows = {span for span in spans if span != grid_size}
    if len(windows) > 1:
        raise CheckpointError(
            f"This SAM checkpoint mixes attention windows of {sorted(windows)} cells; one size was expected."
        )
    layers = "mask_decoder.transformer.layers"
    prompt_dim = shapes["image_encoder.neck.0.weight"][0]
    return SamConfig(
        image_size=grid_size * patch_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // shapes["image_encoder.blocks.0.attn.rel_pos_h"][1],
        mlp_dim=shapes["image_encoder.blocks.0.mlp.lin1.weight"][0],
        window_size=max(windows, default=0),
        global_attention=tuple(block for block, span in enumerate(spans) if span == grid_size),
        qkv_bias="image_encoder.blocks.0.attn.qkv.bias" in tensors,
        prompt_dim=prompt_dim,
        mask_prompt_dim=shapes["prompt_encoder.mask_downscaling.3.weight"][0],
        decoder_depth=shapes.count(layers),
        decoder_mlp_dim=shapes[f"{layers}.0.mlp.lin1.weight"][0],
        decoder_downsampling=prompt_dim // shapes[f"{layers}.0.cross_attn_token_to_image.q_proj.weight"][0],
        multimask_outputs=shapes["mask_decoder.mask_tokens.weight"][0] - 1,
        iou_head_depth=shapes.count("mask_decoder.iou_prediction_head.layers"),
        iou_head_dim=shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
    )


def build_sam(tensors: Mapping[str, torch.Tensor]) -> Sam:
    """Build the Segment Anything network that these tensors belong to, in float32 and evaluation mode.

    Published ViT-B, ViT-L and ViT-H models and smaller ones of the same architecture take the same path.
    Float32 tensors become the network's weights without a copy.

    Args:
        tensors: segment-anything's names to tensors, such as ``sam.state_dict()``.

    Raises:
        CheckpointError: tensors are missing, unexpected or of contradicting shapes.
    """
    return assemble_sam(tensors, torch.device("cpu"))


def new_sam(config: SamConfig) -> Sam:
    """Build a randomly initialised network to train; its ``state_dict()`` is a checkpoint."""
    sam = _construct(config)
    nn.init.trunc_normal_(sam.image_encoder.pos_embed, std=0.02)
    return sam


def assemble_sam(
    tensors: Mapping[str, torch.Tensor], device: torch.device, encoder_dtype: torch.dtype = torch.float32
) -> Sam:
    """As :func:`build_sam` on any device, and with the image encoder in another precision."""
    with torch.device("meta"):
        sam = _construct(read_config(tensors))
    _check_names_and_shapes(sam.state_dict(), tensors)
    weights = {
        name: tensor.to(device, encoder_dtype if name.startswith("image_encoder.") else torch.float32)
        for name, tensor in tensors.items()
    }
    sam.load_state_dict(weights, assign=True)
    for name, values in (("pixel_mean", PIXEL_MEAN), ("pixel_std", PIXEL_STD)):
        # Not part of a checkpoint, so still without data.
        sam.register_buffer(name, torch.tensor(values, device=device).view(3, 1, 1), persistent=False)
    return sam.eval()


class _Shapes(dict[str, tuple[int, ...]]):
    def __missing__(self, name: str) -> tuple[int, ...]:
        raise CheckpointError(
            f'These are no weights of a Segment Anything model: "{name}" is missing. Expected are the names '
            "that segment-anything gives, as in sam_vit_b_01ec64.pth."
        )

    def count(self, prefix: str) -> int:
        """How many numbered modules there are under a name."""
        numbered = re.compile(re.escape(prefix) + r"\.(\d+)\.")
        found = {match.group(1) for match in map(numbered.match, self) if match}
        if not found:
            raise CheckpointError(f'These are no weights of a Segment Anything model: "{prefix}" is missing.')
        return len(found)


def _attention_span(shapes: _Shapes, block: int) -> int:
    # A block's relative positions run from -(span - 1) to span - 1, for windows as for the whole grid. A
    # window as large as the grid is the grid.
    return (shapes[f"image_encoder.blocks.{block}.attn.rel_pos_h"][0] + 1) // 2


def _construct(config: SamConfig) -> Sam:
    grid = (config.grid_size, config.grid_size)
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=config.image_size,
            patch_size=config.patch_size,
            embed_dim=config.embed_dim,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_ratio=(config.mlp_dim + 0.5) / config.embed_dim,  # the encoder truncates ratio × width
            out_chans=config.prompt_dim,
            qkv_bias=config.qkv_bias,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=config.window_size,
            global_attn_indexes=config.global_attention,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=config.prompt_dim,
            image_embedding_size=grid,
            input_image_size=(config.image_size, config.image_size),
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


def _check_names_and_shapes(expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> None:
    missing = sorted(expected.keys() - given.keys())
    unexpected = sorted(given.keys() - expected.keys())
    misshapen = sorted(
        name for name in expected.keys() & given.keys() if expected[name].shape != given[name].shape
    )
    problems = [
        f"{len(names)} {what} (first: {names[0]})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of a wrong shape", misshapen))
        if names
    ]
    if problems:
        raise CheckpointError(
            f"The tensors of this SAM checkpoint do not fit together: {', '.join(problems)}. "
            "Is the file whole, and of one model?"
        )
