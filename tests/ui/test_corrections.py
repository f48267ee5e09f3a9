"""Corrections of a visitor survive other names and can be undone; whatever the browser sends is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovseg_demo.classification.corrections import Correction
from ovseg_demo.errors import OvsegError
from ovseg_demo.ui.corrections import MOST_CORRECTIONS, REDO, UNDO, Change, Corrections
from ovseg_demo.ui.request import Request
from ovseg_demo.ui.session import Session
from ovseg_demo.ui.uploads import UploadedImage
from tests.ui.updates import analyze, found, labels

IMAGE = UploadedImage(1, "image.png", 320, 240, None, None)


def index_of(displayed, name):
    return next(entry["index"] for entry in displayed["classes"] if entry["name"] == name)


def test_an_area_is_renamed_and_stays_so_whatever_names_come(controller, image):
    session, newest = analyze(controller, image)
    x, y = 80, 100  # in the red house
    before = labels(newest["map"])
    is_house = before == before[y, x]
    displayed = controller.correct(session, {"kind": "name", "x": x, "y": y, "name": "barn"})["map"]
    assert "barn" in found(displayed) and "red" not in found(displayed)
    np.testing.assert_array_equal(labels(displayed) == index_of(displayed, "barn") + 1, is_house)
    assert displayed["corrections"]["count"] == 1 and displayed["corrections"]["canUndo"]

    displayed = controller.edit(session, Request(prompt="green, skyblue", granularity=0.3))["map"]
    assert "barn" in found(displayed)
    why = controller.explain(session, x, y)["why"]
    assert why["isCorrected"] and why["name"] == "barn"


def test_changes_are_undone_and_redone(controller, image):
    session, newest = analyze(controller, image)
    plain = labels(newest["map"])
    corrected = labels(controller.correct(session, {"kind": "name", "x": 80, "y": 100, "name": ""})["map"])
    assert corrected[100, 80] == 0
    displayed = controller.correct(session, {"kind": UNDO})["map"]
    np.testing.assert_array_equal(labels(displayed), plain)
    assert not displayed["corrections"]["canUndo"] and displayed["corrections"]["canRedo"]
    assert displayed["corrections"]["areas"] is None
    displayed = controller.correct(session, {"kind": REDO})["map"]
    np.testing.assert_array_equal(labels(displayed), corrected)


def test_another_image_begins_without_corrections(controller, image):
    session, _ = analyze(controller, image)
    controller.correct(session, {"kind": "name", "x": 80, "y": 100, "name": "barn"})
    assert session.corrections.current
    controller.clear(session)
    assert not session.corrections.current


def test_the_bytes_of_corrections_count(controller, image):
    session, _ = analyze(controller, image)
    before = sum(session.arrays().values())
    controller.correct(session, {"kind": "name", "x": 80, "y": 100, "name": "barn"})
    (correction,) = session.corrections.current
    assert sum(session.arrays().values()) == before + correction.nbytes


def test_without_a_map_there_is_nothing_to_correct(controller):
    with pytest.raises(OvsegError, match="no map to correct yet"):
        controller.correct(Session(), {"kind": "name", "x": 1, "y": 1, "name": "barn"})


def test_a_new_mask_needs_segment_anything(controller, image):
    session, newest = analyze(controller, image)
    assert not newest["map"]["corrections"]["canPoint"]
    with pytest.raises(OvsegError, match='generator "sam"'):
        controller.correct(session, {"kind": "mask", "mask": 1, "name": "barn", "inside": [[80, 100]]})


def correction(name="dog"):
    return Correction.of(np.ones((2, 3), dtype=bool), name)


def test_a_mask_with_another_point_replaces_itself_and_nothing_else():
    area, first, second, other = (correction(name) for name in ("area", "first", "second", "other"))
    corrections = Corrections()
    corrections.add(area)
    corrections.add(first, mask=1)
    assert corrections.current == (area, first), "the mask has no points before these"
    corrections.add(second, mask=1)
    assert corrections.current == (area, second)
    corrections.move(UNDO)
    corrections.move(UNDO)
    assert corrections.current == (area,)
    corrections.add(second, mask=1)
    assert corrections.current == (area, second) and not corrections.can_redo, "what was undone is not there"
    corrections.add(other, mask=2)
    assert corrections.current == (area, second, other)
    assert set(map(id, corrections.parts)) == {id(one) for one in (area, second, other)}


def test_corrections_are_bounded():
    corrections = Corrections()
    for _ in range(MOST_CORRECTIONS - 1):
        corrections.add(correction())
    corrections.add(correction(), mask=1)
    with pytest.raises(OvsegError, match="takes 100 corrections"):
        corrections.add(correction())
    for _ in range(2 * MOST_CORRECTIONS):
        corrections.add(correction(), mask=1)
    for _ in range(3 * MOST_CORRECTIONS):
        corrections.move(UNDO)
    assert len(corrections.parts) <= 2 * MOST_CORRECTIONS


def test_points_and_a_box_are_read():
    data = {"kind": "mask", "name": "cat", "inside": [[3, 4]], "outside": [[1.5, 2]], "box": [9, 8, 2, 1]}
    change = Change.read(data | {"mask": 3}, IMAGE)
    assert change.prompt.inside == ((3, 4),) and change.prompt.outside == ((1.5, 2),)
    assert change.prompt.box == (2, 1, 10, 9) and change.mask == 3


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["name", "x", "y", "inside", "outside", "box", "mask"]), anything),
    st.sampled_from(["name", "mask", "undo", "else", None]),
)
def test_whatever_the_browser_sends_is_read_or_refused(data, kind):
    try:
        change = Change.read({**data, "kind": kind}, IMAGE)
    except OvsegError:
        return
    if change.prompt is not None:
        for x, y in (*change.prompt.inside, *change.prompt.outside):
            assert 0 <= x < 320 and 0 <= y < 240
