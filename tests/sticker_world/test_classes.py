import hashlib
from collections import Counter

import pytest

from ovseg_demo.sticker_world import (
    BASE_CLASSES,
    BENCHMARK_SEEDS,
    CLASS_NAMES,
    COLOURS,
    NOUNS,
    NOVEL_CLASSES,
    STUFF,
    UNSEEN_PAIRS,
    colours_of,
)
from ovseg_demo.sticker_world.classes import find_noun, nouns_of


def test_the_world_is_as_large_as_promised():
    assert len(NOUNS) >= 200
    assert len(STUFF) >= 12
    assert len(COLOURS) >= 8
    assert len(UNSEEN_PAIRS) >= 40
    assert len(NOVEL_CLASSES) >= 50
    assert len(BASE_CLASSES) - len(STUFF) >= 150
    assert len(set(BENCHMARK_SEEDS)) == 200


def test_classes_are_all_nouns_then_all_stuff():
    assert tuple(noun.name for noun in NOUNS) + tuple(stuff.name for stuff in STUFF) == CLASS_NAMES
    assert sorted(CLASS_NAMES) == sorted(BASE_CLASSES + NOVEL_CLASSES)


def test_class_list_and_splits_are_those_of_the_shipped_weights():
    """Label maps, text targets and results refer to them: a change here means training everything again."""
    assert _digest(CLASS_NAMES) == "2944ffd8bfd74263"
    assert _digest(NOVEL_CLASSES) == "504ac26a27d50f55"
    assert _digest(sorted(f"{colour} {noun}" for colour, noun in UNSEEN_PAIRS)) == "8852d5254223e1ac"


def _digest(names):
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def test_every_name_and_synonym_means_one_class():
    counts = Counter(name.lower() for entry in (*NOUNS, *STUFF) for name in entry.names)
    assert [name for name, count in counts.items() if count > 1] == []


def test_names_do_not_start_with_a_colour():
    assert [name for noun in NOUNS for name in noun.names if name.split()[0] in COLOURS] == []


def test_novel_nouns_are_spread_over_the_categories():
    assert len({noun.category for noun in NOUNS if noun.novel}) == len({noun.category for noun in NOUNS})


def test_segmentation_knows_no_novel_noun():
    assert {noun.name for noun in nouns_of("segmentation")}.isdisjoint(NOVEL_CLASSES)
    assert nouns_of("pretraining") == nouns_of("validation") == NOUNS


@pytest.mark.parametrize("colour, name", sorted(UNSEEN_PAIRS))
def test_unseen_pairs_are_seen_only_in_validation_and_apart(colour, name):
    noun = find_noun(name, "validation", colour)
    assert colour not in colours_of(noun, "pretraining")
    assert len(colours_of(noun, "pretraining")) >= 5  # the noun is painted in training
    painted_so = [other for other in NOUNS if not other.novel and colour in colours_of(other, "segmentation")]
    assert len(painted_so) >= 50  # the colour is seen in training


@pytest.mark.parametrize(
    "name, split, colour, message",
    [
        ("lion", "segmentation", None, '"lion"'),
        ("unobtainium", "validation", None, '"unobtainium"'),
        ("car", "pretraining", "orange", "orange car"),
        ("zebra", "validation", "red", "none"),
        ("car", "holiday", None, '"holiday"'),
    ],
)
def test_what_a_split_does_not_hold_is_named(name, split, colour, message):
    with pytest.raises(ValueError, match=message):
        find_noun(name, split, colour)
