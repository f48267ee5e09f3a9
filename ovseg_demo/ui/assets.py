"""The page's own files: scripts, styles, drawings."""

from __future__ import annotations

from functools import cache
from pathlib import Path

ASSETS = Path(__file__).with_name("assets")


@cache
def read_assets(*names: str) -> str:
    """The texts of some assets, one after the other."""
    return "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in names)
