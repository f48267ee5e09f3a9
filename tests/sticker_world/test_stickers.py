from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ovseg_demo.sticker_world import COLOURS, NOUNS
from ovseg_demo.sticker_world.colours import PAINTS, paint_sticker
from ovseg_demo.sticker_world.drawing import draw_sticker
from ovseg_demo.sticker_world.stickers import ATLAS, CELL, build_atlas, drawings, load_sticker

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")


def test_the_atlas_has_one_drawing_for_each_of_the_nouns_drawings():
    codes = drawings()
    assert len(set(codes)) == len(codes) == sum(len(noun.drawings) for noun in NOUNS)
    with Image.open(ATLAS) as image:
        alpha = np.asarray(image)[..., 3]
    assert alpha.shape[0] % CELL == alpha.shape[1] % CELL == 0
    cells = alpha.reshape(alpha.shape[0] // CELL, CELL, alpha.shape[1] // CELL, CELL)
    filled = cells.any(axis=(1, 3)).ravel()
    assert filled[: len(codes)].all() and not filled[len(codes) :].any()


def test_the_atlas_is_small_and_carries_its_licence():
    assert ATLAS.stat().st_size < 3_000_000
    licence = (ATLAS.parent / "OFL.txt").read_text()
    assert "SIL OPEN FONT LICENSE Version 1.1" in licence and "Noto" in licence and "Copyright" in licence


@pytest.mark.skipif(
    not FONT.is_file(), reason="the emoji font (fonts-noto-color-emoji) is not installed here"
)
def test_the_atlas_is_what_the_font_draws():
    with Image.open(ATLAS) as image:
        kept = np.asarray(image)
    built = np.asarray(build_atlas(FONT))
    assert built.shape == kept.shape
    visible = built[..., 3] > 0
    assert np.array_equal(visible, kept[..., 3] > 0)
    assert (
        np.abs(built[visible].astype(int) - kept[visible]).mean() < 2
    )  # FreeType's scaling may change slightly


def test_what_is_no_font_is_named(tmp_path):
    file = tmp_path / "no.ttf"
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no\.ttf"):
        build_atlas(file)


def test_stickers_are_premultiplied_trimmed_and_protected():
    sticker = load_sticker(NOUNS[0].drawings[0])
    assert (sticker[..., :3] <= sticker[..., 3:]).all()
    alpha = sticker[..., 3]
    assert alpha[0].any() and alpha[-1].any() and alpha[:, 0].any() and alpha[:, -1].any()
    with pytest.raises(ValueError):
        sticker[0, 0] = 0


@pytest.mark.parametrize("colour", COLOURS)
def test_painted_things_have_their_colour(colour):
    """The median colour of what is painted is nearest to its own paint, for nearly all nouns."""
    rng = np.random.default_rng(0)
    paints = np.array([PAINTS[name] for name in COLOURS], dtype=float)
    right = []
    for noun in (noun for noun in NOUNS if noun.colourable):
        before = load_sticker(noun.drawings[0], 1).astype(int)
        after = paint_sticker(noun.drawings[0], 1, colour, rng).astype(int)
        painted = (before[..., 3] > 250) & (np.abs(after - before).max(axis=2) > 8)
        if painted.sum() < 50:
            continue  # it had that colour already
        middle = np.median(after[painted][:, :3], axis=0)
        right.append(COLOURS[np.linalg.norm(paints - middle, axis=1).argmin()] == colour)
    assert len(right) > 150
    assert np.mean(right) > 0.9


def test_every_copy_is_another_image():
    rng = np.random.default_rng(0)
    noun = NOUNS[0]
    copies = [draw_sticker(noun, noun.drawings[0], 60, None, rng) for _ in range(20)]
    assert len({copy.tobytes() for copy in copies}) == 20
    for copy in copies:
        assert copy.shape[2] == 4 and copy.dtype == np.uint8
        assert (copy[..., :3] <= copy[..., 3:]).all()
        height, width = copy.shape[:2]
        assert 40 < (height * width) ** 0.5 < 90


@pytest.mark.parametrize("size", [3, 10, 300])
def test_any_size_can_be_drawn(size):
    rng = np.random.default_rng(0)
    for noun in NOUNS[::20]:
        assert draw_sticker(noun, noun.drawings[0], size, None, rng)[..., 3].max() > 64
