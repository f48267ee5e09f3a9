"""The log of a training run: a file of JSON objects, one a line."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

LOG_FILE = "log.jsonl"


class TrainingLog:
    """Writes the means of the metrics between two lines, and figures, to a file and to stdout.

    A resumed run keeps the lines up to its checkpoint. A process that was killed and a full disk leave a part
    of a line at the end of the file; it is dropped.

    Args:
        path: of the file; its folder is made.
        step: of the checkpoint that the run resumes from; 0 for a new run.
        enabled: false on all processes but the main one, which then write nothing.
    """

    def __init__(self, path: Path, step: int, enabled: bool = True):
        self.path, self.enabled = path, enabled
        self._sums: dict[str, torch.Tensor] = {}
        self._count, self._since = 0, time.monotonic()
        if enabled:
            path.parent.mkdir(parents=True, exist_ok=True)
            keep_entries(path, up_to=step)

    def add(self, metrics: dict[str, torch.Tensor]) -> None:
        """Count the scalar metrics of one step towards the next line's means."""
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def write_means(self, step: int, batch_size: int, **more: float) -> None:
        """Write the means since the last line, ``more``, and the speed in samples a second."""
        means = {name: round(float(total) / self._count, 5) for name, total in self._sums.items()}
        speed = self._count * batch_size / (time.monotonic() - self._since)
        self.write({"step": step, **means, **more, "samples_per_second": round(speed, 1)})
        self._sums, self._count, self._since = {}, 0, time.monotonic()

    def write(self, entry: dict[str, Any]) -> None:
        """Write one line."""
        if self.enabled:
            append_entry(self.path, entry)


def append_entry(path: Path, entry: dict[str, Any]) -> None:
    """Add a line to a log and print it."""
    line = json.dumps(entry)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, flush=True)


def keep_entries(path: Path, up_to: int, key: str = "step") -> None:
    """Drop the lines whose ``key`` is larger than ``up_to``, and those that are no whole JSON object.

    The new file replaces the old one at once, so that an interruption loses no line.
    """
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line in lines if (entry := _parse(line)) and entry.get(key, 0) <= up_to]
    part = path.with_name(path.name + ".part")
    part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    part.replace(path)


def _parse(line: str) -> dict[str, Any] | None:
    """Return the JSON object of a line; ``None`` if it holds none, or a part of one."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
