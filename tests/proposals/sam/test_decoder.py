"""The rearranged mask decoder computes what segment-anything's does, logit by logit."""

import pytest
import torch

from ovseg_demo.proposals.sam.decoder import PointDecoder
from tests.tiny.sam import TINY_SAM, changed, tiny_sam

EMBEDDING_SEED = 3


def decode_with_the_original(sam, embedding, points):
    """Low-resolution logits (B, M, 4g, 4g), predicted IoU (B, M) and sparse prompt embeddings (B, 2, C)."""
    labels = torch.ones(len(points), 1)
    sparse, dense = sam.prompt_encoder((points[:, None], labels), boxes=None, masks=None)
    logits, quality = sam.mask_decoder(embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, True)
    return logits, quality, sparse


def make_inputs(config, seed=0):
    sam = tiny_sam(config, seed)
    torch.manual_seed(EMBEDDING_SEED)
    embedding = torch.randn(1, config.prompt_dim, config.grid_size, config.grid_size)
    return sam, embedding, torch.rand(5, 2) * config.image_size


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decoder_depth": 1},
        {"decoder_depth": 3},
        {"decoder_downsampling": 1, "decoder_heads": 8},
        {"prompt_dim": 64, "multimask_outputs": 1, "iou_head_depth": 1},
    ],
    ids=str,
)
@torch.inference_mode()
def test_logits_and_quality_are_the_originals(changes):
    config = changed(**changes)
    sam, embedding, points = make_inputs(config)
    expected_logits, expected_quality, prompts = decode_with_the_original(sam, embedding, points)
    decoder = PointDecoder(sam, embedding, torch.float32)
    decoded = decoder.decode(prompts)
    torch.testing.assert_close(decoded.quality, expected_quality, rtol=1e-4, atol=1e-5)
    everything = torch.arange(config.multimask_outputs)
    cells = (config.grid_size, config.grid_size)
    for prompt in range(len(points)):
        logits = decoder.masks(decoded, prompt, everything, cells)
        torch.testing.assert_close(logits, expected_logits[prompt], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_some_masks_over_some_cells_are_cut_from_all():
    sam, embedding, points = make_inputs(TINY_SAM)
    decoder = PointDecoder(sam, embedding, torch.float32)
    decoded = decoder.decode(decode_with_the_original(sam, embedding, points)[2])
    whole = decoder.masks(decoded, 1, torch.arange(3), (8, 8))
    part = decoder.masks(decoded, 1, torch.tensor([2, 0]), (3, 5))
    torch.testing.assert_close(part, whole[[2, 0], :12, :20])


@torch.inference_mode()
def test_an_image_serves_any_number_of_batches():
    sam, embedding, points = make_inputs(TINY_SAM)
    prompts = decode_with_the_original(sam, embedding, points)[2]
    decoder = PointDecoder(sam, embedding, torch.float32)
    together = decoder.decode(prompts).quality
    apart = torch.cat([decoder.decode(prompt[None]).quality for prompt in prompts])
    torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_bfloat16_stays_near_float32():
    sam, embedding, points = make_inputs(TINY_SAM)
    logits, quality, prompts = decode_with_the_original(sam, embedding, points)
    decoder = PointDecoder(sam, embedding, torch.bfloat16)
    decoded = decoder.decode(prompts)
    assert decoded.quality.dtype == torch.float32
    assert (decoded.quality - quality).abs().max() < 0.05
    made = decoder.masks(decoded, 0, torch.arange(3), (8, 8))
    assert made.dtype == torch.float32
    assert (made - logits[0]).square().mean().sqrt() < 0.05 * logits.std()
