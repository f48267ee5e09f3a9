"""What worker processes of a ``DataLoader`` made, and their errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ovseg_demo.errors import OvsegError

Batch = TypeVar("Batch")


def receive(loader: Iterable[Batch]) -> Iterator[Batch]:
    """Yield a loader's batches; a user error of a worker keeps its sentence alone.

    torch puts the worker's traceback into the message, whose last line is the error's class and sentence.

    Raises:
        OvsegError: a worker raised it.
    """
    try:
        yield from loader
    except OvsegError as error:
        if "in DataLoader worker process" not in str(error):
            raise
        last = str(error).rstrip().rpartition("\n")[2]
        raise type(error)(last.partition(": ")[2]) from error
