"""Our passes through CLIP's towers against open_clip's own, and against the definition."""

from itertools import pairwise

import pytest
import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn import functional as F

from ovseg_demo.classification.clip.network import MASK_EMBEDDING, build_clip
from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.classification.clip.towers import encode_embedded, encode_regions, encode_tokens
from tests.tiny.clip import tiny_clip_tensors

PATCH, GRID = 8, 4
SIZES = [{}, {"layers": 1, "text_layers": 1}, {"width": 64, "patch": 4, "grid": 3, "text_width": 128}]
TEXTS = ["a photo of a dog.", "x", "There is a large traffic light in the scene."]


def make_regions(count: int, size: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def make_masks(count: int = 3, seed: int = 0) -> Tensor:
    """About half the patches are blank, one has a single pixel, and the first mask has no blank patch."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand(count, 1, GRID, GRID, generator=generator) < 0.5
    masks = patches.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3).float()
    masks[:, :, 3, 5] = 1
    masks[0] = 1
    return masks


def encode_step_by_step(model: CLIP, mask_embedding: Tensor, regions: Tensor, masks: Tensor) -> Tensor:
    """Compute mask prompts by the definition, with open_clip's own blocks computing every token."""
    visual = model.visual
    m = F.avg_pool2d(masks, PATCH).ceil().flatten(1)[..., None]  # (B, G², 1)
    x = visual.conv1(regions).flatten(2).transpose(1, 2)
    x = m * x + (1 - m) * mask_embedding[0]
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
    x = visual.ln_pre(x + visual.positional_embedding)
    for d, block in enumerate(visual.transformer.resblocks, start=1):
        x = block(x)
        if d < len(mask_embedding):
            x = torch.cat([x[:, :1], m * x[:, 1:] + (1 - m) * mask_embedding[d]], dim=1)
    return visual.ln_post(x[:, 0]) @ visual.proj


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("quick_gelu", [True, False])
@torch.no_grad()
def test_without_mask_prompts_regions_are_encoded_as_open_clip_does(sizes, quick_gelu):
    model = build_clip(tiny_clip_tensors(**sizes), quick_gelu=quick_gelu)
    regions = make_regions(3, model.visual.image_size[0])
    torch.testing.assert_close(
        encode_regions(model, None, regions, None), model.encode_image(regions), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("quick_gelu", [True, False])
@torch.no_grad()
def test_texts_are_encoded_as_open_clip_does(sizes, quick_gelu):
    model = build_clip(tiny_clip_tensors(**sizes), quick_gelu=quick_gelu)
    ids = Tokenizer(model.vocab_size, model.context_length)(TEXTS)
    torch.testing.assert_close(encode_tokens(model, ids), model.encode_text(ids), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_comes_after_the_end_of_a_text_plays_no_part():
    model = build_clip(tiny_clip_tensors())
    embedded = torch.randn(2, 9, 64)
    ends = torch.tensor([4, 8])
    changed = embedded.clone()
    changed[0, 5:] = 100
    torch.testing.assert_close(encode_embedded(model, embedded, ends), encode_embedded(model, changed, ends))


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6])
@torch.no_grad()
def test_mask_prompts_of_any_depth_follow_the_specification(depth):
    tensors = tiny_clip_tensors(layers=4, mask_prompt_depth=depth)
    model, mask_embedding = build_clip(tensors), tensors[MASK_EMBEDDING]
    regions, masks = make_regions(3, PATCH * GRID), make_masks()
    torch.testing.assert_close(
        encode_regions(model, mask_embedding, regions, masks),
        encode_step_by_step(model, mask_embedding, regions, masks),
        rtol=1e-4,
        atol=1e-5,
    )


@torch.no_grad()
def test_each_prompt_layer_matters():
    tensors = tiny_clip_tensors(mask_prompt_depth=3)
    model, mask_embedding = build_clip(tensors), tensors[MASK_EMBEDDING]
    regions, masks = make_regions(3, PATCH * GRID), make_masks()
    features = [encode_regions(model, mask_embedding[:depth], regions, masks) for depth in (1, 2, 3)]
    for shallow, deep in pairwise(features):
        assert ((shallow - deep)[1:].abs().amax(dim=1) > 1e-2).all()


@torch.no_grad()
def test_a_region_without_blank_patches_needs_no_prompts():
    tensors = tiny_clip_tensors()
    model = build_clip(tensors)
    regions = make_regions(2, PATCH * GRID)
    masks = torch.zeros(2, 1, PATCH * GRID, PATCH * GRID)
    masks[..., ::PATCH, ::PATCH] = 1  # one pixel a patch is enough
    prompted = encode_regions(model, tensors[MASK_EMBEDDING], regions, masks)
    torch.testing.assert_close(prompted, encode_regions(model, None, regions, None), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_pixels_of_blank_patches_count_only_without_prompts():
    tensors = tiny_clip_tensors()
    model, mask_embedding = build_clip(tensors), tensors[MASK_EMBEDDING]
    masks = torch.ones(1, 1, PATCH * GRID, PATCH * GRID)
    masks[..., :PATCH, PATCH : 2 * PATCH] = 0
    regions = make_regions(1, PATCH * GRID)
    blank_changed = torch.where(masks > 0, regions, regions + 1)
    seen_changed = regions.clone()
    seen_changed[..., -PATCH:, -PATCH:] += 1

    def encode(pixels: Tensor, prompts: Tensor | None) -> Tensor:
        return encode_regions(model, prompts, pixels, masks)

    assert torch.equal(encode(regions, mask_embedding), encode(blank_changed, mask_embedding))
    assert not torch.allclose(
        encode(regions, mask_embedding), encode(seen_changed, mask_embedding), atol=1e-3
    )
    assert not torch.allclose(encode(regions, None), encode(blank_changed, None), atol=1e-3)


def test_gradients_reach_the_prompts_of_blank_patches_and_no_others():
    tensors = tiny_clip_tensors(mask_prompt_depth=3)
    model = build_clip(tensors).requires_grad_(False)
    mask_embedding = tensors[MASK_EMBEDDING].clone().requires_grad_()
    masks = make_masks()
    encode_regions(model, mask_embedding, make_regions(3, PATCH * GRID), masks).square().sum().backward()
    ever_blank = (F.max_pool2d(masks, PATCH).flatten(1) == 0).any(dim=0)
    assert 0 < ever_blank.sum() < GRID**2
    received = mask_embedding.grad.abs().amax(dim=2) > 0  # (D, G²)
    assert torch.equal(received, ever_blank.expand(3, -1))


def test_gradients_are_those_of_the_specification():
    tensors = tiny_clip_tensors(layers=3)
    regions, masks = make_regions(3, PATCH * GRID), make_masks()
    gradients = []
    for encode in (encode_regions, encode_step_by_step):
        model = build_clip({name: tensor.clone() for name, tensor in tensors.items()})
        mask_embedding = tensors[MASK_EMBEDDING].clone().requires_grad_()
        encode(model, mask_embedding, regions, masks).square().mean().backward()
        gradients.append([mask_embedding.grad, *(p.grad for p in model.visual.parameters())])
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)


def test_gradients_of_texts_are_open_clips():
    tensors = tiny_clip_tensors()
    ids = Tokenizer(1000, 77)(TEXTS)
    gradients = []
    for encode in (encode_tokens, CLIP.encode_text):
        model = build_clip({name: tensor.clone() for name, tensor in tensors.items()})
        encode(model, ids).square().mean().backward()
        text_tower = [*model.transformer.parameters(), model.token_embedding.weight, model.text_projection]
        gradients.append([parameter.grad for parameter in text_tower])
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)
