"""Segment Anything's mask decoder for many point prompts on one image, with a third of the arithmetic.

The published decoder (Segment Anything, appendix A) repeats the image embedding for every prompt, and each
of its attentions projects all pixels again. Here only the prompt's few tokens are projected (see
:mod:`.attention`), and the pixels are kept as what all prompts share and the little that a prompt changes
in them (see :mod:`.pixels`). Masks are computed only where their predicted quality passes the filter, and
only for the part of the square input that the image covers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor, nn

from ovseg_demo.proposals.sam.attention import PixelsAttend, TokensAttend
from ovseg_demo.proposals.sam.pixels import Basis, PixelLinear, PixelNorm, PromptPixels

# Shapes in this file: B prompts, T tokens a prompt, M masks a prompt, P pixels (cells of the image embedding)
# and C channels.


@dataclass(frozen=True)
class DecodedPrompts:
    """The transformer's output for B prompts, from which their masks are computed on request.

    Attributes:
        quality: float32 (B, M), the predicted IoU of each mask.
        weights: float32 (B, M, C / 8), of each mask on the channels of the upscaled image.
        pixels: of the prompts, to be upscaled.
    """

    quality: Tensor
    weights: Tensor
    pixels: PromptPixels


class PointDecoder:
    """The mask decoder of a Segment Anything model on one image, arranged for many point prompts.

    Args:
        sam: the model, in float32 on the device to use.
        embedding: (1, C, g, g), of the image.
        dtype: of everything that has the size of the image.
    """

    def __init__(self, sam: Sam, embedding: Tensor, dtype: torch.dtype):
        self._decoder = sam.mask_decoder
        transformer = self._decoder.transformer
        positions = sam.prompt_encoder.get_dense_pe()[0].flatten(1).T  # (P, C)
        dense_prompt = sam.prompt_encoder.no_mask_embed.weight  # (1, C)
        basis = Basis.of_image(embedding[0].float().flatten(1).T + dense_prompt)
        self._layers = []
        for block in transformer.layers:
            self._layers.append(_Layer(block, basis, positions, dtype))
            basis = self._layers[-1].basis
        self._final_attention = TokensAttend(transformer.final_attn_token_to_image, basis, positions, dtype)
        self._upscaling = _Upscaling(self._decoder.output_upscaling, basis, dtype)

    def decode(self, prompts: Tensor) -> DecodedPrompts:
        """Run the transformer on sparse prompt embeddings (B, S, C) and predict their masks' quality."""
        positions = self._with_output_tokens(prompts)
        tokens, pixels = positions, PromptPixels()
        for layer in self._layers:
            tokens, pixels = layer(tokens, positions, pixels)
        # The quality's token and the masks', of which the first is for unambiguous prompts and not used.
        outputs = [0, *range(2, 1 + self._decoder.num_mask_tokens)]
        tokens = tokens[:, outputs]
        tokens = tokens + self._final_attention(tokens + positions[:, outputs], pixels)
        tokens = self._decoder.transformer.norm_final_attn(tokens)
        quality = self._decoder.iou_prediction_head(tokens[:, 0])[:, 1:]
        mlps = self._decoder.output_hypernetworks_mlps[1:]
        weights = [mlp(token) for mlp, token in zip(mlps, tokens[:, 1:].unbind(1), strict=True)]
        return DecodedPrompts(quality, torch.stack(weights, dim=1), pixels)

    def masks(self, prompts: DecodedPrompts, prompt: int, chosen: Tensor, cells: tuple[int, int]) -> Tensor:
        """Make some of the masks of one prompt.

        Args:
            prompts: what :meth:`decode` returned.
            prompt: index of the prompt.
            chosen: int64 (n,), which of its M masks to make.
            cells: (rows, columns) of the image embedding's cells to make masks for, from the top left.

        Returns:
            Logits (n, 4 · rows, 4 · columns) in float32.
        """
        return self._upscaling(prompts.pixels, prompt, prompts.weights[prompt, chosen], cells)

    def _with_output_tokens(self, prompts: Tensor) -> Tensor:
        outputs = torch.cat([self._decoder.iou_token.weight, self._decoder.mask_tokens.weight])
        return torch.cat([outputs.expand(len(prompts), -1, -1), prompts], dim=1)


class _Layer:
    """One layer of the two-way transformer."""

    def __init__(self, block: TwoWayAttentionBlock, basis: Basis, positions: Tensor, dtype: torch.dtype):
        self._block = block
        self._tokens_attend = TokensAttend(block.cross_attn_token_to_image, basis, positions, dtype)
        self._pixels_attend = PixelsAttend(block.cross_attn_image_to_token, basis, positions, dtype)
        self._norm_pixels = PixelNorm(self._pixels_attend.basis, block.norm4, dtype)
        self.basis = self._norm_pixels.basis

    def __call__(
        self, tokens: Tensor, positions: Tensor, pixels: PromptPixels
    ) -> tuple[Tensor, PromptPixels]:
        """Run the layer on tokens (B, T, C), their positions, and pixels."""
        block = self._block
        if block.skip_first_layer_pe:  # the tokens are their own positions, and attention replaces them
            tokens = block.self_attn(q=tokens, k=tokens, v=tokens)
        else:
            positioned = tokens + positions
            tokens = tokens + block.self_attn(q=positioned, k=positioned, v=tokens)
        tokens = block.norm1(tokens)
        tokens = block.norm2(tokens + self._tokens_attend(tokens + positions, pixels))
        tokens = block.norm3(tokens + block.mlp(tokens))
        return tokens, self._norm_pixels(self._pixels_attend(pixels, tokens, tokens + positions))


class _Upscaling:
    """The decoder's two transposed convolutions of stride 2 as matrix products.

    Such a convolution makes four pixels of one, each by a product of its own. They are put side by side only
    at the end, in the few channels of the masks.
    """

    def __init__(self, upscaling: nn.Sequential, basis: Basis, dtype: torch.dtype):
        first, norm, _, second, _ = upscaling
        self._first = PixelLinear(basis, *_stacked_taps(first, torch.float32), dtype)
        self._norm = (norm.weight.shape, norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)
        self._second = _stacked_taps(second, dtype)

    def __call__(self, pixels: PromptPixels, prompt: int, weights: Tensor, cells: tuple[int, int]) -> Tensor:
        """Return logits, float32 (n, 4 · h, 4 · w), of the top left h × w cells, for weights (n, C / 8)."""
        height, width = cells
        channels = 8 * weights.shape[1]
        x = self._first(pixels, prompt, cells)  # (h·w, 2·2·C/4)
        x = F.gelu(F.layer_norm(x.view(-1, channels // 4), *self._norm))
        x = F.gelu(F.linear(x, *self._second))  # (h·w·2·2, 2·2·C/8)
        masks = (weights.to(x.dtype) @ x.view(-1, channels // 8).T).float()  # (M, h·w·2·2·2·2)
        masks = masks.view(-1, height, width, 2, 2, 2, 2)  # y, x, and the offsets dy, dx of each convolution
        return masks.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * height, 4 * width)


def _stacked_taps(convolution: nn.ConvTranspose2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return weight (4 · out, in) and bias (4 · out) for a pixel's four outputs, by (dy, dx, channel)."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return weight.to(dtype), convolution.bias.repeat(4).to(dtype)
