"""Forward passes of CLIP's two towers over open_clip's modules, for inference and, with gradients, training.

They compute what open_clip's own passes compute, and add mask prompts (Liang et al. 2023, section 3.3). What
is never read is left out: in the last block everything but the token that becomes the feature, after the end
of a text everything, and outputs that mask prompts replace.

Products are taken in the weights' dtype, sums along the residual stream in float32. Attention is batch-major:
with frozen bfloat16 weights ``nn.MultiheadAttention`` copies them for every token (pytorch/pytorch#151934).
"""

from __future__ import annotations

import torch
from open_clip.model import CLIP
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor
from torch.nn import functional as F


def encode_regions(
    model: CLIP, mask_embedding: Tensor | None, regions: Tensor, masks: Tensor | None
) -> Tensor:
    """Image features of regions, with mask prompts or without.

    Args:
        model: from :func:`ovseg_demo.classification.clip.network.build_clip`.
        mask_embedding: float32 (D, G², C), learned tokens for blank patches; ``None`` runs plain CLIP.
        regions: float32 (B, 3, S, S), normalised, zero outside the masks.
        masks: float32 (B, 1, S, S) of zeros and ones; read only with a ``mask_embedding``.

    Returns:
        float32 (B, E), not normalised.
    """
    visual = model.visual
    patches = visual.conv1(regions.to(visual.conv1.weight.dtype))  # (B, C, G, G)
    tokens = patches.float().flatten(2).transpose(1, 2)  # (B, G², C)
    prompts = [] if mask_embedding is None else list(mask_embedding)
    if prompts:
        foreground = patches_with_foreground(masks, visual.patch_size)  # (B, G²)
        tokens = torch.where(foreground[..., None], tokens, prompts[0])
        computed = F.pad(foreground, (1, 0), value=True).nonzero(as_tuple=True)  # and all class tokens
    tokens = torch.cat([visual.class_embedding.expand(len(tokens), 1, -1), tokens], dim=1)
    tokens = visual.ln_pre(tokens + visual.positional_embedding)  # (B, 1 + G², C)

    *blocks, last = visual.transformer.resblocks
    for depth, block in enumerate(blocks, start=1):
        attended = _attend(block, tokens)
        if depth < len(prompts):
            updated = _update(block, tokens[computed], attended[computed])  # (tokens not blank, C)
            blank = F.pad(prompts[depth], (0, 0, 1, 0)).expand_as(tokens)
            tokens = blank.index_put(computed, updated)
        else:
            tokens = _update(block, tokens, attended)
    class_token = tokens[:, :1]
    class_token = _update(last, class_token, _attend(last, class_token, context=tokens))
    return visual.ln_post(class_token[:, 0]) @ visual.proj


def patches_with_foreground(masks: Tensor, patch_size: tuple[int, int]) -> Tensor:
    """Bool (B, G²) in reading order: patches with any pixel of masks (B, 1, S, S) set."""
    return F.max_pool2d(masks, patch_size).flatten(1) > 0


def encode_tokens(model: CLIP, token_ids: Tensor) -> Tensor:
    """Text features, float32 (B, E), not normalised, of int64 (B, L) rows: start, words, end and padding.

    The end token has the highest id, as in CLIP.
    """
    ends = token_ids.argmax(dim=1)
    token_ids = token_ids[:, : int(ends.max()) + 1]
    return encode_embedded(model, model.token_embedding(token_ids), ends)


def encode_embedded(model: CLIP, embedded: Tensor, ends: Tensor) -> Tensor:
    """Text features of embedded token rows.

    Args:
        model: from :func:`ovseg_demo.classification.clip.network.build_clip`.
        embedded: float32 (B, L, C), without positions; what comes after a row's end token plays no part.
        ends: int64 (B,), index of each row's end token, where the feature is taken.

    Returns:
        float32 (B, E), not normalised.
    """
    length = embedded.shape[1]
    tokens = embedded + model.positional_embedding[:length]
    *blocks, last = model.transformer.resblocks
    for block in blocks:
        tokens = _update(block, tokens, _attend(block, tokens, is_causal=True))
    end_token = tokens[torch.arange(len(ends), device=ends.device), ends][:, None]
    up_to_end = torch.arange(length, device=ends.device) <= ends[:, None]  # (B, L)
    attended = _attend(last, end_token, context=tokens, attn_mask=up_to_end[:, None, None])
    return model.ln_final(_update(last, end_token, attended)[:, 0]) @ model.text_projection


def encode_tree(model: CLIP, embedded: Tensor, visible: Tensor, ends: Tensor) -> Tensor:
    """Text features of texts that share their beginnings.

    Args:
        model: from :func:`ovseg_demo.classification.clip.network.build_clip`.
        embedded: float32 (M, C), the tree's tokens, without positions.
        visible: bool (M, M), which tokens each token follows, itself included.
        ends: int64 (B,), index of each text's end token.

    Returns:
        float32 (B, E), not normalised.
    """
    positions = visible.sum(dim=1) - 1
    tokens = (embedded + model.positional_embedding[positions])[None]  # (1, M, C)
    *blocks, last = model.transformer.resblocks
    for block in blocks:
        tokens = _update(block, tokens, _attend(block, tokens, attn_mask=visible))
    end_tokens = tokens[:, ends]
    attended = _attend(last, end_tokens, context=tokens, attn_mask=visible[ends])
    return model.ln_final(_update(last, end_tokens, attended)[0]) @ model.text_projection


def _attend(block: ResidualAttentionBlock, tokens: Tensor, context: Tensor | None = None, **how) -> Tensor:
    """What ``tokens`` (B, Q, C) draw from ``context`` (B, L, C), or each other; not yet projected."""
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


def _update(block: ResidualAttentionBlock, tokens: Tensor, attended: Tensor) -> Tensor:
    """The rest of the block, which treats each token (…, C) by itself."""
    tokens = tokens + block.attn.out_proj(attended)
    return tokens + block.mlp(block.ln_2(tokens).to(attended.dtype))
