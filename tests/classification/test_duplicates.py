"""Masks that make practically the same crop are embedded once; all others are embedded separately."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ovseg_demo.classification.duplicates import SAME_CROP, find_originals
from ovseg_demo.proposals.types import Proposals

SIZE = 240


def rectangle(y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def originals(*masks: np.ndarray) -> list[int]:
    image = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    return find_originals(
        Proposals.from_masks(masks, np.ones(len(masks)), image, (SIZE, SIZE), "sam")
    ).tolist()


def without(mask: np.ndarray, *hole: slice) -> np.ndarray:
    changed = mask.copy()
    changed[hole] = False
    return changed


SQUARE = rectangle(20, 20, 220, 220)  # 40,000 pixels: at most 400 may differ


def test_equal_masks_have_one_original():
    assert originals(SQUARE, rectangle(0, 0, 5, 5), SQUARE, SQUARE) == [0, 1, 0, 0]


def test_a_slightly_smaller_mask_is_a_copy_and_a_smaller_one_is_not():
    assert originals(SQUARE, rectangle(20, 20, 219, 220)) == [0, 0]
    assert originals(SQUARE, rectangle(20, 20, 217, 220)) == [0, 1]


def test_masks_that_share_their_box_alone_are_different():
    few, many = np.s_[40:60, 40:59], np.s_[40:60, 40:61]  # 380 and 420 pixels
    assert originals(SQUARE, without(SQUARE, *few)) == [0, 0]
    assert originals(SQUARE, without(SQUARE, *many)) == [0, 1]


def test_one_stray_pixel_far_away_makes_another_crop():
    stray = SQUARE.copy()
    stray[10, 50] = True
    assert originals(SQUARE, stray) == [0, 1]


def test_likeness_is_not_handed_on():
    masks = [rectangle(0, 0, bottom, 240) for bottom in (240, 238, 236)]
    assert originals(*masks) == [0, 0, 2]


def test_nothing_has_no_originals():
    image = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    none = Proposals.from_masks(np.zeros((0, SIZE, SIZE), dtype=bool), [], image, (SIZE, SIZE), "sam")
    assert find_originals(none).shape == (0,)


corners = st.tuples(*[st.integers(0, 2)] * 2, *[st.integers(198, 200)] * 2)


@given(st.lists(corners, min_size=1, max_size=8))
def test_every_copy_is_as_alike_as_promised_and_originals_are_not(boxes):
    masks = [rectangle(*box) for box in boxes]

    def iou(first: int, second: int) -> float:
        return (masks[first] & masks[second]).sum() / (masks[first] | masks[second]).sum()

    found = originals(*masks)
    for index, original in enumerate(found):
        assert found[original] == original <= index
        assert iou(original, index) >= SAME_CROP
        others = [earlier for earlier in range(index) if found[earlier] == earlier]
        assert original != index or all(iou(earlier, index) < SAME_CROP for earlier in others)
