import re

import pytest

from ovseg_demo.errors import DatasetError
from ovseg_demo.sticker_world import CLASS_NAMES
from ovseg_demo.vocabularies.class_lists import (
    everyday_nouns,
    load_vocabulary,
    split_synonyms,
    suggestion_candidates,
)
from ovseg_demo.vocabulary import ClassName


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("ade20k-150", 150, "wall", "flag"),
        ("ade20k-847", 847, "wall", "adding machine"),
        ("pascal-context-59", 59, "aeroplane", "wood"),
        ("pascal-context-459", 459, "accordion", "wool"),
        ("pascal-voc-20", 20, "aeroplane", "tvmonitor"),
        ("coco-stuff-171", 171, "person", "wood"),
        ("sticker-world", 240, CLASS_NAMES[0], CLASS_NAMES[-1]),
    ],
)
def test_each_data_set_has_its_classes(name, count, first, last):
    names = load_vocabulary(name).class_names
    assert len(names) == count
    assert (names[0], names[-1]) == (first, last)
    assert all(name == name.strip() for name in names)


def test_sticker_worlds_list_is_that_of_its_scenes():
    assert load_vocabulary("sticker-world").class_names == CLASS_NAMES


def test_all_classes_of_a_data_set_differ_even_where_they_share_a_name():
    classes = load_vocabulary("ade20k-847").classes
    assert len(set(classes)) == 847
    assert ClassName("bag") in classes
    assert ClassName("bag", ("handbag", "pocketbook", "purse")) in classes


def test_synonyms_are_split_and_trimmed():
    assert split_synonyms("cpu, c p u , mainframe") == ClassName("cpu", ("c p u", "mainframe"))


def test_an_unknown_data_set_is_named_with_the_choices():
    with pytest.raises(DatasetError, match='no vocabulary "cityscapes"; choose one of ade20k-150'):
        load_vocabulary("cityscapes")


def test_everyday_nouns_are_single_names_each_once():
    nouns = everyday_nouns()
    assert 600 <= len(nouns) <= 1500
    assert len({noun.casefold() for noun in nouns}) == len(nouns)
    assert all(re.fullmatch(r"[a-z]+([ -][a-z]+){0,2}", noun) for noun in nouns)


def test_suggested_names_include_the_nouns_and_what_the_data_sets_add():
    names = [candidate.name for candidate in suggestion_candidates()]
    assert len(set(names)) == len(names)
    assert set(everyday_nouns()) < set(names)
    assert {"tv", "donut", "animal"} <= set(names)
    assert not {"wall-brick", "solid", "pottedplant", "trade name"} & set(names)


def test_a_closed_world_has_its_own_names_alone():
    candidates = suggestion_candidates("sticker-world")
    assert tuple(candidate.name for candidate in candidates) == load_vocabulary("sticker-world").class_names
    assert not any(candidate.prior for candidate in candidates)


def test_names_of_data_sets_are_likelier_than_others():
    priors = dict(suggestion_candidates())
    assert priors["person"] > priors["giraffe"] > priors["hedgehog"] == 0
