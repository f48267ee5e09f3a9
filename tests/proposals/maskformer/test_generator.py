"""The proposal generator: sizes, masks, scores, progress and settings."""

from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ovseg_demo.errors import Cancelled, ModelError
from ovseg_demo.image_files.scaling import resize_shortest_edge
from ovseg_demo.progress import PROPOSING
from ovseg_demo.proposals.maskformer.generator import (
    MaskFormerProposalGenerator,
    normalise_pixels,
)
from ovseg_demo.runtime.devices import Runtime
from tests.tiny.maskformer import BACKBONES, tiny_maskformer

IMAGE_SIZE = (70, 101)


@pytest.fixture(scope="module", params=BACKBONES)
def network(request):
    return tiny_maskformer(request.param, queries=11)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Rectangles of random colours, so that masks have something to follow."""
    random = np.random.default_rng(0)
    image = np.full((*IMAGE_SIZE, 3), 128, dtype=np.uint8)
    for _ in range(20):
        top, left = random.integers(0, IMAGE_SIZE)
        image[top : top + 30, left : left + 40] = random.integers(0, 256, 3)
    return image


def generator(network, **options) -> MaskFormerProposalGenerator:
    return MaskFormerProposalGenerator(network, **{"min_size": 64, "max_size": 256, **options})


# ---- proposals


def test_masks_are_the_soft_masks_over_the_threshold(network, image):
    proposals = generator(network, mask_threshold=0.4)(image)
    queries = proposals.queries
    # All at once, where the generator goes in chunks.
    logits = torch.from_numpy(queries.mask_logits)[None]
    height, width = proposals.working_size
    soft = (
        F.interpolate(logits, queries.padded_size, mode="bilinear")[0, :, :height, :width].sigmoid().numpy()
    )
    expected = soft > 0.4
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(queries.kept, np.flatnonzero(expected.any(axis=(1, 2))))
    np.testing.assert_array_equal(proposals.masks, expected[queries.kept])
    scores = [soft[query][expected[query]].mean() for query in queries.kept]
    np.testing.assert_allclose(proposals.scores, scores, rtol=1e-5)


def test_shapes_types_and_sizes(network, image):
    proposals = generator(network)(image)
    assert proposals.generator == "maskformer"
    assert proposals.image_size == IMAGE_SIZE
    assert proposals.working_size == (64, 92)
    assert proposals.working_image.dtype == np.uint8
    assert proposals.boxes.dtype == np.int32
    assert proposals.scores.dtype == np.float32
    queries = proposals.queries
    assert queries.padded_size == (64, 96)
    assert queries.mask_logits.shape == (11, 16, 24)
    assert queries.class_embeddings.shape == (11, 32)
    assert queries.non_object_embedding.shape == (32,)
    assert {array.dtype for array in (queries.mask_logits, queries.class_embeddings)} == {
        np.dtype(np.float32)
    }
    assert queries.kept.dtype == np.int64
    assert len(proposals) == len(queries.kept) == len(proposals.boxes) == len(proposals.scores)


@pytest.fixture(scope="module")
def peak_probabilities(network, image):
    """Each query's largest foreground probability: over it its mask is empty."""
    queries = generator(network)(image).queries
    logits = F.interpolate(torch.from_numpy(queries.mask_logits)[None], queries.padded_size, mode="bilinear")[
        0
    ]
    return logits[:, :64, :92].sigmoid().amax(dim=(1, 2)).numpy()


def test_queries_with_empty_masks_are_dropped(network, image, peak_probabilities):
    threshold = float(np.median(peak_probabilities))
    proposals = generator(network, mask_threshold=threshold)(image)
    expected = np.flatnonzero(peak_probabilities > np.float32(threshold))
    assert 0 < len(expected) < 11
    np.testing.assert_array_equal(proposals.queries.kept, expected)
    assert len(proposals.queries.mask_logits) == 11


def test_no_mask_at_all_gives_no_proposals(network, image):
    network = deepcopy(network)
    with torch.no_grad():
        network.sem_seg_head.predictor.mask_embed.layers[-1].bias[0] -= 1000  # the offset of every mask
    proposals = generator(network)(image)
    assert len(proposals) == 0
    assert proposals.masks.shape == (0, 64, 92)
    assert proposals.boxes.shape == (0, 4)
    assert proposals.scores.shape == (0,)


def test_the_same_image_gives_the_same_proposals(network, image):
    first, second = generator(network)(image), generator(network)(image.copy())
    np.testing.assert_array_equal(first.packed_masks, second.packed_masks)
    np.testing.assert_array_equal(first.queries.class_embeddings, second.queries.class_embeddings)


def test_lower_precision_gives_nearly_the_same_masks(network, image):
    exact = generator(network)(image)
    rough = generator(network, runtime=Runtime(torch.device("cpu"), torch.bfloat16))(image)
    assert rough.queries.mask_logits.dtype == np.float32
    agree = (exact.queries.mask_logits > 0) == (rough.queries.mask_logits > 0)
    assert agree.mean() > 0.98
    assert not np.array_equal(exact.queries.mask_logits, rough.queries.mask_logits)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (32, 32), (33, 31)])
def test_images_of_any_shape(network, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    proposals = generator(network)(image)
    assert proposals.image_size == size
    assert proposals.masks.any(axis=(1, 2)).all()


# ---- progress and settings


def test_progress_rises_to_its_total(network, image):
    reports = []
    generator(network)(image, progress=lambda *report: reports.append(report))
    stages, done, totals = zip(*reports, strict=True)
    assert set(stages) == {PROPOSING}
    assert len(set(totals)) == 1
    assert done == tuple(range(totals[0] + 1))


def test_progress_can_cancel(network, image):
    def cancel(stage, done, total):
        if done == 1:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        generator(network)(image, progress=cancel)


def test_settings_of_different_generators_differ(network):
    variants = [
        {},
        {"min_size": 65},
        {"max_size": 300},
        {"mask_threshold": 0.5},
        {"runtime": Runtime(torch.device("cpu"), torch.bfloat16)},
    ]
    assert len({generator(network, **variant).settings for variant in variants}) == len(variants)
    assert generator(network).settings == generator(network).settings


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"min_size": 0}, "0 and 256"),
        ({"min_size": 300}, "300 and 256"),
        ({"mask_threshold": 0}, "between 0 and 1, not at 0"),
        ({"mask_threshold": 1.0}, r"not at 1\.0"),
        ({"mask_threshold": float("nan")}, "nan"),
    ],
)
def test_impossible_settings_are_refused(network, options, named):
    with pytest.raises(ModelError, match=named):
        generator(network, **options)


# ---- the network's input


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    min_size=st.integers(1, 64),
    extra=st.integers(0, 64),
)
def test_resized_sides(height, width, min_size, extra):
    max_size = min_size + extra
    resized = resize_shortest_edge(np.zeros((height, width, 3), dtype=np.uint8), min_size, max_size)
    new_height, new_width = resized.shape[:2]
    assert 1 <= min(new_height, new_width) <= min_size
    assert max(new_height, new_width) <= max_size
    assert min(new_height, new_width) == min_size or max(new_height, new_width) == max_size
    scale = max(new_height, new_width) / max(height, width)
    assert abs(max(1, min(height, width) * scale) - min(new_height, new_width)) <= 1  # both sides are rounded


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((960, 1280), (640, 853)),
        ((1280, 960), (853, 640)),
        ((100, 100), (640, 640)),
        ((400, 2000), (512, 2560)),  # the longer side would be 3,200
    ],
)
def test_published_sizes(size, expected):
    assert resize_shortest_edge(np.zeros((*size, 3), dtype=np.uint8), 640, 2560).shape[:2] == expected


def test_an_image_of_the_right_size_is_kept():
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_shortest_edge(image, 64, 80), image)


@pytest.mark.parametrize(("size", "padded"), [((32, 64), (32, 64)), ((33, 40), (64, 64)), ((1, 1), (32, 32))])
def test_normalised_pixels(size, padded):
    image = np.full((*size, 3), (0, 128, 255), dtype=np.uint8)
    pixels = normalise_pixels(image)
    assert pixels.shape == (1, 3, *padded)
    inside = pixels[0, :, : size[0], : size[1]]
    expected = [(0 - 123.675) / 58.395, (128 - 116.28) / 57.12, (255 - 103.53) / 57.375]
    torch.testing.assert_close(inside, torch.tensor(expected)[:, None, None].expand_as(inside))
    assert pixels.count_nonzero() == inside.count_nonzero()
