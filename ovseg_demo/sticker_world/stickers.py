"""The drawings: an atlas in the package, and the command that rebuilds it from the emoji font.

Run ``python -m ovseg_demo.sticker_world.stickers --font NotoColorEmoji.ttf`` when the nouns' drawings change.
The atlas is derived from the font and stays under the font's licence, ``data/OFL.txt``.
"""

from __future__ import annotations

import argparse
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ovseg_demo.sticker_world.nouns import NOUNS

ATLAS = Path(__file__).parent / "data" / "stickers.webp"
CELL = 128
"""Height and width in pixels of one sticker's cell in the atlas."""

_COLUMNS = 16
_FONT_SIZE = 109  # the one size at which the font holds its bitmaps, 136×128 pixels each
_GLYPH_SIZE = (136, 128)


def drawings() -> tuple[int, ...]:
    """Return the code points of all drawings in the order of their cells in the atlas."""
    return tuple(code for noun in NOUNS for code in noun.drawings)


@cache
def load_sticker(code: int, octave: int = 0) -> np.ndarray:
    """Return a drawing as read-only uint8 RGBA with premultiplied alpha, trimmed to its visible pixels.

    Args:
        code: code point of the drawing.
        octave: number of halvings of its size (0, 1 or 2), for small copies without aliasing.
    """
    if octave:
        larger = load_sticker(code, octave - 1)
        height, width = larger.shape[:2]
        sticker = cv2.resize(larger, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    else:
        row, column = divmod(drawings().index(code), _COLUMNS)
        cell = _load_atlas()[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        x, y, width, height = cv2.boundingRect((cell[..., 3] > 8).astype(np.uint8))
        sticker = _premultiply(cell[y : y + height, x : x + width])
    sticker.flags.writeable = False
    return sticker


@cache
def sticker_aspect(code: int) -> float:
    """Return the ratio of a drawing's width to its height before any turning."""
    height, width = load_sticker(code).shape[:2]
    return width / height


@lru_cache(maxsize=1)
def _load_atlas() -> np.ndarray:
    if not ATLAS.is_file():
        raise FileNotFoundError(f"The sticker atlas {ATLAS} is missing; install the package again.")
    with Image.open(ATLAS) as image:
        return np.asarray(image.convert("RGBA"))


def _premultiply(rgba: np.ndarray) -> np.ndarray:
    premultiplied = rgba.copy()
    premultiplied[..., :3] = (rgba[..., :3].astype(np.uint16) * rgba[..., 3:] + 127) // 255
    return premultiplied


def build_atlas(font_file: Path) -> Image.Image:
    """Render all drawings from the emoji font into one RGBA image.

    Raises:
        ValueError: the font cannot be read or lacks a drawing.
    """
    try:
        font = ImageFont.truetype(font_file, _FONT_SIZE)
    except OSError as error:
        raise ValueError(f'"{font_file}" is no font with bitmaps of size {_FONT_SIZE} ({error}).') from error
    codes = drawings()
    rows = -(-len(codes) // _COLUMNS)
    atlas = Image.new("RGBA", (_COLUMNS * CELL, rows * CELL))
    for index, code in enumerate(codes):
        row, column = divmod(index, _COLUMNS)
        atlas.paste(_render_glyph(font, code), (column * CELL, row * CELL))
    return atlas


def _render_glyph(font: ImageFont.FreeTypeFont, code: int) -> Image.Image:
    glyph = Image.new("RGBA", _GLYPH_SIZE)
    ImageDraw.Draw(glyph).text((0, 0), chr(code), font=font, embedded_color=True)
    box = glyph.getbbox()
    if box is None:
        raise ValueError(f"The font has no drawing for U+{code:X}; use NotoColorEmoji.ttf.")
    glyph = glyph.crop(box)
    glyph.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    return glyph


def main(arguments: list[str] | None = None) -> None:
    """Rebuild the atlas: the command line of this module."""
    parser = argparse.ArgumentParser(description="Rebuild Sticker World's atlas from the emoji font.")
    parser.add_argument("--font", type=Path, required=True, help="NotoColorEmoji.ttf")
    parser.add_argument(
        "--output", type=Path, default=ATLAS, help="where the atlas goes (default: the package)"
    )
    options = parser.parse_args(arguments)
    try:
        atlas = build_atlas(options.font)
    except ValueError as error:
        parser.error(str(error))
    atlas.save(options.output, lossless=True, quality=100, method=6)
    print(f"{len(drawings())} drawings, {options.output.stat().st_size / 1e6:.1f} MB in {options.output}")


if __name__ == "__main__":
    main()
