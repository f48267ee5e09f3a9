import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ovseg_demo.training.pair_regions import vary_mask

SIZE = 64


@given(seed=st.integers(0, 10_000), height=st.integers(1, 50), width=st.integers(1, 50))
def test_worse_masks_show_the_region_or_what_is_around_it(seed, height, width):
    """The region is red, its surroundings blue, and what is outside the mask has no say."""
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[7 : 7 + height, 7 : 7 + width] = True
    masked = np.where(mask[..., None], np.uint8([200, 0, 0]), np.uint8([0, 0, 0]))
    around = np.full((SIZE, SIZE, 3), (0, 0, 200), dtype=np.uint8)
    region, varied = vary_mask(masked, around, mask, np.random.default_rng(seed))
    assert region.shape == masked.shape and varied.dtype == bool
    assert 2 * varied.sum() >= mask.sum()
    assert (region[varied & mask] == (200, 0, 0)).all()
    assert (region[varied & ~mask] == (0, 0, 200)).all()


def test_outlines_move_both_ways_and_sides_are_cut_off():
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[10:50, 10:50] = True
    image = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    rng = np.random.default_rng(0)
    sizes = [vary_mask(image, image, mask, rng)[1].sum() / mask.sum() for _ in range(200)]
    assert min(sizes) < 0.75 and max(sizes) > 1.3
