"""What a visitor corrects in the map, and the way back."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Self

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


class _Drawn(NamedTuple):
    """A correction, and the number of its mask as :class:`Change` has it; 0 for the name of an area."""

    correction: Correction
    mask: int


State = tuple[_Drawn, ...]


@dataclass(frozen=True)
class Change:
    """What a visitor wants to correct.

    Attributes:
        kind: one of the constants above.
        name: of the area; an empty one leaves it unlabelled.
        x, y: the pixel that is named, for :data:`NAME`.
        prompt: what the new mask contains, for :data:`MASK`.
        mask: the number of the new mask. It stays the same while the mask gets more points; the browser
            counts its masks from 1.
    """

    kind: str
    name: str = ""
    x: int = 0
    y: int = 0
    prompt: MaskPrompt | None = None
    mask: int = 0

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
        return cls(kind, name, prompt=MaskPrompt(inside, outside, box), mask=_read_number(data.get("mask")))


class Corrections:
    """A visitor's corrections of one image, with undo and redo. Many threads may use one object."""

    def __init__(self) -> None:
        self._states: list[State] = [()]
        self._at = 0
        self._lock = threading.RLock()

    @property
    def current(self) -> tuple[Correction, ...]:
        """The corrections that are drawn, the last one on top."""
        with self._lock:
            return tuple(drawn.correction for drawn in self._states[self._at])

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
            return list({id(drawn.correction): drawn.correction for drawn in chain(*self._states)}.values())

    def add(self, correction: Correction, mask: int = 0) -> None:
        """Draw a correction on top of the others.

        The changes before the last :data:`MOST_CORRECTIONS` cannot be undone any more.

        Args:
            correction: the area and its name.
            mask: the number of a new mask. If the last correction is the same mask with other points, it is
                replaced.

        Raises:
            OvsegError: there are as many corrections as may be.
        """
        with self._lock:
            kept = self._states[self._at]
            if mask and kept and kept[-1].mask == mask:
                kept = kept[:-1]
            if len(kept) >= MOST_CORRECTIONS:
                raise OvsegError(f"An image takes {MOST_CORRECTIONS} corrections; undo some.")
            states = [*self._states[: self._at + 1], (*kept, _Drawn(correction, mask))]
            self._states = states[-MOST_CORRECTIONS - 1 :]
            self._at = len(self._states) - 1

    def move(self, kind: str) -> None:
        """Undo the last change or redo the next one, where there is one."""
        with self._lock:
            step = -1 if kind == UNDO else 1
            self._at = min(max(0, self._at + step), len(self._states) - 1)


def _read_number(number: Any) -> int:
    """Return the number of a new mask.

    Raises:
        OvsegError: it is no number above 0.
    """
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise OvsegError(_UNREADABLE)
    return number


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
