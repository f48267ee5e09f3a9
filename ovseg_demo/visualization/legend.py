"""The entries of a legend, and the legend as an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from ovseg_demo.visualization.fonts import Lettering, lettering, pillow_font
from ovseg_demo.visualization.palette import BLACK, WHITE, Color, class_colors

DPI = 300
"""Print resolution that image files with a legend carry."""

MAX_NOT_FOUND = 24
"""A legend names at most so many classes that were not found, and gives the number of the others."""

_SMALLEST_LETTERS = 13  # pixels
_LETTERS_PER_SIDE = 60  # letters are this fraction of the longer side high, where they can be
_GREY: Color = (102, 102, 102)


@dataclass(frozen=True)
class LegendEntry:
    """One class in a legend.

    Attributes:
        index: of the class in the label map.
        name: its name.
        color: RGB.
        area: pixels of the label map.
        share: of the image, from 0 to 1.
        score: from 0 to 1; the class's score where it was found, else the best that any mask got for it.
    """

    index: int
    name: str
    color: Color
    area: int
    share: float
    score: float

    @property
    def is_found(self) -> bool:
        """Whether the class has at least one pixel."""
        return self.area > 0


def legend_entries(
    class_names: Sequence[str],
    areas: Sequence[int],
    scores: Sequence[float],
    best_scores: Sequence[float],
    pixels: int,
) -> tuple[LegendEntry, ...]:
    """Return legend entries of all classes: those with pixels by area, then the others by their best score.

    Args:
        class_names: K names.
        areas: K numbers of pixels.
        scores: K scores in the label map; not read where the area is 0.
        best_scores: for each class, the highest score that any mask got.
        pixels: number of pixels of the whole image.
    """
    entries = []
    for index, color in enumerate(class_colors(class_names)):
        area = int(areas[index])
        score = float(scores[index] if area else best_scores[index])
        rgb = tuple(int(channel) for channel in color)
        entries.append(LegendEntry(index, class_names[index], rgb, area, area / pixels, score))
    return tuple(sorted(entries, key=lambda entry: (-entry.area, -entry.score, entry.index)))


def draw_legend(entries: Sequence[LegendEntry], width: int, height: int) -> tuple[np.ndarray, bool]:
    """Draw the legend of a map of ``width`` × ``height`` pixels, on white.

    Returns:
        uint8 RGB (h, w, 3), and whether it goes beside the map (then h is ``height``) or below it (then
        w ≥ ``width``).
    """
    lines = _lines(entries)
    layout = _lay_out(lines, width, height)
    size = (layout.width, height) if layout.is_beside else (max(width, layout.width), layout.height)
    canvas = Image.new("RGB", size, WHITE)
    draw = ImageDraw.Draw(canvas)
    for column in range(layout.columns):
        left = layout.margin + column * layout.column_width
        of_column = lines[column * layout.rows : (column + 1) * layout.rows]
        for row, line in enumerate([_HEADER, *of_column]):
            _draw_line(draw, line, layout, left, layout.margin + (row + 0.5) * layout.line_height)
    return np.array(canvas), layout.is_beside


@dataclass(frozen=True)
class _Line:
    """One line of a legend: a swatch and three texts."""

    name: str
    share: str = ""
    score: str = ""
    color: Color | None = None
    is_found: bool = False


_HEADER = _Line("", "share", "score")


@dataclass(frozen=True)
class _Layout:
    """The dimensions of a legend in pixels. Each column has a header and ``rows`` lines."""

    letters: int
    name_width: int
    is_beside: bool
    rows: int
    columns: int

    @property
    def line_height(self) -> int:
        return round(1.6 * self.letters)

    @property
    def margin(self) -> int:
        return 2 * self.letters

    @property
    def name_left(self) -> int:
        return round(1.7 * self.letters)

    @property
    def share_right(self) -> int:
        return self.name_left + self.name_width + 6 * self.letters

    @property
    def score_right(self) -> int:
        return self.share_right + 4 * self.letters

    @property
    def column_width(self) -> int:
        return self.score_right + 2 * self.letters

    @property
    def width(self) -> int:
        return self.margin + self.columns * self.column_width

    @property
    def height(self) -> int:
        return 2 * self.margin + (self.rows + 1) * self.line_height


def _lines(entries: Sequence[LegendEntry]) -> list[_Line]:
    found = [entry for entry in entries if entry.is_found]
    missing = [entry for entry in entries if not entry.is_found]
    lines = [
        _Line(entry.name, _percent(entry.share), f"{entry.score:.2f}", entry.color, True) for entry in found
    ]
    lines += [
        _Line(entry.name, "not found", f"{entry.score:.2f}", entry.color) for entry in missing[:MAX_NOT_FOUND]
    ]
    if len(missing) > MAX_NOT_FOUND:
        lines.append(_Line(f"{len(missing) - MAX_NOT_FOUND:,} more not found"))
    return lines


def _percent(share: float) -> str:
    return "< 0.1 %" if share < 0.0005 else f"{100 * share:.1f} %"


def _lay_out(lines: Sequence[_Line], width: int, height: int) -> _Layout:
    """Choose a place beside the map, or below it where that is too wide, and the largest letters that fit."""
    letters = max(_SMALLEST_LETTERS, max(width, height) // _LETTERS_PER_SIDE)
    while True:
        layout = _beside(lines, letters, height)
        if layout.width <= 0.6 * max(width, height) and layout.height <= height:
            return layout
        layout = _below(lines, letters, width)
        if layout.height <= 0.8 * height or letters == _SMALLEST_LETTERS:
            return layout
        letters = max(_SMALLEST_LETTERS, int(0.85 * letters))


def _beside(lines: Sequence[_Line], letters: int, height: int) -> _Layout:
    one = _Layout(letters, _name_width(lines, letters), True, rows=1, columns=1)
    rows = max(1, (height - 2 * one.margin) // one.line_height - 1)
    return _Layout(letters, one.name_width, True, rows, math.ceil(len(lines) / rows))


def _below(lines: Sequence[_Line], letters: int, width: int) -> _Layout:
    one = _Layout(letters, _name_width(lines, letters), False, rows=1, columns=1)
    columns = max(1, (width - one.margin) // one.column_width)
    return _Layout(letters, one.name_width, False, math.ceil(len(lines) / columns), columns)


def _name_width(lines: Sequence[_Line], letters: int) -> int:
    widths = []
    for line in lines:
        text = _name(line, letters)
        widths.append(pillow_font(text.font, letters).getlength(text.text))
    return math.ceil(max(widths, default=0))


def _name(line: _Line, letters: int) -> Lettering:
    return lettering(line.name, max_width=18 * letters, size=letters)


def _draw_line(draw: ImageDraw.ImageDraw, line: _Line, layout: _Layout, left: int, middle: float) -> None:
    """Draw one line: its column starts at x = ``left``, and its middle is at y = ``middle``."""
    if line.color is not None:
        side = round(1.2 * layout.letters)
        top = round(middle - side / 2)
        draw.rectangle(
            (left, top, left + side - 1, top + side - 1),
            fill=line.color if line.is_found else WHITE,
            outline=line.color,
            width=max(1, round(0.12 * layout.letters)),
        )
    ink = BLACK if line.is_found else _GREY
    _write(draw, _name(line, layout.letters), layout, left + layout.name_left, middle, "l", ink)
    _write(draw, lettering(line.share), layout, left + layout.share_right, middle, "r", _GREY)
    _write(draw, lettering(line.score), layout, left + layout.score_right, middle, "r", ink)


def _write(
    draw: ImageDraw.ImageDraw,
    text: Lettering,
    layout: _Layout,
    x: float,
    middle: float,
    alignment: str,
    color: Color,
) -> None:
    """Write a text to the right ("l") or to the left ("r") of ``x``."""
    base_line = round(middle + 0.35 * layout.letters)
    font = pillow_font(text.font, layout.letters)
    draw.text((x, base_line), text.text, color, font, anchor=f"{alignment}s")
