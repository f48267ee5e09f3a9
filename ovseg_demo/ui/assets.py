"""The page's own files: scripts, styles and drawings."""

from __future__ import annotations

from functools import cache
from pathlib import Path

ASSETS = Path(__file__).with_name("assets")


@cache
def read_assets(*names: str) -> str:
    """Return the texts of some assets, joined."""
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)
