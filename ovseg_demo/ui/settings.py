"""What an operator decides about the page."""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_demo.images import MAX_PIXELS


@dataclass(frozen=True)
class PageSettings:
    """Limits and permissions, safe for a public server as they stand.

    Attributes:
        max_pixels: images with more are refused before they are decoded.
        max_side: images with a longer side are scaled down to it.
        max_names: how many names (classes, synonyms and own distractors) a visitor may give.
        allow_downloads: let visitors download missing models to this machine.
        fetch_addresses: let programs send an image's public address, which is fetched whatever its size.
        concurrent_analyses: analyses that run at the same time, all visitors together; others wait.
        queued_analyses: analyses that may run or wait for their turn; further ones are not started.
        concurrent_edits: edits (new names, another granularity) that run at the same time.
        analysis_memory: bytes that analyses may take in memory, those of all visitors and the cache together.
    """

    max_pixels: int = MAX_PIXELS
    max_side: int = 2048
    max_names: int = 300
    allow_downloads: bool = False
    fetch_addresses: bool = False
    concurrent_analyses: int = 2
    queued_analyses: int = 24
    concurrent_edits: int = 8
    analysis_memory: int = 768 * 2**20
