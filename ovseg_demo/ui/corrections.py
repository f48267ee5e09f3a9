"""What a visitor corrects in the map, and the way back."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ovseg_demo.classification.corrections import Correction
from ovseg_demo.errors import OvsegError
from ovseg_demo.proposals.types import MaskPrompt
from ovseg_demo.ui.json_values import is_number
from ovseg_demo.ui.uploads import UploadedImage

NAME, MASK, UNDO, REDO = "name", "mask", "undo", "redo"
"""The kinds of changes: name the area under a pixel, name a new mask, and go back or forth."""

MOST_CORRECTIONS = 100
MOST_POINTS = 50

_UNREADABLE = "This correction cannot be read; reload the page."

State = tuple[Correction, ...]


@dataclass(frozen=True)
class Change:
    """What a visitor wants to correct.

    Attributes:
        kind: one of the constants above.
        name: of the area; an empty one leaves it unlabelled.
        x, y: the pixel that is named, for :data:`NAME`.
        prompt: what the new mask contains, for :data:`MASK`.
        replaces: whether the new mask takes the place of the last correction, as one that got another point.
    """

    kind: str
    name: str = ""
    x: int = 0
    y: int = 0
    prompt: MaskPrompt | None = None
    replaces: bool = False

    @classmethod
    def read(cls, data: Mapping[str, Any], image: UploadedImage) -> Self:
        """Return the change that the browser sent, which may be anything.

        Raises:
            OvsegError: it cannot be read, or lies outside the image.
        """
        kind, name = data.get("kind"), data.get("name", "")
        if kind in (UNDO, REDO):
            return cls(kind)
        if kind not in (NAME, MASK) or not isinstance(name, str):
            raise OvsegError(_UNREADABLE)
        if kind == NAME:
            ((x, y),) = _read_points([[data.get("x"), data.get("y")]], image)
            return cls(kind, name, int(x), int(y))
        inside, outside = (_read_points(data.get(side, []), image) for side in ("inside", "outside"))
        box = data.get("box")
        if box is not None:
            corners = _read_points([box[:2], box[2:]] if isinstance(box, list) else None, image)
            (x0, x1), (y0, y1) = (sorted(axis) for axis in zip(*corners, strict=True))
            box = (x0, y0, x1 + 1, y1 + 1)
        prompt = MaskPrompt(inside, outside, box)
        return cls(kind, name, prompt=prompt, replaces=data.get("replaces") is True)


class Corrections:
    """A visitor's corrections of one image, with undo and redo. Many threads may use one object."""

    def __init__(self) -> None:
        self._states: list[State] = [()]
        self._at = 0
        self._lock = threading.RLock()

    @property
    def current(self) -> State:
        """The corrections that are drawn, the last one on top."""
        with self._lock:
            return self._states[self._at]

    @property
    def can_undo(self) -> bool:
        """Whether there is a state before this one."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether a change was undone and nothing was corrected since."""
        return self._at < len(self._states) - 1

    @property
    def parts(self) -> Sequence[Correction]:
        """All corrections that are kept, also the undone ones, each once."""
        with self._lock:
            return list(
                {id(correction): correction for state in self._states for correction in state}.values()
            )

    def add(self, correction: Correction, *, replaces: bool = False) -> None:
        """Draw a correction on top of the others, or in place of the last one.

        The changes before the last :data:`MOST_CORRECTIONS` cannot be undone any more.

        Raises:
            OvsegError: there are as many corrections as may be.
        """
        with self._lock:
            kept = self.current[:-1] if replaces else self.current
            if len(kept) >= MOST_CORRECTIONS:
                raise OvsegError(f"An image takes {MOST_CORRECTIONS} corrections; undo some.")
            states = [*self._states[: self._at + 1], (*kept, correction)]
            self._states = states[-MOST_CORRECTIONS - 1 :]
            self._at = len(self._states) - 1

    def move(self, kind: str) -> None:
        """Undo the last change or redo the next one, where there is one."""
        with self._lock:
            step = -1 if kind == UNDO else 1
            self._at = min(max(0, self._at + step), len(self._states) - 1)


def _read_points(points: Any, image: UploadedImage) -> tuple[tuple[float, float], ...]:
    """Return points of the image, as (x, y) in pixels.

    Raises:
        OvsegError: they are no points, too many, or outside the image.
    """
    if not isinstance(points, list) or len(points) > MOST_POINTS:
        raise OvsegError(_UNREADABLE)
    read = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            raise OvsegError(_UNREADABLE)
        x, y = point
        if not (0 <= x < image.width and 0 <= y < image.height):
            raise OvsegError("This point is outside the image; choose one inside it.")
        read.append((float(x), float(y)))
    return tuple(read)
