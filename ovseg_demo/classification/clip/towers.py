"""Forward passes of CLIP's two towers over open_clip's modules, for inference and for training.

They compute the same values as open_clip's forward passes, and support mask prompts (arXiv 2210.04150,
section 3.3). They do not compute values that nothing reads: in the last block, all tokens but the one that
becomes the feature; all tokens after the end of a text; outputs that mask prompts replace.

Matrix products have the weights' dtype. The residual stream is summed in float32. Attention is batch-major,
because ``nn.MultiheadAttention`` copies frozen bfloat16 weights for every token (pytorch/pytorch#151934).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from open_clip.model import CLIP
from open_clip.transformer import ResidualAttentionBlock, Transformer, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F


class TextTower(Protocol):
    """The parts of a causal text tower; open_clip's ``CLIP`` and ``TextTransformer`` have them."""

    token_embedding: nn.Embedding
    positional_embedding: Tensor
    transformer: Transformer
    ln_final: nn.LayerNorm
    text_projection: Tensor


def encode_regions(
    model: CLIP, mask_embedding: Tensor | None, regions: Tensor, masks: Tensor | None
) -> Tensor:
    """Return the image features of regions, with or without mask prompts.

    Args:
        model: from :func:`ovseg_demo.classification.clip.network.build_clip`.
        mask_embedding: float32 (D, G², C), learned tokens for blank patches; ``None`` means no mask prompts.
        regions: float32 (B, 3, S, S), normalised, zero outside the masks.
        masks: float32 (B, 1, S, S) of zeros and ones; used only with a ``mask_embedding``.

    Returns:
        float32 (B, E), not normalised.
    """
    visual = model.visual
    tokens = embed_patches(visual, regions)  # (B, G², C)
    prompts = [] if mask_embedding is None else list(mask_embedding)
    if prompts:
        foreground = patches_with_foreground(masks, visual.patch_size)  # (B, G²)
        tokens = torch.where(foreground[..., None], tokens, prompts[0])
        computed = F.pad(foreground, (1, 0), value=True).nonzero(as_tuple=True)  # and all class tokens
    tokens = add_positions(visual, tokens)  # (B, 1 + G², C)

    *blocks, last = visual.transformer.resblocks
    for depth, block in enumerate(blocks, start=1):
        attended = attend(block, tokens)
        if depth < len(prompts):
            updated = update(block, tokens[computed], attended[computed])  # (tokens not blank, C)
            blank = F.pad(prompts[depth], (0, 0, 1, 0)).expand_as(tokens)
            tokens = blank.index_put(computed, updated)
        else:
            tokens = update(block, tokens, attended)
    class_token = tokens[:, :1]
    class_token = update(last, class_token, attend(last, class_token, context=tokens))
    return visual.ln_post(class_token[:, 0]) @ visual.proj


def embed_patches(visual: VisionTransformer, pixels: Tensor) -> Tensor:
    """Return the patches of normalised pixels (B, 3, S, S) as tokens: float32 (B, g², C), row by row."""
    return visual.conv1(pixels.to(visual.conv1.weight.dtype)).float().flatten(2).mT


def add_positions(visual: VisionTransformer, patches: Tensor) -> Tensor:
    """Return the input of the first block, float32 (B, 1 + g², C), of patches (B, g², C).

    For a grid that the tower was not trained for, the positions of the patches are resized as TextRegion does
    it (arXiv 2505.23769): bicubically, by (g + 0.1) / G of the tower's own grid.
    """
    positions, own = visual.positional_embedding, visual.grid_size[0]
    side = math.isqrt(patches.shape[1])
    if side != own:
        grid = positions[1:].T.unflatten(1, (own, own))[None]
        scale = (side + 0.1) / own
        resized = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
        positions = torch.cat([positions[:1], resized[0].flatten(1).T])
    tokens = torch.cat([visual.class_embedding.expand(len(patches), 1, -1), patches], dim=1)
    return visual.ln_pre(tokens + positions)


def patches_with_foreground(masks: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Return the patches in which masks (B, 1, S, S) have a pixel: bool (B, G²), row by row."""
    return F.max_pool2d(masks, patch_size).flatten(1) > 0


def encode_tokens(model: TextTower, token_ids: Tensor) -> Tensor:
    """Return the text features, float32 (B, E), not normalised, of token ids, int64 (B, L).

    A row holds the start token, the text's tokens, the end token and padding. The end token has the highest
    id, as in CLIP.
    """
    ends = token_ids.argmax(dim=1)
    token_ids = token_ids[:, : int(ends.max()) + 1]
    return encode_embedded(model, model.token_embedding(token_ids), ends)


def encode_embedded(model: TextTower, embedded: Tensor, ends: Tensor) -> Tensor:
    """Return the text features of rows of embedded tokens.

    Args:
        model: from :func:`ovseg_demo.classification.clip.network.build_clip`.
        embedded: float32 (B, L, C), without positions; tokens after a row's end token have no effect.
        ends: int64 (B,), the index of each row's end token, which becomes the feature.

    Returns:
        float32 (B, E), not normalised.
    """
    length = embedded.shape[1]
    tokens = embedded + model.positional_embedding[:length]
    *blocks, last = model.transformer.resblocks
    for block in blocks:
        tokens = update(block, tokens, attend(block, tokens, is_causal=True))
    end_token = tokens[torch.arange(len(ends), device=ends.device), ends][:, None]
    up_to_end = torch.arange(length, device=ends.device) <= ends[:, None]  # (B, L)
    attended = attend(last, end_token, context=tokens, attn_mask=up_to_end[:, None, None])
    return model.ln_final(update(last, end_token, attended)[:, 0]) @ model.text_projection


def encode_tree(model: TextTower, embedded: Tensor, visible: Tensor, ends: Tensor) -> Tensor:
    """Return the text features of the texts in a prefix tree.

    Args:
        model: from :func:`ovseg_demo.classification.clip.network.build_clip`.
        embedded: float32 (M, C), the tree's embedded tokens, without positions.
        visible: bool (M, M), the tokens that each token attends to, itself included.
        ends: int64 (B,), the index of each text's end token.

    Returns:
        float32 (B, E), not normalised.
    """
    positions = visible.sum(dim=1) - 1
    tokens = (embedded + model.positional_embedding[positions])[None]  # (1, M, C)
    *blocks, last = model.transformer.resblocks
    for block in blocks:
        tokens = update(block, tokens, attend(block, tokens, attn_mask=visible))
    end_tokens = tokens[:, ends]
    attended = attend(last, end_tokens, context=tokens, attn_mask=visible[ends])
    return model.ln_final(update(last, end_tokens, attended)[0]) @ model.text_projection


def attend(block: ResidualAttentionBlock, tokens: Tensor, context: Tensor | None = None, **how) -> Tensor:
    """Return the attention of ``tokens`` (B, Q, C) to ``context`` (B, L, C) or themselves, not projected."""
    weight, bias, width = block.attn.in_proj_weight, block.attn.in_proj_bias, block.attn.embed_dim

    def heads(projected: Tensor) -> tuple[Tensor, ...]:  # (B, L, n·C) → n × (B, heads, L, C / heads)
        split = projected.unflatten(-1, (-1, block.attn.num_heads, block.attn.head_dim))
        return split.permute(2, 0, 3, 1, 4).unbind()

    normed = block.ln_1(tokens).to(weight.dtype)
    if context is None:
        query, key, value = heads(F.linear(normed, weight, bias))
    else:
        (query,) = heads(F.linear(normed, weight[:width], bias[:width]))
        key, value = heads(F.linear(block.ln_1(context).to(weight.dtype), weight[width:], bias[width:]))
    return F.scaled_dot_product_attention(query, key, value, **how).transpose(1, 2).flatten(2)


def update(block: ResidualAttentionBlock, tokens: Tensor, attended: Tensor) -> Tensor:
    """Return the output of the block's remaining layers, which process each token (…, C) by itself."""
    tokens = tokens + block.ls_1(block.attn.out_proj(attended))
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens).to(attended.dtype)))
