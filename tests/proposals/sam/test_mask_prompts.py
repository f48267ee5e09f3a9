"""A mask at points or in a box is one that segment-anything's own predictor proposes."""

import numpy as np
import pytest
from segment_anything import SamPredictor

from ovseg_demo.errors import ModelError
from ovseg_demo.proposals.sam.generator import SamProposalGenerator
from ovseg_demo.proposals.types import MaskPrompt
from tests.tiny.sam import TINY_SAM_THRESHOLDS, tiny_sam

SIZE = (48, 80)
PROMPTS = {
    "a point": MaskPrompt(inside=((30, 20),)),
    "points on both sides": MaskPrompt(inside=((30, 20), (50, 40)), outside=((5, 5),)),
    "a box": MaskPrompt(box=(10, 8, 60, 40)),
    "a box and a point": MaskPrompt(inside=((30, 20),), box=(10, 8, 60, 40)),
}


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def generator():
    return SamProposalGenerator(tiny_sam(), **TINY_SAM_THRESHOLDS)


@pytest.fixture(scope="module")
def embedding(generator, image):
    return generator(image).embedding


@pytest.fixture(scope="module")
def predictor(image):
    predictor = SamPredictor(tiny_sam())
    predictor.set_image(image)
    return predictor


@pytest.mark.parametrize("name", PROMPTS)
def test_the_mask_is_one_of_the_predictors(name, generator, embedding, predictor):
    prompt = PROMPTS[name]
    points = np.array([*prompt.inside, *prompt.outside], dtype=np.float64)
    labels = np.array([1] * len(prompt.inside) + [0] * len(prompt.outside))
    masks, qualities, _ = predictor.predict(
        points if len(points) else None,
        labels if len(points) else None,
        None if prompt.box is None else np.array(prompt.box, dtype=np.float64),
    )
    found = generator.mask_at(embedding, SIZE, prompt)
    right = [
        np.mean([masks[m][int(y), int(x)] == label for (x, y), label in zip(points, labels, strict=True)])
        if len(points)
        else 1.0
        for m in range(3)
    ]
    best = max(range(3), key=lambda m: (right[m], qualities[m]))
    assert found.shape == SIZE
    assert np.mean(found == masks[best]) > 0.999


def test_the_embedding_counts_among_the_bytes(generator, image, embedding):
    proposals = generator(image)
    assert embedding.shape == (1, 32, 8, 8) and embedding.dtype == np.float32
    assert proposals.nbytes >= proposals.packed_masks.nbytes + embedding.nbytes


def test_a_prompt_needs_a_point_or_a_box():
    with pytest.raises(ModelError, match="point inside it or a box"):
        MaskPrompt(outside=((1, 2),))


def test_the_stock_implementation_says_what_to_choose(image):
    stock = SamProposalGenerator(tiny_sam(), implementation="stock", **TINY_SAM_THRESHOLDS)
    assert stock(image).embedding is None
    with pytest.raises(ModelError, match='implementation="fast"'):
        stock.mask_at(np.zeros((1, 32, 8, 8), np.float32), SIZE, PROMPTS["a point"])
