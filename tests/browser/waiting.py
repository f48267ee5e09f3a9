"""Waiting for what happens in this process, while the page goes on."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_in(page, condition: Callable[[], object]) -> None:
    """Wait until something is so in this process, while the page goes on."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        page.wait_for_timeout(20)
