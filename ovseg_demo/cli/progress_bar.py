"""Progress bars on stderr."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


class StageBar:
    """Displays a bar for the current stage of a task; the next stage's bar replaces it.

    It is a :data:`ovseg_demo.progress.ProgressCallback`, and a context manager that closes the last bar.

    Args:
        leave: whether to keep the bar of each stage on the screen.
        options: options of ``tqdm``.
    """

    def __init__(self, *, leave: bool = False, **options: Any):
        self._options = {"leave": leave, **options}
        self._bar: tqdm | None = None
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Display that ``done`` of ``total`` parts of a stage are done."""
        if self._bar is None or stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = tqdm(desc=stage, total=total, **self._options)
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Close the bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> StageBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
