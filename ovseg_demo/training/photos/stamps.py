"""tuxpaint's stamps: things cut out of photographs with an alpha channel and a caption each.

The images (GPL-2) are for training only and are not part of the project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ovseg_demo.errors import DatasetError

_ARTICLE = re.compile(r"^(an?|the|some|two|three)\s+", re.IGNORECASE)
_TAIL = re.compile(r"\s+(of|with|in|on|from|and|for|is|that|which)\b.*$|\s*[,(:;—–].*$")


@dataclass(frozen=True)
class Stamp:
    """A cut-out thing.

    Attributes:
        path: of the PNG file.
        noun: what it is, from its caption.
    """

    path: Path
    noun: str

    def pixels(self) -> np.ndarray:
        """Read it: RGBA uint8 (H, W, 4), cut to what can be seen."""
        image = cv2.imread(str(self.path), cv2.IMREAD_UNCHANGED)
        rows, columns = np.nonzero(image[..., 3] > 127)
        image = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        return image[..., [2, 1, 0, 3]]


def read_stamps(folder: Path) -> list[Stamp]:
    """Return all stamps with an English caption, an alpha channel and something to see.

    Raises:
        DatasetError: there is none.
    """
    found: list[Stamp] = []
    for path in sorted(folder.rglob("*.png")):
        caption = path.with_suffix(".txt")
        if not caption.exists() or path.stem.endswith("_mirror"):
            continue
        noun = noun_of(caption.read_text(errors="replace").partition("\n")[0])
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if noun and image is not None and image.ndim == 3 and image.shape[2] == 4:
            alpha = image[..., 3] > 127
            if np.count_nonzero(alpha) > 1500 and alpha.mean() < 0.97:
                found.append(Stamp(path, noun))
    if not found:
        raise DatasetError(f"There is no stamp in {folder}; install tuxpaint-stamps-default.")
    return found


def noun_of(caption: str) -> str:
    """Return the noun phrase that a stamp's caption begins with, without its article; empty for none.

    ``"A frog."`` gives "frog", ``"A slice of pizza."`` "slice".
    """
    words = _TAIL.sub("", caption.strip().rstrip(".!"))
    words = _ARTICLE.sub("", words).strip().lower()
    return words if re.fullmatch(r"[a-z][a-z' -]*", words) and len(words.split()) <= 3 else ""
