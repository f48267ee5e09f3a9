"""What an operator decides about the page."""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_demo.images import MAX_PIXELS


@dataclass(frozen=True)
class PageSettings:
    """Limits and permissions, safe for a public server as they stand.

    Attributes:
        max_pixels: pictures with more are refused before they are decoded.
        max_side: pictures with a longer side are scaled down to it.
        max_names: how many names (classes, synonyms and own distractors) a visitor may give.
        allow_downloads: let visitors download missing models to this machine.
        fetch_addresses: let programs send a picture's public address, which is fetched whatever its size.
        looks_at_once: so many visitors' first looks at pictures run side by side; others wait, and see that.
        looks_open: so many run or wait like that; yet others are not begun, and see nothing of it.
        edits_at_once: the same for what takes only milliseconds.
        kept_pictures: bytes of decoded pictures that stay in memory, all visitors together.
    """

    max_pixels: int = MAX_PIXELS
    max_side: int = 2048
    max_names: int = 300
    allow_downloads: bool = False
    fetch_addresses: bool = False
    looks_at_once: int = 2
    looks_open: int = 24
    edits_at_once: int = 8
    kept_pictures: int = 256 * 2**20
