"""Cross attention between a prompt's few tokens and an image's many pixels, with all projections on the few.

With q = Wq·token + bq and k = Wk·pixel + bk, two identities avoid most of the work that segment-anything's
own attention does for every prompt:

* scores: q·k = (Wkᵀq)·pixel + q·bk, so that Wk is applied to the tokens instead of all pixels; q·bk is the
  same for all pixels and leaves the softmax over them as it is;
* values: Σ a·(Wv·pixel + bv) = Wv·(Σ a·pixel) + bv, so that Wv is applied to one sum a token.

The same holds for pixels that attend to tokens. Tokens are in float32, pixels in the chosen precision.

Shapes: B prompts, T tokens a prompt, P pixels (cells of the image embedding), C channels, H heads,
d channels a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segment_anything.modeling.transformer import Attention
from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """The pixels of B prompts, (B, P, C) each: their content, and the same with their positions added."""

    content: Tensor
    positioned: Tensor


@dataclass(frozen=True)
class ImageSide:
    """What is computed once per image: the pixels that all prompts start from, and their first projections.

    Attributes:
        content: (1, P, C), the image embedding.
        keys: (H, d, P), for tokens that attend to pixels.
        values: (H, P, d), for the same.
        queries: (H, d, P), of pixels that attend to tokens.
    """

    content: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor


class TokensAttend:
    """Cross attention in which the few tokens query the many pixels."""

    def __init__(self, attention: Attention, dtype: torch.dtype):
        self._attention = attention
        self._heads = attention.num_heads
        self._key_weight = _by_head(attention.k_proj.weight, self._heads)  # (H, d, C)
        self._value_weight = _by_head(attention.v_proj.weight, self._heads)  # (H, d, C)
        self._dtype = dtype

    def __call__(self, positioned: Tensor, pixels: Pixels) -> Tensor:
        """What tokens (B, T, C), with their positions, see in the pixels: (B, T, C)."""
        folded = self._queries(positioned) @ self._key_weight  # (B, H, T, C)
        scores = folded.flatten(1, 2).to(self._dtype) @ pixels.positioned.mT  # (B, H·T, P)
        seen = scores.softmax(dim=-1) @ pixels.content  # (B, H·T, C)
        return self._project(seen.float().view_as(folded) @ self._value_weight.mT)

    def project_image(self, content: Tensor, positioned: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (H, d, P) and values (H, P, d) of an image (P, C)."""
        keys = self._key_weight @ positioned.T
        values = content @ self._value_weight.mT
        return keys.to(self._dtype), values.to(self._dtype)

    def to_image(self, positioned: Tensor, image: ImageSide) -> Tensor:
        """As :meth:`__call__`, of an image that is the same for all prompts."""
        queries = self._queries(positioned)
        stacked = queries.transpose(0, 1).flatten(1, 2).to(self._dtype)  # (H, B·T, d)
        seen = (stacked @ image.keys).softmax(dim=-1) @ image.values  # (H, B·T, d)
        return self._project(seen.float().unflatten(1, queries.shape[::2]).transpose(0, 1))

    def _queries(self, positioned: Tensor) -> Tensor:
        queries = _split_heads(self._attention.q_proj(positioned), self._heads)
        return queries * queries.shape[-1] ** -0.5

    def _project(self, values: Tensor) -> Tensor:
        """(B, H, T, d), without bias, to (B, T, C)."""
        joined = values.transpose(1, 2).flatten(2) + self._attention.v_proj.bias
        return self._attention.out_proj(joined)


class PixelsAttend:
    """Cross attention in which the many pixels query the few tokens."""

    def __init__(self, attention: Attention, dtype: torch.dtype):
        self._attention = attention
        self._heads = attention.num_heads
        self._query_weight = _by_head(attention.q_proj.weight, self._heads)  # (H, d, C)
        self._query_bias = _by_head(attention.q_proj.bias[:, None], self._heads)  # (H, d, 1)
        self._output_weight = _by_head(attention.out_proj.weight.T, self._heads)  # (H, d, C)
        self._dtype = dtype

    def __call__(self, pixels: Pixels, tokens: Tensor, positioned: Tensor) -> Tensor:
        """Add to the pixels' content, in place, what they see in the tokens.

        Args:
            pixels: of B prompts; their content is overwritten.
            tokens: (B, T, C), the source of the values.
            positioned: (B, T, C), tokens and their positions, the source of the keys.

        Returns:
            The content (B, P, C).
        """
        keys = self._keys(positioned)  # (B, H, T, d)
        folded = (keys @ self._query_weight).flatten(1, 2)  # (B, H·T, C)
        scores = folded.to(self._dtype) @ pixels.positioned.mT  # (B, H·T, P)
        scores = scores.view(*keys.shape[:3], -1)
        scores += (keys @ self._query_bias).to(self._dtype)
        return self._add_seen(pixels.content, scores, tokens)

    def project_image(self, positioned: Tensor) -> Tensor:
        """Queries (H, d, P) of an image (P, C)."""
        return (self._query_weight @ positioned.T + self._query_bias).to(self._dtype)

    def from_image(self, image: ImageSide, tokens: Tensor, positioned: Tensor) -> Tensor:
        """As :meth:`__call__`, of an image that is the same for all prompts and is left as it is."""
        keys = self._keys(positioned)  # (B, H, T, d)
        stacked = keys.transpose(0, 1).flatten(1, 2).to(self._dtype)  # (H, B·T, d)
        scores = (stacked @ image.queries).unflatten(1, keys.shape[::2]).transpose(0, 1)  # (B, H, T, P)
        return self._add_seen(image.content.repeat(len(tokens), 1, 1), scores, tokens)

    def _keys(self, positioned: Tensor) -> Tensor:
        keys = _split_heads(self._attention.k_proj(positioned), self._heads)
        return keys * keys.shape[-1] ** -0.5

    def _add_seen(self, content: Tensor, scores: Tensor, tokens: Tensor) -> Tensor:
        # The softmax over tokens is laid out so that the pixels are the axis that runs fastest.
        weights = scores.softmax(dim=2).flatten(1, 2)  # (B, H·T, P)
        values = _split_heads(self._attention.v_proj(tokens), self._heads)  # (B, H, T, d)
        # The weights of a head sum to 1, so that each head can bring its share of the bias.
        values = values @ self._output_weight + self._attention.out_proj.bias / self._heads
        return content.baddbmm_(weights.mT, values.flatten(1, 2).to(self._dtype))


def _by_head(weight: Tensor, heads: int) -> Tensor:
    """(H·d, C) to (H, d, C)."""
    return weight.unflatten(0, (heads, -1)).contiguous()


def _split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, T, H·d) to (B, H, T, d)."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)
