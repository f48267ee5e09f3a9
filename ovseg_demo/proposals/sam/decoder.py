"""Segment Anything's mask decoder for many point prompts on one image, with a third of the arithmetic.

The published decoder (Segment Anything, appendix A) repeats the image embedding for every prompt, and each of
its attentions projects all pixels again. Here only the prompt's few tokens are projected (see
:mod:`.attention`), and all prompts share what the first layer computes from the image alone. Masks are
computed only where their predicted quality passes the filter, and only for the part of the square input that
the image covers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from segment_anything.modeling.transformer import TwoWayAttentionBlock
from torch import Tensor, nn

from ovseg_demo.proposals.sam.attention import ImageSide, Pixels, PixelsAttend, TokensAttend

# Shapes in this file: B prompts, T tokens a prompt, M masks a prompt, P pixels (cells of the image embedding)
# and C channels.


@dataclass(frozen=True)
class DecodedPrompts:
    """The transformer's output for B prompts, from which their masks are computed on request.

    Attributes:
        quality: float32 (B, M), the predicted IoU of each mask.
        weights: float32 (B, M, C / 8), of each mask on the channels of the upscaled image.
        content: (B, P, C), the image that is to be upscaled.
    """

    quality: Tensor
    weights: Tensor
    content: Tensor


class PointDecoder:
    """The mask decoder of a Segment Anything model, arranged for many point prompts on one image.

    Args:
        sam: the model; its weights in float32 on the device to use are shared, not copied.
        dtype: of everything that has the size of the image.
    """

    def __init__(self, sam: Sam, dtype: torch.dtype):
        self._decoder = sam.mask_decoder
        self._grid_size = sam.prompt_encoder.image_embedding_size[0]
        self._dense_prompt = sam.prompt_encoder.no_mask_embed.weight  # (1, C)
        self._positions = sam.prompt_encoder.get_dense_pe()[0].flatten(1).T.contiguous()  # (P, C)
        self._pixel_positions = self._positions.to(dtype)
        transformer = self._decoder.transformer
        self._layers = [_Layer(block, dtype) for block in transformer.layers]
        self._final_attention = TokensAttend(transformer.final_attn_token_to_image, dtype)
        self._upscaling = _Upscaling(self._decoder.output_upscaling, dtype)

    def prepare(self, embedding: Tensor) -> ImageSide:
        """Compute what all prompts share from the image embedding (1, C, g, g)."""
        content = embedding[0].float().flatten(1).T.contiguous() + self._dense_prompt  # (P, C)
        return self._layers[0].project_image(content, content + self._positions)

    def decode(self, prompts: Tensor, image: ImageSide) -> DecodedPrompts:
        """Run the transformer on sparse prompt embeddings (B, S, C) and predict their masks' quality."""
        positions = self._with_output_tokens(prompts)
        tokens, content = self._layers[0].begin(positions, image)
        for layer in self._layers[1:]:
            tokens, content = layer(tokens, positions, self._pixels(content))
        # The quality's token and the masks', of which the first is for unambiguous prompts and not used.
        outputs = [0, *range(2, 1 + self._decoder.num_mask_tokens)]
        tokens = tokens[:, outputs]
        tokens = tokens + self._final_attention(tokens + positions[:, outputs], self._pixels(content))
        tokens = self._decoder.transformer.norm_final_attn(tokens)
        quality = self._decoder.iou_prediction_head(tokens[:, 0])[:, 1:]
        mlps = self._decoder.output_hypernetworks_mlps[1:]
        weights = [mlp(token) for mlp, token in zip(mlps, tokens[:, 1:].unbind(1), strict=True)]
        return DecodedPrompts(quality, torch.stack(weights, dim=1), content)

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
        rows, columns = cells
        grid = prompts.content[prompt].view(self._grid_size, self._grid_size, -1)[:rows, :columns]
        return self._upscaling(grid, prompts.weights[prompt, chosen])

    def _with_output_tokens(self, prompts: Tensor) -> Tensor:
        outputs = torch.cat([self._decoder.iou_token.weight, self._decoder.mask_tokens.weight])
        return torch.cat([outputs.expand(len(prompts), -1, -1), prompts], dim=1)

    def _pixels(self, content: Tensor) -> Pixels:
        return Pixels(content, content + self._pixel_positions)


class _Layer:
    """One layer of the two-way transformer."""

    def __init__(self, block: TwoWayAttentionBlock, dtype: torch.dtype):
        self._block = block
        self._tokens_attend = TokensAttend(block.cross_attn_token_to_image, dtype)
        self._pixels_attend = PixelsAttend(block.cross_attn_image_to_token, dtype)
        norm = block.norm4
        self._pixel_norm = (norm.normalized_shape, norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)

    def __call__(self, tokens: Tensor, positions: Tensor, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """Run the layer on tokens (B, T, C), their positions, and pixels whose content it overwrites.

        Returns:
            Tokens (B, T, C) and the pixels' content (B, P, C).
        """
        block = self._block
        positioned = tokens + positions
        tokens = block.norm1(tokens + block.self_attn(q=positioned, k=positioned, v=tokens))
        tokens = self._absorb(tokens, self._tokens_attend(tokens + positions, pixels))
        return tokens, self._norm_pixels(self._pixels_attend(pixels, tokens, tokens + positions))

    def project_image(self, content: Tensor, positioned: Tensor) -> ImageSide:
        """Compute what :meth:`begin` needs of an image (P, C)."""
        keys, values = self._tokens_attend.project_image(content, positioned)
        queries = self._pixels_attend.project_image(positioned)
        return ImageSide(content.to(values.dtype)[None], keys, values, queries)

    def begin(self, tokens: Tensor, image: ImageSide) -> tuple[Tensor, Tensor]:
        """As :meth:`__call__` for the first layer, where all prompts see the same image.

        Its tokens are their own positions, and self attention replaces them.
        """
        block, positions = self._block, tokens
        tokens = block.norm1(block.self_attn(q=tokens, k=tokens, v=tokens))
        tokens = self._absorb(tokens, self._tokens_attend.to_image(tokens + positions, image))
        return tokens, self._norm_pixels(self._pixels_attend.from_image(image, tokens, tokens + positions))

    def _absorb(self, tokens: Tensor, seen: Tensor) -> Tensor:
        tokens = self._block.norm2(tokens + seen)
        return self._block.norm3(tokens + self._block.mlp(tokens))

    def _norm_pixels(self, content: Tensor) -> Tensor:
        return F.layer_norm(content, *self._pixel_norm)


class _Upscaling:
    """The decoder's two transposed convolutions of stride 2 as matrix products.

    Such a convolution makes four pixels of one, each by a product of its own. They are put side by side only
    at the end, in the few channels of the masks.
    """

    def __init__(self, upscaling: nn.Sequential, dtype: torch.dtype):
        first, norm, _, second, _ = upscaling
        self._first = _stacked_taps(first, dtype)
        self._norm = (norm.weight.shape, norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)
        self._second = _stacked_taps(second, dtype)

    def __call__(self, grid: Tensor, weights: Tensor) -> Tensor:
        """Logits (M, 4 · h, 4 · w), float32, of a grid (h, w, C) and the masks' weights (M, C / 8)."""
        height, width, channels = grid.shape
        x = F.linear(grid.reshape(-1, channels), *self._first)  # (h·w, 2·2·C/4)
        x = F.gelu(F.layer_norm(x.view(-1, channels // 4), *self._norm))
        x = F.gelu(F.linear(x, *self._second))  # (h·w·2·2, 2·2·C/8)
        masks = (weights.to(x.dtype) @ x.view(-1, channels // 8).T).float()  # (M, h·w·2·2·2·2)
        masks = masks.view(-1, height, width, 2, 2, 2, 2)  # y, x, and the offsets dy, dx of each convolution
        return masks.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * height, 4 * width)


def _stacked_taps(convolution: nn.ConvTranspose2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight (4 · out, in) and bias (4 · out) that make a pixel's four outputs, ordered (dy, dx, channel)."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)
    return weight.to(dtype), convolution.bias.repeat(4).to(dtype)
