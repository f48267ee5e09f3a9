"""One pass over a data set that takes several measures and can be interrupted and resumed."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ovseg_demo.errors import OvsegError
from ovseg_demo.evaluation.datasets import Dataset
from ovseg_demo.evaluation.measures import Counts, Measure
from ovseg_demo.progress import ProgressCallback, no_progress

EVALUATING = "Images"
"""Stage name."""

_SECONDS_BETWEEN_SAVES = 15
_DONE = "done"


class Tally:
    """Sums of counts over the finished images, stored in a file until the run is complete.

    Args:
        path: of the file; an existing one is resumed.

    Raises:
        OvsegError: the file is damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        # One attribute, so that an interruption cannot separate the images from their counts.
        self._state: tuple[frozenset[str], dict[str, Counts]] = frozenset(), {}
        if path.is_file():
            self._state = self._read()

    @property
    def done(self) -> frozenset[str]:
        """Keys of the images that are counted."""
        return self._state[0]

    @property
    def counts(self) -> dict[str, Counts]:
        """Sums over those images, by the name of the measure."""
        return self._state[1]

    @classmethod
    def in_folder(cls, folder: Path, *identity: object) -> Tally:
        """Return the tally of the run with this ``identity``: its data, weights and settings."""
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()
        return cls(folder / f"{digest[:20]}.npz")

    def add(self, key: str, counts: Mapping[str, Counts]) -> None:
        """Add one image's counts, by the name of the measure."""
        before = self.counts
        sums = {
            measure: {name: array + before.get(measure, {}).get(name, 0) for name, array in arrays.items()}
            for measure, arrays in counts.items()
        }
        self._state = self.done | {key}, sums

    def save(self) -> None:
        """Write the file in one step, so that it is never half-written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            f"{measure}/{name}": array
            for measure, sums in self.counts.items()
            for name, array in sums.items()
        }
        with tempfile.NamedTemporaryFile(dir=self.path.parent, suffix=".part", delete=False) as file:
            np.savez(file, **{_DONE: np.array(sorted(self.done), dtype=str)}, **arrays)
        Path(file.name).replace(self.path)

    def remove(self) -> None:
        """Delete the file of a complete run."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> tuple[frozenset[str], dict[str, Counts]]:
        counts: dict[str, Counts] = {}
        try:
            with np.load(self.path) as arrays:
                done = frozenset(arrays[_DONE].tolist())
                for key in set(arrays.files) - {_DONE}:
                    measure, _, name = key.rpartition("/")
                    counts.setdefault(measure, {})[name] = arrays[key]
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise OvsegError(
                f'"{self.path}", a record of an interrupted run, is damaged ({error}); delete it.'
            ) from error
        return done, counts


def count_images(
    dataset: Dataset,
    measures: Mapping[str, Measure],
    tally: Tally,
    progress: ProgressCallback = no_progress,
) -> dict[str, Counts]:
    """Take all measures on each image of a data set that the tally does not contain yet.

    Images are the outer loop, so that measures with the same proposals find them in the segmenter's cache.

    Args:
        dataset: the images.
        measures: by name.
        tally: collects the counts; it is saved every few seconds and at an interruption.
        progress: called after each image.

    Returns:
        sums over all images, by the name of the measure.

    Raises:
        DatasetError: a file of the data set is missing or damaged.
    """
    saved_at = time.monotonic()
    try:
        progress(EVALUATING, len(tally.done), len(dataset.keys))
        for key in [key for key in dataset.keys if key not in tally.done]:
            sample = dataset.load(key)
            tally.add(key, {name: measure(sample) for name, measure in measures.items()})
            progress(EVALUATING, len(tally.done), len(dataset.keys))
            if time.monotonic() - saved_at > _SECONDS_BETWEEN_SAVES:
                tally.save()
                saved_at = time.monotonic()
    finally:
        if tally.done:
            tally.save()
    return tally.counts
