"""An image's pixels as every prompt changes them, without a copy of the image for every prompt.

In Segment Anything's two-way transformer, the pixels of an image attend to the few tokens of a prompt.
Layer l adds to pixel p the values v of all heads h and tokens t, multiplied by the head's part M of the
output projection and by the attention's weights a:

    Σ_ht a_l[h,t,p] · v_l[h,t] · M_l[h]

It then normalizes every pixel over its channels. Centering, and the norm's weight, can be applied to M and
to the image, where they are the same for all prompts. The division is one number for a pixel. Hence pixel p
of a prompt is, after any number of layers,

    x[p] = s[p] · (base[p] + Σ_l Σ_ht (a_l[h,t,p] / s_l[p]) · v_l[h,t] · M_l[h]) + bias

where s_l is the scale s before layer l. :class:`Basis` has what all prompts share: base, M and bias.
:class:`PromptPixels` has a prompt's own s, a / s and v; for a layer these are a fifth of the numbers of x.
What the decoder computes from the pixels is linear in them, or the sum of their squares, and is computed
from these parts. So the image is multiplied by a layer's weights once, not for every prompt.

Shapes: B prompts, T tokens a prompt, P pixels (cells of the image embedding), C channels, H heads, d
channels a head, O outputs. Values and what all prompts share are in float32; what has the size of the image
is used in the chosen precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Basis:
    """What the pixels of all prompts on an image have in common.

    Attributes:
        base: (P, C).
        maps: M of each layer, (H, d + 1, C). The last row belongs to a constant value of 1.
        bias: (C,).
    """

    base: Tensor
    maps: tuple[Tensor, ...]
    bias: Tensor

    @classmethod
    def of_image(cls, content: Tensor) -> Basis:
        """Return the basis of an image (P, C) that no prompt has changed."""
        return cls(content, (), torch.zeros_like(content[0]))

    def with_addition(self, weight: Tensor, bias: Tensor) -> Basis:
        """Return the basis after the pixels attended to tokens.

        A head's attention weights sum to 1, so that each head can bring its share of the biases.

        Args:
            weight: (H, d, C), of the output projection.
            bias: (C,), of the same.
        """
        heads = len(weight)
        share = ((self.bias + bias) / heads).expand(heads, 1, -1)
        maps = torch.cat([weight, share], dim=1)
        return Basis(self.base, (*self.maps, maps), torch.zeros_like(bias))


@dataclass(frozen=True)
class Addition:
    """What a layer added to the pixels of B prompts.

    Attributes:
        weights: (B, H · T, P), the attention's, divided by the pixels' scales before the layer.
        values: (B, H, T, d + 1), of which the last is 1.
    """

    weights: Tensor
    values: Tensor


@dataclass(frozen=True)
class PromptPixels:
    """What the pixels of B prompts have of their own.

    Attributes:
        scales: (B, 1, P); ``None`` before the first norm, where all are 1.
        additions: one of each layer.
    """

    scales: Tensor | None = None
    additions: tuple[Addition, ...] = ()

    def with_addition(self, attention: Tensor, values: Tensor) -> PromptPixels:
        """Return the pixels after they attended to tokens.

        Args:
            attention: (B, H, T, P), weights that sum to 1 over T. They are overwritten.
            values: (B, H, T, d).
        """
        weights = attention.flatten(1, 2)
        if self.scales is not None:
            weights /= self.scales
        ones = values.new_ones(*values.shape[:3], 1)
        addition = Addition(weights, torch.cat([values, ones], dim=-1))
        return PromptPixels(self.scales, (*self.additions, addition))

    def rows(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return, for each layer's addition, what its weights multiply: (B, H · T, C) with a basis's maps."""
        return [(added.values @ one).flatten(1, 2) for added, one in zip(self.additions, maps, strict=True)]


class PixelScores:
    """Products of tokens with pixels and their positions, both projected by head.

    Args:
        basis: of the pixels.
        positions: (P, C).
        weight: (H, d, C), by which a pixel with its position is projected.
        bias: (H, d, 1), of the projection.
        dtype: of the scores.
    """

    def __init__(self, basis: Basis, positions: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype):
        self._maps = basis.maps
        self._weight = weight
        image = weight @ basis.base.T  # (H, d, P)
        offset = weight @ (positions + basis.bias).T + bias  # (H, d, P)
        # Before the first layer, pixels have no scale, and one product serves both.
        self._image = (image if basis.maps else image + offset).to(dtype)
        self._offset = offset.to(dtype) if basis.maps else None

    def __call__(self, tokens: Tensor, pixels: PromptPixels) -> Tensor:
        """Return the scores (B, H, T, P) of projected tokens (B, H, T, d)."""
        count = len(tokens)
        stacked = _by_head(tokens).to(self._image.dtype)  # (H, B · T, d)
        scores = _by_prompt(stacked @ self._image, count)
        if self._offset is None:
            return scores
        folded = (tokens @ self._weight).flatten(1, 2)  # (B, H · T, C)
        for rows, added in zip(pixels.rows(self._maps), pixels.additions, strict=True):
            products = (folded @ rows.mT).to(scores.dtype) @ added.weights
            scores = products.view(scores.shape).add_(scores)
        return scores.mul_(pixels.scales[:, None]).add_(_by_prompt(stacked @ self._offset, count))


class PixelSums:
    """Weighted sums of pixels, projected by head.

    Args:
        basis: of the pixels.
        weight: (H, d, C), by which a pixel is projected.
        dtype: of the weights.
    """

    def __init__(self, basis: Basis, weight: Tensor, dtype: torch.dtype):
        self._maps = basis.maps
        self._weight = weight
        self._image = (basis.base @ weight.mT).to(dtype)  # (H, P, d)
        self._bias = basis.bias @ weight.mT  # (H, d)

    def __call__(self, attention: Tensor, pixels: PromptPixels) -> Tensor:
        """Return the sums (B, H, T, d) with weights (B, H, T, P) that sum to 1. These are overwritten."""
        if pixels.scales is not None:
            attention *= pixels.scales[:, None]
        sums = _by_prompt(_by_head(attention) @ self._image, len(attention)).float()
        for rows, added in zip(pixels.rows(self._maps), pixels.additions, strict=True):
            shares = attention.flatten(1, 2) @ added.weights.mT  # (B, H · T, rows)
            seen = (shares.float() @ rows).view(*sums.shape[:3], -1)  # (B, H, T, C)
            sums = sums + seen @ self._weight.mT
        return sums + self._bias[:, None]


class PixelNorm:
    """A layer norm over the channels of pixels to which a layer was added.

    Args:
        basis: of the pixels before the norm.
        norm: the layer norm.
        dtype: of what has the size of the image.

    Attributes:
        basis: of the pixels after the norm.
    """

    def __init__(self, basis: Basis, norm: nn.LayerNorm, dtype: torch.dtype):
        base = _centered(basis.base)
        self._maps = [_centered(maps) for maps in basis.maps]
        weighted = tuple(maps * norm.weight for maps in self._maps)
        self.basis = Basis(base * norm.weight, weighted, norm.bias)
        self._images = [(maps @ base.T).to(dtype) for maps in self._maps]  # (H, d + 1, P) each
        self._squares = base.square().sum(dim=1)  # (P,)
        self._channels = len(norm.weight)
        self._eps = norm.eps

    def __call__(self, pixels: PromptPixels) -> PromptPixels:
        """Return the normalized pixels."""
        squares = self._sum_of_squares(pixels)
        if pixels.scales is None:
            scales = (squares / self._channels + self._eps).rsqrt()
        else:
            before = pixels.scales.float()
            scales = before * (squares * before.square() / self._channels + self._eps).rsqrt()
        return PromptPixels(scales.to(pixels.additions[0].weights.dtype), pixels.additions)

    def _sum_of_squares(self, pixels: PromptPixels) -> Tensor:
        """Return the sums over the channels of the pixels before they are scaled: float32 (B, 1, P).

        |base + Σ rows|² has the square of the base, the products of the base with each addition, and those
        of each pair of additions.
        """
        squares = self._squares
        rows = pixels.rows(self._maps)
        for index, (added, image) in enumerate(zip(pixels.additions, self._images, strict=True)):
            products = (rows[index] @ rows[index].mT).to(image.dtype) @ added.weights
            for before, others in zip(pixels.additions[:index], rows[:index], strict=True):
                products.baddbmm_((2 * rows[index] @ others.mT).to(image.dtype), before.weights)
            stacked = _by_head(2 * added.values).to(image.dtype)
            by_prompt = products.view(*added.values.shape[:3], -1)
            by_prompt += _by_prompt(stacked @ image, len(added.values))
            squares = squares + products.mul_(added.weights).sum(dim=1, dtype=torch.float32)
        # Rounding can make the square of almost nothing negative.
        return squares.clamp(min=0)[:, None]


class PixelLinear:
    """A linear layer on the pixels of one prompt.

    Args:
        basis: of the pixels.
        weight: (O, C).
        bias: (O,).
        dtype: of the result.
    """

    def __init__(self, basis: Basis, weight: Tensor, bias: Tensor, dtype: torch.dtype):
        self._image = (basis.base @ weight.T).to(dtype)  # (P, O)
        self._maps = [maps @ weight.T for maps in basis.maps]  # (H, d + 1, O) each
        self._bias = (weight @ basis.bias + bias).to(dtype)

    def __call__(self, pixels: PromptPixels, prompt: int, cells: tuple[int, int]) -> Tensor:
        """Return the layer's outputs (rows · columns, O).

        Args:
            pixels: of B prompts.
            prompt: index of the one to compute.
            cells: (rows, columns) of the square image to compute, from the top left.
        """
        weights = torch.cat([_crop(added.weights[prompt], cells) for added in pixels.additions])
        rows = [
            (added.values[prompt] @ maps).flatten(0, 1)  # (H · T, O)
            for added, maps in zip(pixels.additions, self._maps, strict=True)
        ]
        image = _crop(self._image.T, cells).T
        outputs = torch.addmm(image, weights.T, torch.cat(rows).to(image.dtype))
        return outputs.mul_(_crop(pixels.scales[prompt], cells).T).add_(self._bias)


def _centered(values: Tensor) -> Tensor:
    return values - values.mean(dim=-1, keepdim=True)


def _by_head(values: Tensor) -> Tensor:
    """(B, H, T, n) to (H, B · T, n)."""
    return values.transpose(0, 1).flatten(1, 2)


def _by_prompt(values: Tensor, count: int) -> Tensor:
    """(H, B · T, n) to (B, H, T, n)."""
    return values.unflatten(1, (count, -1)).transpose(0, 1)


def _crop(values: Tensor, cells: tuple[int, int]) -> Tensor:
    """(n, P) of a square grid to (n, rows · columns) of its top left."""
    side = isqrt(values.shape[1])
    rows, columns = cells
    return values.unflatten(1, (side, side))[:, :rows, :columns].flatten(1)
