"""How long-running steps report where they are, and how they are stopped."""

from collections.abc import Callable

import numpy as np

ProgressCallback = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``: ``stage`` is a constant below, ``0 <= done <= total``.

It may raise :class:`ovseg_demo.errors.Cancelled`; the step then stops at once and leaves nothing half-done
behind.
"""

RegionWatcher = Callable[[np.ndarray], None]
"""Called, after each batch of regions that is read, with the embeddings of all: float32 (N, D).

Rows of regions that are not read yet are 0. It may raise :class:`ovseg_demo.errors.Cancelled`, too.
"""

PROPOSING = "Proposing masks"
READING_REGIONS = "Reading regions"
ENCODING_NAMES = "Encoding new words"
DRAWING = "Drawing the map"
WAITING = "Waiting for your turn"  # while another visitor uses the same network


def no_progress(stage: str, done: int, total: int) -> None:
    """The callback of those who do not ask."""
