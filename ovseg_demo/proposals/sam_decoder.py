"""Segment Anything's mask decoder for many point prompts on one image, with a third of the arithmetic.

The published decoder repeats the image embedding for every prompt and projects all of its pixels anew in each
of its attentions. But a prompt is only T tokens (7 for a point). Two identities of plain algebra remove most
of the work; with q = Wq·token + bq and k = Wk·pixel + bk,

* scores: q·k = (Wkᵀq)·pixel + const, so that Wk is applied to T tokens instead of all pixels; the constant is
  the same for all pixels and leaves the softmax over them unchanged (and so for queries from pixels, with bq
  in k·bq);
* values: Σ a·(Wv·pixel + bv) = Wv·(Σ a·pixel) + bv, and likewise the output projection moves to the tokens'
  side.

Besides: what the first layer computes from the image alone is shared by all prompts; positional terms are
    computed
once per model; the quality of a prompt's masks is known before its masks are made, so that only prompts with
a mask worth having are upscaled, and of those only the cells under the picture.

Tokens stay in float32 throughout, pixels are in the precision of choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from segment_anything.modeling import Sam
from segment_anything.modeling.mask_decoder import MaskDecoder
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor, nn

# Shapes in this file: B prompts, T tokens a prompt, P pixels (cells of the image embedding), C channels, H
# heads, d channels a head in cross attention.


class PixelsToTokens:
    """Cross attention in which the few tokens query the many pixels."""

    def __init__(self, attention: Attention, pixel_positions: Tensor, dtype: torch.dtype):
        self._attention = attention
        self._heads = attention.num_heads
        self._key_weight = _by_head(attention.k_proj.weight, self._heads)  # (H, d, C)
        self._value_weight = _by_head(attention.v_proj.weight, self._heads)
        self._dtype = dtype
        keys = pixel_positions @ attention.k_proj.weight.T  # (P, H·d)
        self._position_keys = _by_head(keys.T, self._heads).to(dtype)  # (H, d, P)

    def __call__(self, tokens: Tensor, pixels: Tensor) -> Tensor:
        """Attend from tokens (B, T, C), positions included, to pixels (B, P, C), positions not included."""
        batch, count, _ = tokens.shape
        queries = self._queries(tokens)  # (B, H, T, d)
        folded = (queries @ self._key_weight).flatten(1, 2)  # (B, H·T, C)
        scores = queries.to(self._dtype) @ self._position_keys  # (B, H, T, P)
        scores = torch.baddbmm(scores.flatten(1, 2), folded.to(self._dtype), pixels.mT)
        seen = (scores.softmax(dim=-1) @ pixels).float()  # (B, H·T, C)
        return self._project(seen.view(batch, self._heads, count, -1))

    def on_image(self, image: Tensor) -> SharedPixels:
        """Project the pixels (P, C) of an image, positions not included, for :meth:`from_shared`."""
        keys = image @ self._attention.k_proj.weight.T
        values = image @ self._attention.v_proj.weight.T
        return SharedPixels(
            keys=_by_head(keys.T, self._heads).to(self._dtype) + self._position_keys,
            values=_by_head(values.T, self._heads).mT.contiguous().to(self._dtype),
        )

    def from_shared(self, tokens: Tensor, shared: SharedPixels) -> Tensor:
        """As :meth:`__call__` where all prompts see the same pixels."""
        batch, count, _ = tokens.shape
        queries = self._queries(tokens).transpose(0, 1).flatten(1, 2)  # (H, B·T, d)
        weights = (queries.to(self._dtype) @ shared.keys).softmax(dim=-1)  # (H, B·T, P)
        values = (weights @ shared.values).float()  # (H, B·T, d)
        values = values.view(self._heads, batch, count, -1).permute(1, 2, 0, 3).flatten(2)
        return self._attention.out_proj(values + self._attention.v_proj.bias)

    def _queries(self, tokens: Tensor) -> Tensor:
        queries = self._attention.q_proj(tokens)
        head_width = queries.shape[-1] // self._heads
        return _split_heads(queries, self._heads) * head_width**-0.5

    def _project(self, seen: Tensor) -> Tensor:
        values = (seen @ self._value_weight.mT).transpose(1, 2).flatten(2)  # (B, T, H·d)
        return self._attention.out_proj(values + self._attention.v_proj.bias)


@dataclass(frozen=True)
class SharedPixels:
    """Keys (H, d, P) and values (H, P, d) of the pixels that all prompts share."""

    keys: Tensor
    values: Tensor


class TokensToPixels:
    """Cross attention in which the many pixels query the few tokens."""

    def __init__(self, attention: Attention, pixel_positions: Tensor, dtype: torch.dtype):
        self._attention = attention
        self._heads = attention.num_heads
        self._query_weight = _by_head(attention.q_proj.weight, self._heads)  # (H, d, C)
        self._output_weight = _by_head(attention.out_proj.weight.T, self._heads)  # (H, d, C)
        self._dtype = dtype
        queries = attention.q_proj(pixel_positions)  # (P, H·d)
        self._position_queries = _by_head(queries.T, self._heads).to(dtype)  # (H, d, P)

    def __call__(self, pixels: Tensor, tokens: Tensor, positioned: Tensor) -> Tensor:
        """Add to pixels (B, P, C) what they read from tokens (B, T, C); ``positioned`` ones are keys."""
        keys = self._keys(positioned)  # (B, H, T, d)
        folded = (keys @ self._query_weight).flatten(1, 2)  # (B, H·T, C)
        scores = keys.to(self._dtype) @ self._position_queries  # (B, H, T, P)
        scores = torch.baddbmm(scores.flatten(1, 2), folded.to(self._dtype), pixels.mT)
        return self._add_values(pixels, scores.view(*keys.shape[:3], -1), tokens)

    def on_image(self, image: Tensor) -> Tensor:
        """Queries (H, d, P) of an image's pixels (P, C), positions not included, for :meth:`from_shared`."""
        queries = image @ self._attention.q_proj.weight.T
        return _by_head(queries.T, self._heads).to(self._dtype) + self._position_queries

    def from_shared(self, image: Tensor, queries: Tensor, tokens: Tensor, positioned: Tensor) -> Tensor:
        """As :meth:`__call__` where all prompts start from the same pixels (P, C)."""
        scores = self._keys(positioned).to(self._dtype) @ queries  # (B, H, T, P)
        return self._add_values(image.expand(len(tokens), -1, -1), scores, tokens)

    def _keys(self, positioned: Tensor) -> Tensor:
        keys = self._attention.k_proj(positioned)
        head_width = keys.shape[-1] // self._heads
        return _split_heads(keys, self._heads) * head_width**-0.5

    def _add_values(self, pixels: Tensor, scores: Tensor, tokens: Tensor) -> Tensor:
        # Softmax over the tokens, laid out so that the pixels are the axis that runs fastest.
        weights = scores.softmax(dim=2).flatten(1, 2)  # (B, H·T, P)
        values = _split_heads(self._attention.v_proj(tokens), self._heads)  # (B, H, T, d)
        # A head's weights sum to 1, so that each head can carry its share of the output bias.
        values = values @ self._output_weight + self._attention.out_proj.bias / self._heads
        return torch.baddbmm(pixels, weights.mT, values.flatten(1, 2).to(self._dtype))


class DecoderLayer:
    """One layer of the two-way transformer."""

    def __init__(self, block: TwoWayAttentionBlock, pixel_positions: Tensor, dtype: torch.dtype):
        self._block = block
        self.pixels_to_tokens = PixelsToTokens(block.cross_attn_token_to_image, pixel_positions, dtype)
        self.tokens_to_pixels = TokensToPixels(block.cross_attn_image_to_token, pixel_positions, dtype)
        norm = block.norm4
        self._pixel_norm = (norm.normalized_shape, norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)

    def attend_to_tokens(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Self attention; the first layer's tokens are their own positions and are replaced."""
        block = self._block
        if block.skip_first_layer_pe:
            return block.norm1(block.self_attn(q=tokens, k=tokens, v=tokens))
        positioned = tokens + positions
        return block.norm1(tokens + block.self_attn(q=positioned, k=positioned, v=tokens))

    def absorb(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Add what the tokens saw in the image, then the perceptron."""
        tokens = self._block.norm2(tokens + seen)
        return self._block.norm3(tokens + self._block.mlp(tokens))

    def norm_pixels(self, pixels: Tensor) -> Tensor:
        """Layer norm over channels."""
        return F.layer_norm(pixels, *self._pixel_norm)


@dataclass(frozen=True)
class ImageSide:
    """What the decoder computes once per image."""

    pixels: Tensor  # (P, C)
    keys: SharedPixels
    queries: Tensor  # (H, d, P)


@dataclass(frozen=True)
class DecodedPrompts:
    """Where the transformer left B prompts: enough to make their masks, if they turn out to be wanted.

    Attributes:
        quality: float32 (B, M), the predicted IoU of each prompt's M masks.
        tokens: float32 (B, T, C), before the final attention.
        positions: float32 (B, T, C).
        pixels: (B, P, C).
    """

    quality: Tensor
    tokens: Tensor
    positions: Tensor
    pixels: Tensor


class PointDecoder:
    """The mask decoder of a Segment Anything model, arranged for many point prompts on one image.

    Args:
        sam: the model, with weights in float32 on the device to use; they are shared, not copied.
        dtype: of everything that has the size of the image.
    """

    def __init__(self, sam: Sam, dtype: torch.dtype):
        decoder: MaskDecoder = sam.mask_decoder
        self._decoder = decoder
        self._dtype = dtype
        self._grid_size = sam.prompt_encoder.image_embedding_size[0]
        self._dense_prompt = sam.prompt_encoder.no_mask_embed.weight  # (1, C)
        positions = sam.prompt_encoder.get_dense_pe()[0].flatten(1).T  # (P, C)
        transformer = decoder.transformer
        self._layers = [DecoderLayer(block, positions, dtype) for block in transformer.layers]
        self._final_attention = PixelsToTokens(transformer.final_attn_token_to_image, positions, dtype)
        self._upscaling = _Upscaling(decoder.output_upscaling, dtype)

    def prepare(self, embedding: Tensor) -> ImageSide:
        """Compute what all prompts share from the image embedding (1, C, g, g)."""
        image = embedding[0].flatten(1).T.float() + self._dense_prompt  # (P, C)
        first = self._layers[0]
        return ImageSide(
            pixels=image.to(self._dtype),
            keys=first.pixels_to_tokens.on_image(image),
            queries=first.tokens_to_pixels.on_image(image),
        )

    def decode(self, prompts: Tensor, image: ImageSide) -> DecodedPrompts:
        """Run the transformer on sparse prompt embeddings (B, S, C) and predict their masks' quality."""
        positions = self._tokens_of(prompts)
        tokens = positions
        pixels = None
        for layer in self._layers:
            tokens = layer.attend_to_tokens(tokens, positions)
            if pixels is None:
                seen = layer.pixels_to_tokens.from_shared(tokens + positions, image.keys)
                tokens = layer.absorb(tokens, seen)
                pixels = layer.tokens_to_pixels.from_shared(
                    image.pixels, image.queries, tokens, tokens + positions
                )
            else:
                seen = layer.pixels_to_tokens(tokens + positions, pixels)
                tokens = layer.absorb(tokens, seen)
                pixels = layer.tokens_to_pixels(pixels, tokens, tokens + positions)
            pixels = layer.norm_pixels(pixels)
        iou_token = self._look_finally(tokens[:, :1], positions[:, :1], pixels)[:, 0]
        quality = self._decoder.iou_prediction_head(iou_token)[
            :, 1:
        ]  # the first mask is for unambiguous prompts
        return DecodedPrompts(quality, tokens, positions, pixels)

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
        wanted = chosen + 2  # their tokens come after the IoU token and the single mask's
        pixels = prompts.pixels[prompt]
        tokens = self._look_finally(
            prompts.tokens[prompt, wanted][None], prompts.positions[prompt, wanted][None], pixels[None]
        )[0]
        mlps = [self._decoder.output_hypernetworks_mlps[1 + mask] for mask in chosen.tolist()]
        weights = torch.stack([mlp(token) for mlp, token in zip(mlps, tokens, strict=True)])  # (n, C / 8)
        rows, columns = cells
        grid = pixels.view(self._grid_size, self._grid_size, -1)[:rows, :columns]
        return self._upscaling(grid, weights)

    def _tokens_of(self, prompts: Tensor) -> Tensor:
        outputs = torch.cat([self._decoder.iou_token.weight, self._decoder.mask_tokens.weight])
        return torch.cat([outputs.expand(len(prompts), -1, -1), prompts], dim=1)

    def _look_finally(self, tokens: Tensor, positions: Tensor, pixels: Tensor) -> Tensor:
        seen = self._final_attention(tokens + positions, pixels)
        return self._decoder.transformer.norm_final_attn(tokens + seen)


class _Upscaling:
    """The decoder's two transposed convolutions of stride 2 as matrix products.

    Such a convolution makes four pixels of one, each by a product of its own. They are put side by side only
    at the end, in the few channels of the masks.
    """

    def __init__(self, upscaling: nn.Sequential, dtype: torch.dtype):
        first, norm, _, second, _ = upscaling
        self._first = _stacked_taps(first, dtype)
        self._second = _stacked_taps(second, dtype)
        self._norm_weight = norm.weight.to(dtype)
        self._norm_bias = norm.bias.to(dtype)
        self._eps = norm.eps

    def __call__(self, grid: Tensor, weights: Tensor) -> Tensor:
        """Logits (M, 4·h, 4·w), float32, of a grid (h, w, C) and masks' weights (M, C / 8)."""
        height, width, channels = grid.shape
        x = torch.addmm(self._first[1], grid.reshape(-1, channels), self._first[0])  # (h·w, 4·C/4)
        x = F.layer_norm(
            x.view(-1, channels // 4), (channels // 4,), self._norm_weight, self._norm_bias, self._eps
        )
        x = torch.addmm(self._second[1], F.gelu(x), self._second[0])  # (h·w·4, 4·C/8)
        masks = F.gelu(x).view(-1, channels // 8) @ weights.to(x.dtype).T  # (h·w·4·4, M)
        masks = masks.float().view(
            height, width, 2, 2, 2, 2, -1
        )  # y, x, then the taps of both: dy, dx, dy, dx
        return masks.permute(6, 0, 2, 4, 1, 3, 5).reshape(-1, 4 * height, 4 * width)


def _stacked_taps(convolution: nn.ConvTranspose2d, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Weight (in, 4 · out) and bias (4 · out) that make a pixel's four outputs, ordered (dy, dx, channel)."""
    weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
    return weight.to(dtype), convolution.bias.repeat(4).to(dtype)


def _by_head(weight: Tensor, heads: int) -> Tensor:
    """(H·d, C) to (H, d, C)."""
    return weight.reshape(heads, -1, weight.shape[-1])


def _split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, T, H·d) to (B, H, T, d)."""
    batch, count, width = tokens.shape
    return tokens.view(batch, count, heads, width // heads).transpose(1, 2)
