"""Which font draws a class name, and what is drawn where no installed font can."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

DEFAULT_FONT = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
"""DejaVu Sans, from matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew, Georgian, Armenian and many signs."""

_OTHER_FAMILIES = (
    "Noto Sans",  # with the scripts' own families: Noto Sans CJK, Noto Sans Devanagari, …
    "Droid Sans Fallback",
    "WenQuanYi",
    "IPA",
    "Nanum",
    "Lohit",
    "Arial Unicode MS",
    "PingFang",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Nirmala UI",
    "Segoe UI",
    "Noto Emoji",
    "Symbola",
    "Unifont",
    "STIXGeneral",  # comes with matplotlib, too
)
_MISSING = "\N{WHITE SQUARE}"
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Lettering:
    """A text all of whose characters its font can draw.

    Attributes:
        text: the text; a square stands for each character that no installed font has.
        font: path of the font file to draw it with.
    """

    text: str
    font: str


def lettering(text: str, *, max_width: float | None = None, size: int = 16) -> Lettering:
    """Return the text as it can be drawn, and the font that draws most of it.

    Args:
        text: any text; control and formatting characters are dropped.
        max_width: if given, the text is cut to this many pixels and ends in "…".
        size: height of the letters in pixels, for ``max_width``.
    """
    clean = "".join(_visible(character) for character in text).strip()
    font = _best_font(clean)
    known = _characters(font)
    drawable = "".join(character if ord(character) in known else _MISSING for character in clean)
    if max_width is not None:
        drawable = _cut(drawable, pillow_font(font, size), max_width)
    return Lettering(drawable, font)


@lru_cache(maxsize=64)
def pillow_font(path: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font file at a size in pixels, for Pillow."""
    return ImageFont.truetype(path, size)


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    is_variation_selector = "\ufe00" <= character <= "\ufe0f"
    return "" if is_variation_selector or unicodedata.category(character) in ("Cc", "Cf", "Cs") else character


def _best_font(text: str) -> str:
    needed = {ord(character) for character in text} - _characters(DEFAULT_FONT)
    return _font_with(frozenset(needed)) if needed else DEFAULT_FONT


@lru_cache(maxsize=256)
def _font_with(needed: frozenset[int]) -> str:
    """Return the other installed font with most of these characters; the default one where none has any."""
    return max([DEFAULT_FONT, *_other_fonts()], key=lambda path: len(needed & _characters(path)))


@lru_cache(maxsize=1)
def _other_fonts() -> tuple[str, ...]:
    found = {}
    for entry in fontManager.ttflist:
        rank = next((rank for rank, name in enumerate(_OTHER_FAMILIES) if entry.name.startswith(name)), None)
        is_plain = entry.style == "normal" and entry.weight in (400, "normal", "regular", "book")
        if rank is not None and is_plain and Path(entry.fname).exists() and FT2Font(entry.fname).scalable:
            found[entry.fname] = (rank, entry.name, entry.fname)
    return tuple(sorted(found, key=found.__getitem__))


@lru_cache(maxsize=512)
def _characters(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())


def _cut(text: str, font: ImageFont.FreeTypeFont, max_width: float) -> str:
    if font.getlength(text) <= max_width:
        return text
    length = next(
        length
        for length in range(len(text) - 1, -1, -1)
        if font.getlength(text[:length] + _ELLIPSIS) <= max_width
    )
    return text[:length].rstrip() + _ELLIPSIS
