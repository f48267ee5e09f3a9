"""MaskCLIP++'s consistency module, which adapts text embeddings to an image (arXiv 2412.11464)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ovseg_demo.runtime.tensors import Shapes, check_names_and_shapes

HEADS = 8
"""Attention heads of the module; its tensors do not tell."""


class NameConsistency(nn.Module):
    """Attention of names to an image's cells: ``A = LayerNorm(T + Attention(T, Z, Z))``.

    T are the names' text embeddings, Z the projected unit-length embeddings of the cells.

    Args:
        width: D, of the embeddings.
    """

    def __init__(self, width: int):
        super().__init__()
        self.img_proj = nn.Linear(width, width, bias=False)
        self.img2text = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], device: torch.device) -> NameConsistency:
        """Return the module of tensors ``img_proj.*``, ``img2text.*`` and ``ln_1.*``.

        Raises:
            CheckpointError: the tensors do not make up the module.
        """
        with torch.device("meta"):
            module = cls(Shapes(tensors, "MaskCLIP++'s consistency module")["img_proj.weight"][0])
        check_names_and_shapes(module.state_dict(), tensors, "MaskCLIP++'s consistency module")
        module.load_state_dict({n: t.to(device, torch.float32) for n, t in tensors.items()}, assign=True)
        return module.eval().requires_grad_(False)

    @torch.inference_mode()
    def of_image(self, cells: Tensor) -> AdaptedNames:
        """Return the function of an image that adapts text embeddings.

        Args:
            cells: float32 (P, D), the embeddings of all cells of the image's feature map, of any length.
        """
        projected = self.img_proj(F.normalize(cells, dim=-1))
        width = projected.shape[1]
        weight, bias = self.img2text.in_proj_weight[width:], self.img2text.in_proj_bias[width:]
        keys, values = F.linear(projected, weight, bias).unflatten(1, (2, HEADS, -1)).permute(1, 2, 0, 3)
        return AdaptedNames(self, keys.contiguous(), values.contiguous())


@dataclass(frozen=True, eq=False)
class AdaptedNames:
    """A :class:`ovseg_demo.classification.types.NameAdaptation`: one image's keys and values.

    Attributes:
        module: the module with its weights.
        keys: float32 (heads, P, D / heads).
        values: likewise.
    """

    module: NameConsistency
    keys: Tensor
    values: Tensor

    @property
    def nbytes(self) -> int:
        """The bytes of keys and values."""
        return self.keys.nbytes + self.values.nbytes

    @torch.inference_mode()
    def __call__(self, names: np.ndarray) -> np.ndarray:
        """Return the adapted embeddings, float32 (names, D), of unit-length text embeddings (names, D)."""
        texts = torch.from_numpy(names).to(self.keys.device)
        attention, width = self.module.img2text, texts.shape[1]
        queries = F.linear(texts, attention.in_proj_weight[:width], attention.in_proj_bias[:width])
        queries = queries.unflatten(1, (HEADS, -1)).transpose(0, 1)  # (heads, names, D / heads)
        read = F.scaled_dot_product_attention(queries, self.keys, self.values).transpose(0, 1).flatten(1)
        return self.module.ln_1(texts + attention.out_proj(read)).cpu().numpy()
