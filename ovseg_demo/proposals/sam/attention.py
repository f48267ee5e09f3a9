"""Cross attention between a prompt's few tokens and an image's many pixels, with all projections on the few.

With q = Wq·token + bq and k = Wk·pixel + bk, two identities avoid most of the work that segment-anything's
own attention does for every prompt:

* scores: q·k = (Wkᵀq)·pixel + q·bk, so that Wk is applied to the tokens instead of all pixels; q·bk is the
  same for all pixels and leaves the softmax over them as it is;
* values: Σ a·(Wv·pixel + bv) = Wv·(Σ a·pixel) + bv, so that Wv is applied to one sum a token.

The same holds for pixels that attend to tokens. :mod:`.pixels` says how the pixels of a prompt are kept, and
what shapes are called.
"""

from __future__ import annotations

import torch
from segment_anything.modeling.transformer import Attention
from torch import Tensor

from ovseg_demo.proposals.sam.pixels import Basis, PixelScores, PixelSums, PromptPixels


class TokensAttend:
    """Cross attention in which the few tokens query the many pixels.

    Args:
        attention: of the network.
        basis: of the pixels.
        positions: of the pixels, (P, C).
        dtype: of what has the size of the image.
    """

    def __init__(self, attention: Attention, basis: Basis, positions: Tensor, dtype: torch.dtype):
        self._attention = attention
        weight = _split_weight(attention.k_proj.weight, attention.num_heads)
        self._scores = PixelScores(basis, positions, weight, torch.zeros_like(weight[..., :1]), dtype)
        self._sums = PixelSums(basis, _split_weight(attention.v_proj.weight, attention.num_heads), dtype)

    def __call__(self, positioned: Tensor, pixels: PromptPixels) -> Tensor:
        """Return what tokens (B, T, C), with their positions, see in the pixels: (B, T, C)."""
        queries = _scaled(self._attention.q_proj(positioned), self._attention.num_heads)
        seen = self._sums(self._scores(queries, pixels).softmax(dim=-1), pixels)
        joined = seen.transpose(1, 2).flatten(2) + self._attention.v_proj.bias
        return self._attention.out_proj(joined)


class PixelsAttend:
    """Cross attention in which the many pixels query the few tokens.

    Args:
        attention: of the network.
        basis: of the pixels.
        positions: of the pixels, (P, C).
        dtype: of what has the size of the image.

    Attributes:
        basis: of the pixels after it.
    """

    def __init__(self, attention: Attention, basis: Basis, positions: Tensor, dtype: torch.dtype):
        self._attention = attention
        heads = attention.num_heads
        weight = _split_weight(attention.q_proj.weight, heads)
        bias = attention.q_proj.bias.unflatten(0, (heads, -1))[..., None]
        self._scores = PixelScores(basis, positions, weight, bias, dtype)
        output = attention.out_proj
        self.basis = basis.with_addition(_split_weight(output.weight.T, heads), output.bias)

    def __call__(self, pixels: PromptPixels, tokens: Tensor, positioned: Tensor) -> PromptPixels:
        """Return the pixels with what they see in the tokens added.

        Args:
            pixels: of B prompts.
            tokens: (B, T, C), the source of the values.
            positioned: (B, T, C), tokens and their positions, the source of the keys.
        """
        heads = self._attention.num_heads
        keys = _scaled(self._attention.k_proj(positioned), heads)
        # The softmax over tokens is laid out so that the pixels are the axis that runs fastest.
        attention = self._scores(keys, pixels).softmax(dim=2)
        return pixels.with_addition(attention, _split_heads(self._attention.v_proj(tokens), heads))


def _split_weight(weight: Tensor, heads: int) -> Tensor:
    """(H · d, C) to (H, d, C)."""
    return weight.unflatten(0, (heads, -1)).contiguous()


def _split_heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, T, H · d) to (B, H, T, d)."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


def _scaled(tokens: Tensor, heads: int) -> Tensor:
    """Return queries or keys (B, T, H · d), by head and divided by √d: (B, H, T, d)."""
    split = _split_heads(tokens, heads)
    return split * split.shape[-1] ** -0.5
