"""The page's own files: scripts, styles and drawings. Their texts come from a language file.

A placeholder ``{{group.key}}`` stands for a text. In a script it is a whole string, ``"{{group.key}}"``.
"""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path

from ovseg_demo.ui.language.texts import Texts, load_texts

ASSETS = Path(__file__).with_name("assets")

_IN_HTML = re.compile(r"\{\{([\w.]+)\}\}")
_IN_SCRIPT = re.compile(r'"\{\{([\w.]+)\}\}"')
_ALLOWED_TAG = re.compile(r"&lt;(/?(?:b|em|code))&gt;")


def read_assets(*names: str, texts: Texts | None = None) -> str:
    """Return the contents of some assets, joined, with their placeholders filled.

    Args:
        names: of files in the folder of assets.
        texts: by default in English.
    """
    texts = texts or load_texts()
    return "\n".join(_read(ASSETS / name, texts) for name in names)


def fill_html(html: str, texts: Texts) -> str:
    """Return HTML with its placeholders filled. Of a text's own tags <b>, <em> and <code> have effect."""
    return _IN_HTML.sub(lambda found: _ALLOWED_TAG.sub(r"<\1>", escape(texts[found[1]])), html)


def fill_script(script: str, texts: Texts) -> str:
    """Return JavaScript with its placeholders filled by string literals."""

    def literal(found: re.Match[str]) -> str:
        return json.dumps(texts[found[1]], ensure_ascii=False).replace("<", "\\u003c")

    return _IN_SCRIPT.sub(literal, script)


def _read(path: Path, texts: Texts) -> str:
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".html":
        return fill_html(content, texts)
    return fill_script(content, texts) if path.suffix == ".js" else content
