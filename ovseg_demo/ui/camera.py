"""The frames of a visitor's camera: how they are read, and how long each may wait.

A frame comes in the event's data and stays in memory; nothing writes it to disk.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from ovseg_demo.analysis import Analysis
from ovseg_demo.errors import ImageError
from ovseg_demo.image_files.memory import MemoryBudget
from ovseg_demo.images import SourceImage, load_image
from ovseg_demo.progress import WAITING
from ovseg_demo.runtime.caching import WAITING_PERIOD
from ovseg_demo.ui.runs import Run
from ovseg_demo.ui.uploads import UploadedImage

LONGEST_WAIT = 1.0
"""Seconds that a frame waits for its turn. Then the browser sends a newer one in its place."""

MOST_PIXELS = 1280 * 1280
"""Pixels of the largest frame."""

_FILE_NAME = "camera.jpg"


class FrameDropped(Exception):  # noqa: N818 (not a failure: a newer frame takes its place)
    """A frame waited too long for its turn; the browser has a newer one."""


class FrameProgress:
    """The progress callback of a frame. It stops the work that is not wanted, and waits that are too long.

    Attributes:
        waited: seconds that the frame has waited for others.
    """

    def __init__(self, run: Run):
        self._run = run
        self.waited = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take a report.

        Raises:
            Cancelled: the frame is not wanted any more.
            FrameDropped: it has waited longer than :data:`LONGEST_WAIT`.
        """
        self._run.check()
        if stage == WAITING:
            self.waited += WAITING_PERIOD
            if self.waited > LONGEST_WAIT:
                raise FrameDropped


def read_frame(
    data: Mapping[str, Any], number: int, budget: MemoryBudget | None = None
) -> tuple[UploadedImage, np.ndarray]:
    """Return what is known of a frame, and its pixels: uint8 RGB (height, width, 3).

    Args:
        data: what the browser sent: "image", a JPEG in base64, and "frame", the frame's number there.
        number: of the image within its session.
        budget: what all visitors' images may take together while they are decoded.

    Raises:
        ImageError: it is no frame.
    """
    frame, content = data.get("frame"), data.get("image")
    if not isinstance(frame, int) or not isinstance(content, str):
        raise ImageError("The camera's frame could not be read; reload the page.")
    try:
        encoded = base64.b64decode(content, validate=True)
    except binascii.Error:
        raise ImageError("The camera's frame is not in base64; reload the page.") from None
    pixels = load_image(encoded, max_pixels=MOST_PIXELS, budget=budget)
    height, width = pixels.shape[:2]
    source = SourceImage(_FILE_NAME, width, height, is_turned=False)
    return UploadedImage(number, "", width, height, source=source, frame=frame), pixels


def seconds_of(analysis: Analysis, waited: float = 0.0) -> float:
    """Return how long an analysis took, without the time that it waited for others meanwhile."""
    return max(0.0, sum(timing.seconds for timing in analysis.timings) - waited)
