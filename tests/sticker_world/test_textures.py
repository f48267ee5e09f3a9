import numpy as np
import pytest

from ovseg_demo.sticker_world import STUFF
from ovseg_demo.sticker_world.painters import PAINTERS, TILE
from ovseg_demo.sticker_world.textures import cut_texture, load_tile


def test_every_stuff_class_has_a_painter():
    assert set(PAINTERS) == {stuff.name for stuff in STUFF}


@pytest.mark.parametrize("name", [stuff.name for stuff in STUFF])
def test_tiles_are_seamless_and_protected(name):
    tile = load_tile(name, 0).astype(int)
    assert tile.shape == (TILE, TILE, 3)
    for axis in (0, 1):
        steps = np.abs(np.diff(tile, axis=axis)).mean(axis=(1 - axis, 2))
        seam = np.abs(np.take(tile, 0, axis) - np.take(tile, -1, axis)).mean()
        assert seam <= steps.max() + 1
    with pytest.raises(ValueError):
        load_tile(name, 0)[0, 0] = 0


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 1.7])
@pytest.mark.parametrize("foreshortening", [1.0, 3.0])
def test_pieces_have_the_requested_size_and_differ(scale, foreshortening):
    rng = np.random.default_rng(0)
    first, second = (cut_texture("grass", (50, 30), scale, rng, foreshortening) for _ in range(2))
    assert first.shape == second.shape == (30, 50, 3) and first.dtype == np.uint8
    assert not np.array_equal(first, second)
    assert first[..., 1].mean() > first[..., 2].mean()  # grass is green
