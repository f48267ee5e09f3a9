"""How long-running work reports its progress, and how it is stopped."""

from collections.abc import Callable

import numpy as np

ProgressCallback = Callable[[str, int, int], None]
"""Called as ``progress(stage, done, total)``: ``stage`` is a constant below, ``0 <= done <= total``.

It may raise :class:`ovseg_demo.errors.Cancelled`. The work then stops at once and leaves nothing half-done.
"""

RegionsCallback = Callable[[np.ndarray], None]
"""Called after each batch of regions with the embeddings of all N regions: float32 (N, D).

Rows of regions that are not embedded yet are 0. It may raise :class:`ovseg_demo.errors.Cancelled`.
"""

PROPOSING = "Proposing masks"
EMBEDDING_REGIONS = "Embedding regions"
ENCODING_NAMES = "Encoding class names"
DRAWING = "Drawing the map"
WRITING = "Writing the file"
HASHING = "Comparing the weights"
WAITING = "Waiting for your turn"  # another visitor uses the same model


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore the progress: the default callback."""
