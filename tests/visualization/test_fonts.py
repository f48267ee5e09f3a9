"""The font for any name, and what is drawn where no font has a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.ft2font import FT2Font

from ovseg_demo.visualization.fonts import DEFAULT_FONT, lettering, pillow_font


@pytest.mark.parametrize("text", ["cat", "Ящик", "čaj", "ἄλφα", "100 % & <b>", "$x_1$", "5 × 3 – ok"])
def test_common_letters_are_drawn_as_they_are(text):
    assert lettering(text).text == text
    assert lettering(text).font == DEFAULT_FONT


def test_letters_that_the_default_font_lacks_are_found_in_another():
    """Matplotlib ships the STIX fonts, which have signs that DejaVu lacks."""
    sign = "\N{BLACK VERY SMALL SQUARE}"
    assert ord(sign) not in FT2Font(DEFAULT_FONT).get_charmap()
    chosen = lettering(sign)
    assert chosen.text == sign
    assert ord(sign) in FT2Font(chosen.font).get_charmap()


@given(st.text(max_size=30))
def test_every_character_of_the_result_is_in_the_font(text):
    chosen = lettering(text)
    assert {ord(character) for character in chosen.text} <= set(FT2Font(chosen.font).get_charmap())


def test_unknown_characters_become_squares_and_invisible_ones_vanish():
    assert lettering("a\U0010fffdb").text == "a□b"
    assert lettering("a\u200d\ufe0fb\ud800").text == "ab"
    assert lettering(" a\n\tb ").text == "a  b"
    assert lettering("").text == ""


@given(st.text(min_size=1, max_size=200), st.integers(20, 300))
def test_texts_are_cut_to_a_width(text, width):
    chosen = lettering(text, max_width=width, size=16)
    assert pillow_font(chosen.font, 16).getlength(chosen.text) <= width


def test_a_cut_text_says_so():
    assert lettering("a desk of wood", max_width=60, size=16).text.endswith("…")
    assert lettering("desk", max_width=60, size=16).text == "desk"
