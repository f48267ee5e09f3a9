"""Class names and settings: from controls, links and browsers, none of which is trusted."""

from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovseg_demo.errors import ModelError, VocabularyError
from ovseg_demo.segmenter import CLASSIFIERS
from ovseg_demo.ui.request import (
    DISTRACTORS,
    GRIDS,
    MAX_CHARACTERS,
    TEMPLATE_CHOICES,
    Request,
    write_min_scores,
)

REQUESTS = st.builds(
    Request,
    prompt=st.text(max_size=60),
    generator=st.sampled_from(["", "sam", "maskformer"]),
    granularity=st.floats(0, 1),
    model=st.text(max_size=20),
    classifier=st.sampled_from(CLASSIFIERS),
    distractors=st.sampled_from(DISTRACTORS),
    own_distractors=st.text(max_size=60),
    templates=st.sampled_from(TEMPLATE_CHOICES),
    points_per_side=st.sampled_from([0, *GRIDS]),
    min_scores=st.builds(
        write_min_scores, st.dictionaries(st.text(max_size=20), st.floats(0, 1), max_size=4)
    ),
)


@given(REQUESTS)
def test_a_link_restores_every_request(request_):
    query = request_.link().removeprefix("?")
    assert Request.restore(dict(parse_qsl(query, keep_blank_values=True))) == request_


@given(REQUESTS)
def test_what_a_browser_saved_restores_every_request(request_):
    assert Request.restore(request_.save()) == request_


def test_a_link_is_short():
    assert Request(prompt="dog, red bench").link() == "?prompt=dog%2C+red+bench"


def test_a_link_that_no_server_would_take_is_not_made():
    many = ", ".join(f"a class with a long name {number}" for number in range(200))
    assert Request(prompt=many).link() is None
    scores = write_min_scores({f"a class with a long name {number}": 0.25 for number in range(100)})
    assert Request(prompt="dog", min_scores=scores).link() is None


def test_a_link_without_names_erases_those_that_the_browser_remembers():
    assert Request(model="photo-mini").link("Cat") == "?example=Cat&prompt=&model=photo-mini"


def test_links_of_earlier_versions_still_work():
    old = {"words": "dog, cat", "distractors": "own", "own": "grass"}
    assert Request.restore(old) == Request(prompt="dog, cat", distractors="own", own_distractors="grass")


@given(
    st.dictionaries(
        st.sampled_from([*Request.__dataclass_fields__, "other"]), st.text() | st.none() | st.lists(st.text())
    )
)
def test_strange_settings_fall_back_to_the_defaults(saved):
    Request.restore(saved).check()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"generator": "magic"}, ModelError),
        ({"classifier": "magic"}, ModelError),
        ({"distractors": "magic"}, ModelError),
        ({"templates": "magic"}, ModelError),
        ({"granularity": 1.1}, ModelError),
        ({"points_per_side": 20}, ModelError),
        ({"min_scores": "cat"}, ModelError),
        ({"min_scores": "[1]"}, ModelError),
        ({"min_scores": '{"cat": 1.1}'}, ModelError),
        ({"min_scores": '{"cat": NaN}'}, ModelError),
        ({"min_scores": '{"cat": true}'}, ModelError),
        ({"min_scores": "[" * 10_000}, ModelError),
        ({"min_scores": write_min_scores({"a": 0.5}) + " " * MAX_CHARACTERS}, ModelError),
        ({"granularity": float("nan")}, ModelError),
        ({"prompt": "x" * (MAX_CHARACTERS + 1)}, VocabularyError),
        ({"own_distractors": "x" * (MAX_CHARACTERS + 1)}, VocabularyError),
    ],
)
def test_what_the_browser_sends_is_checked(changes, error):
    with pytest.raises(error):
        Request(**changes).check()


def test_limits_count_what_was_typed_and_not_coco_stuff():
    request = Request(prompt="a, b / c", distractors="own", own_distractors="d, e")
    assert len(request.vocabulary(max_names=5).all_names) == 5
    with pytest.raises(VocabularyError, match="use at most 4 here"):
        request.vocabulary(max_names=4)
    assert len(Request(prompt="a, b", distractors="coco-stuff").vocabulary(2).all_names) == 173


def test_others_compete_unless_the_visitor_wants_none_or_names_them():
    assert Request(prompt="moon, star").vocabulary(300).distractors == ("others",)
    assert Request(prompt="moon, star", distractors="none").vocabulary(300).distractors == ()
    assert Request(prompt="moon, others").vocabulary(300).distractors == ()


def test_distractors_read_as_names():
    hidden = Request(prompt="moon", distractors="coco-stuff").vocabulary(300).distractors
    assert "building" in hidden
    assert not [name for name in hidden if name.endswith(("-other", "-stuff"))]


def test_only_separators_are_no_names():
    assert not Request(prompt=" ,; / \n").has_names
    assert Request(prompt=" ,a").has_names


def test_a_class_has_its_own_least_score_or_that_of_the_map():
    request = Request(prompt="cat, dog", min_score=0.1, min_scores=write_min_scores({"Cat": 0.4, "bus": 0.9}))
    assert request.least_scores(request.vocabulary(300)) == {"cat": 0.4, "dog": 0.1}
    others = replace(request, prompt="dog, tree")
    assert others.least_scores(others.vocabulary(300)) == 0.1


@pytest.mark.parametrize("scores", [7, ["cat"], {"cat": "high"}, {str(n): 0.1 for n in range(301)}])
def test_scores_that_the_browser_made_up_are_refused(scores):
    with pytest.raises(ModelError, match="least score"):
        write_min_scores(scores)
