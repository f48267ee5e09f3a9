import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ovseg_demo.training.maskformer_losses import (
    DICE_WEIGHT,
    FOCAL_WEIGHT,
    UNMATCHED,
    MaskTargets,
    QueryOutputs,
    class_logits,
    classification_loss,
    mask_losses,
    match,
    sample_pixels,
    set_losses,
)

LAYERS, QUERIES, CLASSES, WIDTH = 2, 5, 7, 6


@pytest.fixture
def labels():
    """Two images of 8×12 cells: three classes and a strip that is ignored, and one class alone."""
    labels = torch.zeros(2, 8, 12, dtype=torch.int64)
    labels[0, :, 6:] = 3
    labels[0, 2:6, 2:6] = 5
    labels[0, :, 10:] = -1
    labels[1] = 4
    return labels


@pytest.fixture
def targets(labels):
    return MaskTargets.from_labels(labels)


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    return QueryOutputs(
        class_embeddings=torch.randn(LAYERS, 2, QUERIES, 4, generator=generator),
        mask_embeddings=torch.randn(LAYERS, 2, QUERIES, WIDTH, generator=generator),
    )


@pytest.fixture
def mask_features():
    return torch.randn(2, WIDTH, 8 * 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def logits(outputs):
    generator = torch.Generator().manual_seed(2)
    text, nothing = torch.randn(CLASSES, 4, generator=generator), torch.randn(1, 4, generator=generator)
    return class_logits(outputs.class_embeddings, text, nothing, scale=5.0)


def reference_mask_loss(logits, wanted, valid):
    """Weighted focal and dice loss of one mask, pixel by pixel, in float64."""
    focal, overlap, predicted, true = 0.0, 0.0, 0.0, 0.0
    for logit, target, counts in zip(
        logits.double().flatten(), wanted.flatten(), valid.flatten(), strict=True
    ):
        if not counts:
            continue
        p = torch.sigmoid(logit)
        p_true, alpha = (p, 0.25) if target else (1 - p, 0.75)
        focal += -alpha * (1 - p_true) ** 2 * torch.log(p_true)
        overlap, predicted, true = overlap + p * target, predicted + p, true + target
    dice = 1 - (2 * overlap + 1) / (predicted + true + 1)
    return float(FOCAL_WEIGHT * focal / valid.sum()), float(DICE_WEIGHT * dice)


def test_targets_are_one_mask_for_each_class_present(labels, targets):
    assert targets.classes.tolist() == [[0, 3, 5], [4, -1, -1]]
    assert targets.counts == [3, 1]
    assert torch.equal(targets.masks[0, 2].bool(), labels[0].flatten() == 5)
    assert torch.equal(targets.valid[0, 0].bool(), labels[0].flatten() >= 0)
    assert not (targets.masks[0] * (1 - targets.valid[0])).any()
    assert targets.masks[1, 0].all() and not targets.masks[1, 1:].any()


def test_class_logits_are_scaled_cosines_and_ignore_length():
    text = F.normalize(torch.randn(3, 4), dim=-1)
    embeddings = torch.stack([7 * text[1], -text[2]])
    logits = class_logits(embeddings, text, torch.ones(1, 4))
    assert logits.shape == (2, 4)
    assert logits[0, 1].item() == pytest.approx(100, abs=1e-3)
    assert logits[1, 2].item() == pytest.approx(-100, abs=1e-3)


def test_matching_is_the_cheapest_of_all_assignments(outputs, logits, mask_features, targets):
    queries = match(outputs, logits, mask_features, targets)
    assert (queries[:, 1, 1:] == UNMATCHED).all()
    for layer in range(LAYERS):
        costs = np.zeros((QUERIES, 3))
        for query, mask in itertools.product(range(QUERIES), range(3)):
            mask_logits = outputs.mask_embeddings[layer, 0, query] @ mask_features[0]
            wanted, valid = targets.masks[0, mask], targets.valid[0, 0]
            probability = logits[layer, 0, query].softmax(dim=0)[targets.classes[0, mask]]
            costs[query, mask] = sum(reference_mask_loss(mask_logits, wanted, valid)) - probability
        best = min(itertools.permutations(range(QUERIES), 3), key=lambda q: costs[q, range(3)].sum())
        assert tuple(queries[layer, 0].tolist()) == best


def test_more_masks_than_queries_leave_some_unmatched(outputs, logits, mask_features, targets):
    few = QueryOutputs(outputs.class_embeddings[:, :, :2], outputs.mask_embeddings[:, :, :2])
    queries = match(few, logits[:, :, :2], mask_features, targets)
    for layer in queries[:, 0]:
        assert sorted(layer.tolist()) == [UNMATCHED, 0, 1]


def test_mask_losses_are_the_published_ones(outputs, mask_features, targets):
    embeddings = outputs.mask_embeddings[:, :, :3]
    present = (targets.classes >= 0).expand(LAYERS, -1, -1)
    found = mask_losses(embeddings, present, mask_features, targets)
    sums = np.zeros(2)
    for layer, (image, mask) in itertools.product(range(LAYERS), [(0, 0), (0, 1), (0, 2), (1, 0)]):
        mask_logits = embeddings[layer, image, mask] @ mask_features[image]
        sums += reference_mask_loss(mask_logits, targets.masks[image, mask], targets.valid[image, 0])
    assert [found["focal"].item(), found["dice"].item()] == pytest.approx(list(sums / 4), rel=1e-4)


def test_unmatched_queries_shall_say_no_object(logits, targets):
    queries = torch.tensor([[[4, 0, 2], [3, -1, -1]], [[1, 2, 3], [0, -1, -1]]])
    total = 0.0
    for layer in range(LAYERS):
        weighted, weights = 0.0, 0.0
        wanted = torch.full((2, QUERIES), CLASSES)
        for image, mask in [(0, 0), (0, 1), (0, 2), (1, 0)]:
            wanted[image, queries[layer, image, mask]] = targets.classes[image, mask]
        for image, query in itertools.product(range(2), range(QUERIES)):
            weight = 0.1 if wanted[image, query] == CLASSES else 1.0
            probabilities = logits[layer, image, query].softmax(dim=0)
            weighted -= weight * probabilities[wanted[image, query]].log()
            weights += weight
        total += weighted / weights
    assert classification_loss(logits, queries, targets).item() == pytest.approx(total.item(), rel=1e-5)


def test_perfect_predictions_cost_next_to_nothing(targets):
    """Mask features that are the masks themselves, and queries that point at them, in shuffled order."""
    features = torch.cat([targets.masks, torch.ones(2, 1, 8 * 12)], dim=1)
    embeddings = torch.zeros(1, 2, QUERIES, 4)
    embeddings[..., 3] = -20
    names = torch.zeros(1, 2, QUERIES, CLASSES + 1)
    names[..., CLASSES] = 1
    for image, mask, query in [(0, 0, 3), (0, 1, 1), (0, 2, 4), (1, 0, 2)]:
        embeddings[0, image, query, mask] = 40
        names[0, image, query] = F.one_hot(targets.classes[image, mask], CLASSES + 1).float()
    text, nothing = torch.eye(CLASSES + 1)[:CLASSES], torch.eye(CLASSES + 1)[CLASSES:]
    losses = set_losses(
        QueryOutputs(names, embeddings), class_logits(names, text, nothing), features, targets
    )
    assert set(losses) == {"class", "focal", "dice"}
    assert all(loss.item() < 1e-3 for loss in losses.values())


def test_a_batch_without_a_label_has_finite_losses_and_gradients(outputs, mask_features):
    targets = MaskTargets.from_labels(torch.full((2, 8, 12), -1))
    embeddings = outputs.mask_embeddings.clone().requires_grad_()
    names = outputs.class_embeddings.clone().requires_grad_()
    logits = class_logits(names, torch.randn(CLASSES, 4), torch.randn(1, 4))
    losses = set_losses(QueryOutputs(names, embeddings), logits, mask_features, targets)
    sum(losses.values()).backward()
    assert losses["focal"] == 0 and losses["dice"] == 0
    assert embeddings.grad.isfinite().all() and names.grad.isfinite().all()


def test_pixels_are_drawn_as_often_from_small_classes(targets, labels):
    torch.manual_seed(0)
    chosen = labels.flatten(1).gather(1, sample_pixels(targets, 6000))
    shares = [(chosen[0] == label).float().mean().item() for label in (0, 3, 5)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.04)
    assert (chosen[1] == 4).all()


def test_targets_on_some_pixels_are_those_of_all(targets):
    some = torch.tensor([90, 3, 40])
    part = targets.at(some)
    assert torch.equal(part.classes, targets.classes)
    assert torch.equal(part.masks, targets.masks[:, :, some])
    assert torch.equal(part.valid, targets.valid[:, :, some])
