"""How long-running steps report where they are, and how they are stopped."""

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``: ``stage`` is a constant below, ``0 <= done <= total``.

It may raise :class:`ovseg_demo.errors.Cancelled`; the step then stops at once and leaves nothing half-done
behind.
"""

PROPOSING = "Proposing masks"
READING_REGIONS = "Reading regions"
ENCODING_NAMES = "Encoding new words"
DRAWING = "Drawing the map"
WAITING = "Waiting for your turn"  # while another visitor uses the same network


def silent(stage: str, done: int, total: int) -> None:
    """The callback of those who do not ask."""
