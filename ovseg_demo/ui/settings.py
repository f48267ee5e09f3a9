"""What an operator decides about the page."""

from __future__ import annotations

from dataclasses import dataclass, field

from ovseg_demo.images import MAX_DECODE_BYTES, MAX_PIXELS
from ovseg_demo.ui.language.texts import Texts, load_texts


@dataclass(frozen=True)
class PageSettings:
    """Limits and permissions, safe for a public server as they stand.

    Attributes:
        max_pixels: images with more are refused before they are decoded.
        max_side: images with a longer side are scaled down to it.
        max_names: how many names (classes, synonyms and own distractors) a visitor may give.
        allow_downloads: let visitors download missing models to this machine.
        downloads_are_local: allow them only to visitors at this machine, who connect to it without a proxy.
        fetch_addresses: let programs send an image's public address, which is fetched whatever its size.
        decode_memory: bytes that the decoding of images may take, those of all visitors together.
        concurrent_analyses: analyses that run at the same time, all visitors together; others wait.
        concurrent_programs: calls of the endpoint that run at the same time.
        started_analyses: analyses that run or tell their visitor that they wait for their turn; further ones
            wait in the queue.
        queued_analyses: analyses of all visitors that may run or wait; a further one is refused with the time
            to wait. One address may have half of them.
        queued_programs: the same for calls of the endpoint.
        concurrent_edits: edits (new names, another granularity) that run at the same time.
        concurrent_exports: files to download that are made at the same time.
        analysis_memory: bytes that analyses may take in memory, those of all visitors and the cache together.
        texts: of the page, in one language.
    """

    max_pixels: int = MAX_PIXELS
    max_side: int = 2048
    max_names: int = 300
    allow_downloads: bool = False
    downloads_are_local: bool = True
    fetch_addresses: bool = False
    decode_memory: int = MAX_DECODE_BYTES
    concurrent_analyses: int = 2
    concurrent_programs: int = 1
    started_analyses: int = 24
    queued_analyses: int = 64
    queued_programs: int = 16
    concurrent_edits: int = 8
    concurrent_exports: int = 4
    analysis_memory: int = 512 * 2**20
    texts: Texts = field(default_factory=load_texts)
