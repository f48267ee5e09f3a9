"""What travels to the browser: exact, small, and nothing but data."""

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ovseg_demo.proposals.types import Proposals
from ovseg_demo.ui.messages import chips_message, pack_labels, topmost_masks
from ovseg_demo.ui.uploads import DISPLAY_SIDE
from ovseg_demo.vocabulary import Vocabulary


def unpack(packed: dict) -> np.ndarray:
    values = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), f"<u{packed['bits'] // 8}")
    return values.reshape(packed["height"], packed["width"]).astype(np.int64) - 1


@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(-1, 1000)))
def test_labels_arrive_exactly(labels):
    np.testing.assert_array_equal(unpack(pack_labels(labels)), labels)


@pytest.mark.parametrize(("highest", "bits"), [(-1, 8), (0, 8), (254, 8), (255, 16), (999, 16)])
def test_few_labels_take_one_byte_each(highest, bits):
    packed = pack_labels(np.array([[-1, highest]], np.int32))
    assert packed["bits"] == bits
    assert unpack(packed)[0, 1] == highest


def test_large_maps_are_thinned_and_keep_their_labels():
    labels = np.arange(4, dtype=np.int32).repeat(DISPLAY_SIDE)[None].repeat(100, axis=0)
    packed = pack_labels(labels)
    assert (packed["width"], packed["height"]) == (DISPLAY_SIDE, 25)
    np.testing.assert_array_equal(unpack(packed)[0], np.arange(4).repeat(DISPLAY_SIDE // 4))


def test_small_masks_lie_above_large_ones():
    masks = np.zeros((3, 4, 6), bool)
    masks[0, 1:3, 1:3] = True
    masks[1] = True
    masks[1, 3] = False
    masks[2, 1, 1] = True
    proposals = Proposals.from_masks(masks, np.ones(3), np.zeros((4, 6, 3), np.uint8), (4, 6), "sam")
    topmost = topmost_masks(proposals)
    assert topmost[1, 1] == 2
    assert topmost[2, 2] == 0
    assert topmost[0, 5] == 1
    assert (topmost[3] == -1).all()


def test_chips_echo_what_was_understood():
    vocabulary = Vocabulary.parse("cup / mug; Dog,, dog", distractors="wall")
    message = chips_message(1, vocabulary)
    assert [(chip["name"], chip["synonyms"]) for chip in message["chips"]] == [("cup", ["mug"]), ("Dog", [])]
    assert message["hidden"] == ["wall"]
    assert {chip["isFound"] for chip in message["chips"]} == {None}
