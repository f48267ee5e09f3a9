import pytest
import torch

from ovseg_demo.classification.clip.tokenizer import Tokenizer
from ovseg_demo.sticker_world import CLASS_NAMES, NOUNS, NOVEL_CLASSES, UNSEEN_PAIRS
from ovseg_demo.training.clip_validation import (
    ValidationSet,
    classification_figures,
    embed_texts,
    make_validation_set,
)
from ovseg_demo.training.clip_weights import new_clip
from ovseg_demo.training.presets import find_settings

SIZE = find_settings("toy", "clip").size


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return new_clip(SIZE).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(SIZE.vocabulary, SIZE.context_length)


@torch.no_grad()
def test_figures_count_what_is_named_right(model, tokenizer):
    """An encoder that reads the label off the first pixel, and is wrong about all novel nouns."""
    names = embed_texts(model, tokenizer, CLASS_NAMES)
    labels = torch.tensor([0, 1, CLASS_NAMES.index(NOVEL_CLASSES[0]), len(NOUNS), len(NOUNS) + 1])
    regions = labels[:, None, None, None].expand(-1, 3, SIZE.image_size, SIZE.image_size).float()

    def encode(regions, masks):
        seen = regions[:, 0, 0, 0].long()
        seen[[CLASS_NAMES[label] in NOVEL_CLASSES for label in seen]] = 0
        return 3 * names[seen]

    nothing = torch.empty(0, 3, SIZE.image_size, SIZE.image_size)
    data = ValidationSet(regions, regions[:, :1], labels, regions[:1], labels[:1], nothing, ())
    figures = classification_figures(model, tokenizer, data, encode)
    assert figures["masked_base"] == figures["masked_stuff"] == 100
    assert figures["masked_novel"] == 0
    assert figures.keys() == {"masked_base", "masked_novel", "masked_stuff", "unmasked_base"}


@torch.no_grad()
def test_an_untrained_clip_guesses_colours(model, tokenizer):
    data = make_validation_set(scenes=1, crops=1, crops_per_pair=1, size=SIZE.image_size)
    assert set(data.pairs) == set(UNSEEN_PAIRS)
    assert 0 <= classification_figures(model, tokenizer, data)["unseen_colours"] < 50


def test_masked_regions_are_blank_outside_and_only_there():
    data = make_validation_set(scenes=1, crops=2, crops_per_pair=0, size=SIZE.image_size)
    blank = torch.nn.functional.max_pool2d(data.masks, 9, stride=1, padding=4) == 0  # far from any mask pixel
    assert blank.any()
    assert data.masked[blank.expand_as(data.masked)].abs().max() == 0
    assert data.masked[(data.masks > 0).expand_as(data.masked)].abs().mean() > 0.1
    assert len(data.masked) == len(data.masks) == len(data.masked_labels)
    assert data.unmasked.shape == (2, 3, SIZE.image_size, SIZE.image_size)
