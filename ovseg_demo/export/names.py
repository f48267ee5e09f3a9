"""File names that any file system accepts."""

from __future__ import annotations

import re
import unicodedata

_MAX_LENGTH = 60  # characters
_RESERVED = re.compile("(con|prn|aux|nul|com[0-9]|lpt[0-9])", re.ASCII)  # no file name on Windows


def slug(name: str) -> str:
    """Return a name reduced to lower-case letters and digits of any script and hyphens; never empty."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", name).casefold())
    shortened = "-".join(words)[:_MAX_LENGTH].strip("-")
    if not shortened:
        return "unnamed"
    return f"{shortened}-" if _RESERVED.fullmatch(shortened) else shortened
