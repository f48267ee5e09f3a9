"""Reads the texts of the page in one language."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Formatter
from types import MappingProxyType

from ovseg_demo.errors import OvsegError

FOLDER = Path(__file__).parent

DEFAULT_LANGUAGE = "en"
"""Its file says which keys and placeholders a language file has."""


@dataclass(frozen=True)
class Texts:
    """The texts of one language, by keys such as "viewer.cancel".

    Attributes:
        language: the name of its file without ".json".
        by_key: every text. A text may hold placeholders such as ``{count}``.
    """

    language: str
    by_key: Mapping[str, str] = field(hash=False, repr=False)

    def __getitem__(self, key: str) -> str:
        """Return the text of a key."""
        return self.by_key[key]

    def format(self, key: str, **values: object) -> str:
        """Return the text of a key with values in place of its placeholders."""
        return self.by_key[key].format(**values)

    def count(self, key: str, number: int) -> str:
        """Return a number with its noun, from the texts KEY_one and KEY_many."""
        return self.format(f"{key}_one" if number == 1 else f"{key}_many", count=f"{number:,}")


def known_languages(folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the languages that have a file in the folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.json")))


@cache
def load_texts(language: str = DEFAULT_LANGUAGE, folder: Path = FOLDER) -> Texts:
    """Return the texts of a language.

    Args:
        language: the name of a file in the folder, without ".json".
        folder: of the language files.

    Raises:
        OvsegError: there is no such language; its file is no JSON, or its keys or placeholders differ from
            those of ``en.json``.
    """
    known = known_languages(folder)
    if language not in known:
        raise OvsegError(f'There is no language "{language}" of the page; choose one of {", ".join(known)}.')
    path = folder / f"{language}.json"
    by_key = _read(path)
    _check(path, by_key, _read(FOLDER / f"{DEFAULT_LANGUAGE}.json"))
    return Texts(language, MappingProxyType(by_key))


def _read(path: Path) -> dict[str, str]:
    """Return the texts of a file; their keys are "group.key"."""
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
        texts = {f"{group}.{key}": text for group, entries in groups.items() for key, text in entries.items()}
    except (ValueError, AttributeError) as error:
        raise OvsegError(
            f'"{path}" is no language file ({error}); copy "en.json" and translate its texts.'
        ) from error
    for key, text in texts.items():
        if not isinstance(text, str):
            raise OvsegError(f'The text "{key}" in "{path}" is {text!r}; write it in quotation marks.')
    return texts


def _check(path: Path, texts: Mapping[str, str], expected: Mapping[str, str]) -> None:
    missing, unknown = expected.keys() - texts.keys(), texts.keys() - expected.keys()
    if missing or unknown:
        raise OvsegError(
            f'The keys of "{path}" differ from those of "en.json": missing {_listed(missing)}, '
            f"unknown {_listed(unknown)}; add the missing keys and remove the unknown ones."
        )
    for key, text in texts.items():
        if _placeholders(text) != _placeholders(expected[key]):
            raise OvsegError(
                f'The text "{key}" in "{path}" has other placeholders than in "en.json"; '
                f'use the braces of "{expected[key]}".'
            )


def _placeholders(text: str) -> set[tuple[str, ...]] | None:
    """Return the placeholders of a text; ``None`` if its braces cannot be read."""
    try:
        fields = {field[1:] for field in Formatter().parse(text) if field[1] is not None}
    except ValueError:
        return None
    return fields


def _listed(keys: set[str]) -> str:
    return ", ".join(sorted(keys)) or "none"
