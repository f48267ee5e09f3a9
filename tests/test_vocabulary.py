"""Class names as users type them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.vocabulary import (
    LEARNED,
    MAX_CLASSES,
    MAX_NAME_LENGTH,
    MAX_NAMES,
    OTHERS,
    TEMPLATES,
    TOO_MANY_TOKENS,
    UNKNOWN,
    ClassName,
    Vocabulary,
    check_templates,
    describe_ignored,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Oculus, Ukulele", ("Oculus", "Ukulele")),
        ("a;b\nc\r\nd", ("a", "b", "c", "d")),
        ("，a、b；c", ("a", "b", "c")),
        ("  saturn   v ,\ttoys\t", ("saturn v", "toys")),
        ("a,,b, ,;\n,", ("a", "b")),
        ("\"a\", 'b', “c”, «d», `e`", ("a", "b", "c", "d", "e")),
        ("\"a, b'", ("a", "b")),
        ("men's shoes, rock 'n' roll", ("men's shoes", "rock 'n' roll")),
        ("Dog, dog, DOG, cat", ("Dog", "cat")),
        ("caf\u00e9, cafe\u0301, tea", ("caf\u00e9", "tea")),
        (
            "a\x00b, \x1b[31mred, zero\u200bwidth, \u202eevil, \ud800x",
            ("ab", "[31mred", "zerowidth", "evil", "x"),
        ),
        (["saturn v", " toys ", "", "road, route"], ("saturn v", "toys", "road, route")),
    ],
)
def test_names_are_read_forgivingly(text, expected):
    assert Vocabulary.parse(text).class_names == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cup / mug, dog", [("cup", "mug"), ("dog",)]),
        ("cup/mug/beaker, dog", [("cup", "mug", "beaker"), ("dog",)]),
        ('"cup" / "mug", /, / dog /', [("cup", "mug"), ("dog",)]),
        ("cup / Cup / CUP, dog", [("cup",), ("dog",)]),
        ("cup / mug, Mug, dog", [("cup", "mug"), ("dog",)]),
        ("cup, dog, cup / mug", [("cup", "mug"), ("dog",)]),
        ("cup / mug, mug / beaker, dog", [("cup", "mug", "beaker"), ("dog",)]),
        ("mug, cup / mug", [("mug",), ("cup",)]),
    ],
)
def test_slashes_join_synonyms_and_every_name_counts_once(text, expected):
    assert [entry.names for entry in Vocabulary.parse(text).classes] == expected


def test_all_names_come_class_by_class_and_distractors_last():
    vocabulary = Vocabulary.parse("cup / mug, dog", distractors="sky; wall")
    assert vocabulary.all_names == ("cup", "mug", "dog", "sky", "wall")


def test_distractors_that_are_classes_or_repeated_are_dropped():
    vocabulary = Vocabulary.parse("cup / mug, dog", distractors="sky, MUG, Sky / wall, dog")
    assert vocabulary.distractors == ("sky", "wall")


@pytest.mark.parametrize(
    ("text", "distractors", "expected"),
    [
        ("dog", "", (OTHERS,)),
        ("dog / hound", "", (OTHERS,)),
        ("dog", "Dog, ", (OTHERS,)),
        ("dog", "cat", ("cat",)),
        ("dog, cat", "", ()),
        ("Others", "", ()),
    ],
)
def test_a_single_class_gets_a_hidden_rival(text, distractors, expected):
    vocabulary = Vocabulary.parse(text, distractors=distractors)
    assert vocabulary.distractors == expected


@pytest.mark.parametrize("text", ["", " ,\n; ", "''", "/ /", [], ["", " "], "\u200b"])
def test_no_name_at_all_is_refused_with_an_example(text):
    with pytest.raises(VocabularyError, match="No class name was given; type at least one"):
        Vocabulary.parse(text)


def test_limits_are_inclusive():
    assert len(Vocabulary.parse([f"class {i}" for i in range(MAX_CLASSES)]).classes) == MAX_CLASSES
    assert Vocabulary.parse("x" * MAX_NAME_LENGTH + ",y").class_names[0] == "x" * MAX_NAME_LENGTH


def test_one_class_too_many_is_refused_with_both_numbers():
    with pytest.raises(VocabularyError, match="1,001 classes were given; use at most 1,000"):
        Vocabulary.parse(",".join(f"class {i}" for i in range(MAX_CLASSES + 1)))


def test_duplicates_do_not_count_towards_the_limit():
    assert len(Vocabulary.parse("dog, cat," * MAX_CLASSES).classes) == 2


@pytest.mark.parametrize("where", ["class", "synonym", "distractor"])
def test_a_name_too_long_is_left_out_and_the_others_stay(where):
    name = "very long " * 10 + "x"
    texts = {"class": (f"{name}, a", "b"), "synonym": (f"a / {name}", "b"), "distractor": ("a", f"{name}, b")}
    vocabulary = Vocabulary.parse(texts[where][0], distractors=texts[where][1])
    assert vocabulary == Vocabulary.parse("a", distractors="b")
    assert vocabulary.ignored == ((name, "longer than 100 characters"),)
    assert describe_ignored(vocabulary.ignored).startswith('Left out: "very long very long')


def test_where_no_name_can_be_used_the_reasons_are_given():
    with pytest.raises(
        VocabularyError, match=r'can be used. Left out: "x{40}…" \(longer.*, "!\?" \(no letter'
    ):
        Vocabulary.parse("x" * 101 + ", !?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat | dog|frog", ("cat", "dog", "frog")),
        ("cat . dog . frog .", ("cat", "dog", "frog")),
        ("cat. dog. frog.", ("cat", "dog", "frog")),
        ("st. bernard, mt. everest, U.S. flag, John F. Kennedy", None),
        ("v1.5 engine, .net logo", ("v1.5 engine", ".net logo")),
        ("ｆｒｏｇ，ｍｕｇ／ｃｕｐ｜ｓｋｙ", ("frog", "mug", "sky")),
        ("frog, \u200b, \u3164, \ufe0f, \u2800, \u115f", ("frog",)),
        ("fr\u200bog, m\u034fug", ("frog", "mug")),
        ("frog, ---, ?, …, mug", ("frog", "mug")),
        ("C++, 4 + 4, ♥", ("C++", "4 + 4", "♥")),
    ],
)
def test_names_as_people_separate_them(text, expected):
    wanted = tuple(text.split(", ")) if expected is None else expected
    assert Vocabulary.parse(text).class_names == wanted


def test_punctuation_is_no_name_and_is_listed():
    assert Vocabulary.parse("frog, ---, mug").ignored == (("---", "no letter, number or symbol in it"),)


def test_names_that_a_model_cannot_use_are_left_out_of_typed_vocabularies_only():
    obstacles = {"狗": UNKNOWN, "杯": UNKNOWN, "天": TOO_MANY_TOKENS, "others": UNKNOWN}
    vocabulary = Vocabulary.parse("狗, mug / 杯, frog", distractors="天, wall, others").without(obstacles)
    assert vocabulary == Vocabulary.parse("mug, frog", distractors="wall, others")
    assert vocabulary.ignored == (("狗", UNKNOWN), ("杯", UNKNOWN), ("天", TOO_MANY_TOKENS))
    assert Vocabulary.parse("狗, frog").without(obstacles) == Vocabulary.parse("frog"), (
        "one class has a rival"
    )
    benchmark = Vocabulary((ClassName("狗"), ClassName("frog")))
    assert benchmark.without(obstacles) is benchmark, "its classes are referred to by index"
    with pytest.raises(
        VocabularyError, match=r'Left out: "狗" \(unknown to this model\)\. Type plain English names'
    ):
        Vocabulary.parse("狗").without(obstacles)


def test_a_long_list_of_ignored_names_is_shortened():
    sentence = describe_ignored([(f"name {i}", "unknown") for i in range(1000)])
    assert sentence.endswith("995 more.")
    assert describe_ignored(()) == ""


def test_synonyms_and_distractors_together_are_limited():
    with pytest.raises(VocabularyError, match="5,001 names were given"):
        Vocabulary.parse("a / b", distractors=[f"thing {i}" for i in range(MAX_NAMES - 1)])


def test_unknown_templates_are_refused_with_the_choice():
    with pytest.raises(
        ModelError, match='no prompt templates "vlid"; choose one of vild, photo, imagenet, learned'
    ):
        check_templates("vlid")
    for known in (*TEMPLATES, LEARNED):
        check_templates(known)


def test_templates_are_those_of_the_paper_and_of_the_demo():
    assert len(TEMPLATES["vild"]) == len(set(TEMPLATES["vild"])) == 14
    assert TEMPLATES["photo"] == ("a photo of {}",)
    assert all(template.count("{}") == 1 for templates in TEMPLATES.values() for template in templates)


def test_what_was_understood_can_be_echoed():
    assert Vocabulary.parse("Dog; dog,\n'cup'/mug,").describe() == "2 classes: Dog, cup / mug"
    assert Vocabulary.parse("dog").describe() == "1 class: dog; hidden distractors: others"


def test_equal_vocabularies_are_one_cache_key():
    assert len({Vocabulary.parse("dog, cat"), Vocabulary.parse(" dog ,cat,")}) == 1


def test_the_constructor_takes_benchmark_classes_as_they_are():
    vocabulary = Vocabulary((ClassName("door"), ClassName("double door", ("door",))))
    assert vocabulary.all_names == ("door", "double door", "door")


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_text_is_understood_or_refused_politely(text, distractors):
    try:
        vocabulary = Vocabulary.parse(text, distractors=distractors)
    except VocabularyError as error:
        assert not any(character.isalnum() for character in text) or "Left out" in str(error)
        return
    keys = [name.casefold() for name in vocabulary.all_names]
    assert len(keys) == len(set(keys))
    assert all(name == " ".join(name.split()) != "" for name in vocabulary.all_names)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in "".join(vocabulary.all_names))
    assert all(name.isprintable() or not name.isascii() for name in vocabulary.all_names)
    assert len(vocabulary.all_names) >= 2 or keys == [OTHERS]


@given(st.text(max_size=80), st.text(max_size=40))
def test_reading_the_echo_gives_the_same_vocabulary(text, distractors):
    try:
        vocabulary = Vocabulary.parse(text, distractors=distractors)
    except VocabularyError:
        return
    classes, _, hidden = vocabulary.describe().partition(": ")[2].partition("; hidden distractors: ")
    assert Vocabulary.parse(classes, distractors=hidden) == vocabulary
