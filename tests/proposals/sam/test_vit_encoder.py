"""The image encoder in bounded memory computes what segment-anything's does."""

import pytest
import torch

from ovseg_demo.proposals.sam.encoders import vit
from tests.tiny.sam import TINY_SAM, changed, tiny_sam


def encode(config):
    """Embeddings by ours and by the original, in float64: they differ only if a formula is wrong."""
    encoder = tiny_sam(config).image_encoder.double()
    torch.manual_seed(1)
    pixels = torch.randn(1, 3, config.image_size, config.image_size, dtype=torch.float64)
    with torch.inference_mode():
        return encoder.encode(pixels, after_block=lambda: None), encoder(pixels)


@pytest.mark.parametrize("tokens_at_once", [1, 20, 1024])
@pytest.mark.parametrize("weights_at_once", [1, 1000, 512 * 4096])
def test_chunks_of_any_size_give_the_same_embedding(monkeypatch, tokens_at_once, weights_at_once):
    monkeypatch.setattr(vit, "TOKENS_AT_ONCE", tokens_at_once)
    monkeypatch.setattr(vit, "ATTENTION_WEIGHTS_AT_ONCE", weights_at_once)
    embedding, expected = encode(TINY_SAM)
    torch.testing.assert_close(embedding, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "changes",
    [
        {"window_size": 0, "global_attention": (0, 1, 2)},
        {"window_size": 8, "global_attention": ()},
        {"window_size": 13, "global_attention": (2,)},
        {"window_size": 1},
        {"qkv_bias": False, "num_heads": 1},
    ],
    ids=str,
)
def test_every_arrangement_of_windows_gives_the_same_embedding(changes):
    embedding, expected = encode(changed(**changes))
    torch.testing.assert_close(embedding, expected, rtol=0, atol=1e-11)


def test_every_block_is_announced():
    encoder = tiny_sam().image_encoder
    announced = []
    with torch.inference_mode():
        encoder.encode(torch.zeros(1, 3, 64, 64), after_block=lambda: announced.append(1))
    assert len(announced) == TINY_SAM.encoder.depth
