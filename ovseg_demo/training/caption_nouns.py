"""Noun phrases of English captions, by rules: "two red cars by a brick wall" gives red car, brick wall.

A caption is cut at function words and verbs, and the last words of each piece are a phrase.
docs/how-to/train.md gives the reason for rules instead of a tagger.

- A colour stays with its noun ("red car"), since a pair can teach both. Other adjectives are removed.
- A noun after a number or "several" becomes singular.
- "A cup of coffee" is one phrase, "a group of people" gives people, and "the top of a table" gives table.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import inflect


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COLOURS = _words("""
    red orange yellow green blue purple pink brown black white grey gray beige tan golden silver
    turquoise violet maroon
""")

_ARTICLES = _words("a an the this that these those his her its their my your our another each every")
_NUMBERS = _words("""
    two three four five six seven eight nine ten eleven twelve several many multiple few various
    numerous both
""")
_CUTS = _words("""
    one and or but with without in on at by near beside besides next to from into onto over under
    underneath above below behind before after between among around through across along against inside
    outside toward towards of for as while who whom whose which what where when than then there here it
    he she they them him i you we not no up down out off away together very so too all some any other
    others about during until upon within like is are was were be been being am has have had having do
    does did can could will would may might must should sits sit sat stands stand stood lies lie lays
    lay rides ride holds hold held walks walk runs run flies flew plays looks look wears wear eats eat
    drinks hangs hang hung shows shown swings throws throw drives carries carry goes go gets get takes
    take makes make made rests jumps jump sleeps poses leans cuts pulls reads talks waits uses seen worn
    driven ridden thrown taken seems appears contains features includes overlooks prepares enjoys hits
    left right
""")
_PLAIN_ADJECTIVES = _words("""
    small large big little tiny huge giant tall short long old new young older younger beautiful pretty
    nice cute lovely empty full dark bright clean dirty bare open closed wide narrow different same
    single whole main wet dry lone colorful colourful medium
""")
_ING_NOUNS = _words("""
    building ceiling string king ring wing painting clothing evening railing topping dressing awning
    swing spring sling pudding icing frosting lightning earring crossing parking
""")
_ED_NOUNS = _words("bed sled shed seed weed reed moped")
_SAME_IN_PLURAL = _words("sheep deer fish cattle dice scissors trousers jeans luggage")
_PLURALS_IN_IS_OR_US = _words("taxis skis kiwis chillis bikinis broccolis menus emus gnus cpus")
_SINGULAR_ENDINGS = ("is", "us", "ss")

_MEASURES = _words(
    "group bunch pair couple lot row pile number herd flock crowd set stack line variety kind type"
)
_PARTS = _words("top side front back middle edge end corner rest part bottom center centre view")
_CONTAINERS = _words("cup glass mug bottle bowl plate box loaf slice piece bag can jar pot basket vase sheet")
_FRAME = re.compile(
    r"^(?:there (?:is|are) |this is |here is )?(?:an? |the |some )?(?:blurry |black and white )*"
    r"(?:close-up|closeup|photo|photograph|picture|image|view|scene|shot) (?:of|with|showing) "
)
_TRAILER = re.compile(r"\b(?:in the (?:scene|picture|photo|image)|seen from close by)\b")
_WORD = re.compile(r"[a-z][a-z'’-]*|[^\sa-z]+")
_MOST_WORDS = 3


def find_nouns(caption: str) -> tuple[str, ...]:
    """Return the noun phrases of a caption in lower case, each once, in their order."""
    text = _TRAILER.sub(",", _FRAME.sub("", caption.lower().strip()))
    phrases = (_phrase(words, counted) for words, counted in _pieces(_WORD.findall(text)))
    return tuple(dict.fromkeys(phrase for phrase in phrases if phrase))


def singular(noun: str) -> str:
    """Return the singular of an English noun; a noun that is no plural stays.

    The library takes every final "s" for a plural's, so "bus", "tennis" and "glass" are excluded first.
    """
    if noun in _SAME_IN_PLURAL or (noun.endswith(_SINGULAR_ENDINGS) and noun not in _PLURALS_IN_IS_OR_US):
        return noun
    return _inflection().singular_noun(noun) or noun


@cache
def _inflection() -> inflect.engine:
    """Return the rules of English plurals, made on first use."""
    import inflect  # it checks its own types while it is imported: two seconds

    return inflect.engine()


def _pieces(words: list[str]) -> list[tuple[list[str], bool]]:
    """Return the runs of words between cuts, and whether a number precedes each."""
    pieces: list[tuple[list[str], bool]] = [([], False)]
    for word in words:
        piece = pieces[-1][0]
        head = singular(piece[-1]) if piece else ""
        if word == "of" and head in _MEASURES | _PARTS:
            pieces[-1] = ([word for word in piece if word in COLOURS], False)
        elif word == "of" and head in _CONTAINERS:
            piece.append(word)
        elif word in _NUMBERS:
            pieces.append(([], True))
        elif word in _ARTICLES and piece and piece[-1] == "of":
            continue
        elif word in _CUTS or word in _ARTICLES or not word[0].isalpha() or _ends(piece, word):
            pieces.append(([], False))
        else:
            piece.append(word)
    return pieces


def _phrase(words: list[str], counted: bool) -> str:
    """Return the phrase at the end of a piece; empty if there is none."""
    words = [word for word in words if word not in _PLAIN_ADJECTIVES]
    while words and (_is_verb(words[-1]) or words[-1] == "of"):
        words.pop()
    if not words or (all(word in COLOURS for word in words) and words != ["orange"]):
        return ""
    head = words.index("of") if "of" in words else len(words)
    if counted:
        words[head - 1] = singular(words[head - 1])
    first = max(0, head - _MOST_WORDS)
    return " ".join([*(word for word in words[:first] if word in COLOURS), *words[first:]])


def _ends(piece: list[str], word: str) -> bool:
    """Return whether a participle follows a noun ("man riding").

    Before a noun it is a modifier ("red racing car").
    """
    return _is_verb(word) and any(before not in COLOURS for before in piece)


def _is_verb(word: str) -> bool:
    """Return whether a word has the form of a participle."""
    by_ending = word.endswith("ing") and word not in _ING_NOUNS and len(word) > 4
    return by_ending or (word.endswith("ed") and word not in _ED_NOUNS and len(word) > 4)
