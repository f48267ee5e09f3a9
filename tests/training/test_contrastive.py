import math

import pytest
import torch
from open_clip.loss import ClipLoss

from ovseg_demo.training.clip_pretraining import true_texts
from ovseg_demo.training.contrastive import contrastive_loss, token_loss

SCALE = torch.tensor(20.0)


def features(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


def test_with_one_true_text_each_it_is_open_clips_loss():
    images, texts = (torch.nn.functional.normalize(features(6, seed), dim=-1) for seed in (0, 1))
    loss = contrastive_loss(images, texts, torch.eye(6, dtype=torch.bool), SCALE)
    assert loss.item() == pytest.approx(ClipLoss()(images, texts, SCALE).item(), rel=1e-5)


def test_other_true_texts_are_no_negatives():
    images, texts = features(3, 0), features(3, 1)
    true = torch.tensor([[True, True, False], [True, True, False], [False, False, True]])
    together = contrastive_loss(images, texts, true, SCALE)
    # Rows and columns 0 and 1 do not meet, so that each pair is judged against number 2 alone.
    logits = (
        SCALE * torch.nn.functional.normalize(images, dim=-1) @ torch.nn.functional.normalize(texts, dim=-1).T
    )
    logits[0, 1] = logits[1, 0] = -math.inf
    own = torch.arange(3)
    expected = sum(torch.nn.functional.cross_entropy(side, own) for side in (logits, logits.T)) / 2
    assert together.item() == pytest.approx(expected.item(), rel=1e-5)


def test_captions_that_mean_the_same_are_all_true():
    rows = torch.tensor(
        [
            [5, 2, 2],  # a blue thing of class 5, "a blue five"
            [5, 2, -1],  # the same, "a five"
            [5, 3, 3],  # "a red five"
            [6, 2, 2],  # "a blue six"
            [-1, -1, -1],  # a scene
            [-1, -1, -1],  # another
        ]
    )
    expected = [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]
    assert true_texts(rows).int().tolist() == expected


def test_tokens_of_every_caption_weigh_nothing():
    token_ids = torch.tensor([[7, 1, 2, 8, 0], [7, 1, 3, 8, 0]])  # 7 start, 8 end, 0 padding; 1 is in both
    logits = torch.zeros(2, 9)
    logits[0, 2] = logits[1, 3] = 50
    assert token_loss(logits, token_ids, ignored=(0, 7, 8)).item() == pytest.approx(0, abs=1e-6)
    logits[:, 1] = 100
    assert token_loss(logits, token_ids, ignored=(0, 7, 8)).item() == pytest.approx(50, rel=1e-3)
