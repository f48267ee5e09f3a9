"""The published demo's procedure, rebuilt from the method's description: the yardstick of the benchmarks.

It computes everything literally, with open_clip's own modules in float32: every crop is resized twice, every
block computes every token, texts are padded to the full context length, and the score map holds all classes
for all pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from open_clip import tokenizer
from open_clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.regions import CLIP_MEAN, CLIP_STD
from ovseg_demo.proposals.types import Proposals
from ovseg_demo.vocabulary import TEMPLATES

BATCH = 32


def cut_regions(proposals: Proposals, size: int) -> tuple[Tensor, Tensor]:
    """Return the regions, float32 (N, 3, size, size), and their masks, float32 (N, 1, size, size)."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    image = torch.from_numpy(proposals.working_image).permute(2, 0, 1).float()
    regions, masks = [], []
    for mask, (x0, y0, x1, y1) in zip(proposals.masks, proposals.boxes, strict=True):
        inside = torch.from_numpy(mask[y0:y1, x0:x1])[None].float()
        crop = image[:, y0:y1, x0:x1] * inside + 255 * mean * (1 - inside)
        F.interpolate(crop[None], (size, size), mode="bicubic")  # the second, un-normalised copy
        normalised = (crop / 255 - mean) / std
        regions.append(F.interpolate(normalised[None], (size, size), mode="bicubic"))
        masks.append(F.interpolate(inside[None], (size, size), mode="nearest"))
    return torch.cat(regions), torch.cat(masks)


def encode_regions(model: CLIP, mask_embedding: Tensor, regions: Tensor, masks: Tensor) -> Tensor:
    """Return the image features of regions with mask prompts; every block computes every token."""
    visual = model.visual
    m = F.avg_pool2d(masks, visual.patch_size).ceil().flatten(1)[..., None]  # (B, G², 1)
    x = visual.conv1(regions).flatten(2).transpose(1, 2)
    x = m * x + (1 - m) * mask_embedding[0]
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    x = visual.ln_pre(x + visual.positional_embedding)
    for depth, block in enumerate(visual.transformer.resblocks, start=1):
        x = block(x)
        if depth < len(mask_embedding):
            x = torch.cat([x[:, :1], m * x[:, 1:] + (1 - m) * mask_embedding[depth]], dim=1)
    return visual.ln_post(x[:, 0]) @ visual.proj


@torch.no_grad()
def embed_regions(model: CLIP, mask_embedding: Tensor, proposals: Proposals) -> np.ndarray:
    """Return the unit-length embeddings of all regions: float32 (N, D)."""
    device = mask_embedding.device
    cut = cut_regions(proposals, model.visual.image_size[0])
    features = [
        encode_regions(model, mask_embedding, regions.to(device), masks.to(device))
        for regions, masks in zip(*(part.split(BATCH) for part in cut), strict=True)
    ]
    return F.normalize(torch.cat(features), dim=-1).cpu().numpy()


@torch.no_grad()
def embed_names(model: CLIP, names: Sequence[str], templates: str = "vild") -> np.ndarray:
    """Return the unit-length embeddings of names, float32 (K, D), encoding one name at a time."""
    device = model.token_embedding.weight.device
    means = []
    for name in names:
        ids = tokenizer.tokenize([template.format(name) for template in TEMPLATES[templates]])
        means.append(model.encode_text(ids.to(device), normalize=True).mean(dim=0))
    return F.normalize(torch.stack(means), dim=-1).cpu().numpy()


def label(proposals: Proposals, region_embeddings: np.ndarray, text_embeddings: np.ndarray) -> np.ndarray:
    """Return the label map, int64 (H, W), with -1 under no mask; the score map has K × h × w floats."""
    logits = torch.from_numpy(100 * region_embeddings @ text_embeddings.T)
    masks = torch.from_numpy(proposals.masks).float()
    scores = torch.einsum("nk,nhw->khw", logits.softmax(dim=1), masks)
    labels = scores.argmax(dim=0)
    labels[~masks.any(dim=0)] = -1
    resized = F.interpolate(labels[None, None].double(), proposals.image_size, mode="nearest")
    return resized[0, 0].long().numpy()
