from types import SimpleNamespace

import numpy as np
import pytest

from ovseg_demo.evaluation.colours import CHOICES, colour_accuracy
from ovseg_demo.sticker_world import UNSEEN_PAIRS


class Stubborn:
    """Calls everything by one colour, and remembers what it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def classify(self, image, proposals, *, classifier):
        def segment(vocabulary, *, granularity):
            self.asked.append((image, vocabulary.class_names, proposals, classifier))
            return SimpleNamespace(probabilities=np.eye(len(CHOICES))[None, CHOICES.index(self.answer)])

        return SimpleNamespace(segment=segment)


@pytest.mark.parametrize("answer", ["red", "brown"])
def test_it_is_the_share_of_pairs_whose_colour_comes_first(answer):
    model = Stubborn(answer)
    share = 100 * np.mean([colour == answer for colour, _ in UNSEEN_PAIRS])
    assert colour_accuracy(model, "un-adapted", crops_per_pair=1) == pytest.approx(share, abs=0.5)


def test_each_pair_is_asked_in_all_eight_colours_of_its_noun():
    model = Stubborn("red")
    colour_accuracy(model, "un-adapted", crops_per_pair=2)
    assert len(CHOICES) == 8
    assert len(model.asked) == pytest.approx(2 * len(UNSEEN_PAIRS), abs=2)
    nouns = [names[0].removeprefix("red ") for _, names, *_ in model.asked]
    assert set(nouns) == {noun for _, noun in UNSEEN_PAIRS}
    for (image, names, proposals, classifier), noun in zip(model.asked, nouns, strict=True):
        assert names == tuple(f"{choice} {noun}" for choice in CHOICES)
        assert len(proposals) == 1
        assert proposals.working_size == image.shape[:2]
        assert classifier == "un-adapted"
