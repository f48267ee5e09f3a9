"""Shared by all threads: a cache of a bounded size, and models that are loaded when they are needed."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ovseg_demo.progress import WAITING, ProgressCallback, no_progress

T = TypeVar("T")

WAITING_PERIOD = 0.2
"""Seconds between two reports of a thread that waits for a lock; each may end the wait."""


class ByteCache:
    """A cache of values by key that drops the least recently used; safe to use from many threads.

    Args:
        max_bytes: limit of all values together. A larger value is returned but not kept.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self._nbytes = 0
        self._reserved = 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._being_made: dict[Hashable, _Turn] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the values that are kept."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Any | None:
        """Return the value kept under ``key``, or ``None``."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Any) -> None:
        """Keep a value; its ``nbytes`` count."""
        size = int(value.nbytes)
        with self._lock:
            self._nbytes -= self._entries.pop(key, (None, 0))[1]
            if size > self.max_bytes - self._reserved:
                return
            self._entries[key] = value, size
            self._nbytes += size
            self._make_room()

    def reserve(self, nbytes: int) -> None:
        """Leave some of the budget to others, who hold values of their own: the cache may take the rest."""
        with self._lock:
            self._reserved = nbytes
            self._make_room()

    def _make_room(self) -> None:
        while self._entries and self._nbytes > self.max_bytes - self._reserved:
            _, (_, freed) = self._entries.popitem(last=False)
            self._nbytes -= freed

    def get_or_make(
        self, key: Hashable, make: Callable[[], T], progress: ProgressCallback = no_progress
    ) -> T:
        """Return the value kept under ``key``; make it first if need be, once for all threads that ask.

        If ``make`` raises, nothing is kept, and the next thread that waits makes the value.
        """
        value = self.get(key)
        if value is not None:
            return value
        with self._turn(key, progress):
            value = self.get(key)
            if value is None:
                value = make()
                self.put(key, value)
            return value

    @contextmanager
    def _turn(self, key: Hashable, progress: ProgressCallback) -> Iterator[None]:
        with self._lock:
            turn = self._being_made.setdefault(key, _Turn())
            turn.visitors += 1
        try:
            with hold(turn.lock, progress):
                yield
        finally:
            with self._lock:
                turn.visitors -= 1
                if not turn.visitors:
                    del self._being_made[key]


class _Turn:
    """One thread makes a value while the others wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.visitors = 0


class LazyModel(Generic[T]):
    """A model that is loaded when it is first needed, and used by one thread at a time.

    Args:
        load: loads the model; called once, and again only after it raised.
        key: identifies the weights in this process; part of cache keys.
        on_cpu: the same model on the CPU, for work that is too large for a GPU's memory.
        files: all files that the model is read from.
        runtime: where and in which precision the model computes.

    Attributes:
        key, on_cpu, files, runtime: as above.
    """

    def __init__(
        self,
        load: Callable[[], T],
        key: Hashable | None = None,
        on_cpu: LazyModel[T] | None = None,
        *,
        files: Sequence[Path] = (),
        runtime: Hashable | None = None,
    ):
        self.key = key if key is not None else object()
        self.on_cpu = on_cpu
        self.files = tuple(files)
        self.runtime = runtime
        self._load: Callable[[], T] | None = load
        self._model: T | None = None
        self._loading = threading.Lock()
        self._in_use: dict[str, threading.Lock] = {}

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    def get(self) -> T:
        """Return the model, loaded if need be, for whatever does not compute with it."""
        with self._loading:
            if self._load is not None:
                self._model = self._load()
                self._load = None  # and with it the file's tensors
            return self._model

    @contextmanager
    def use(self, progress: ProgressCallback = no_progress, part: str = "") -> Iterator[T]:
        """Give one thread the model, or an independent part of it, to compute with."""
        model = self.get()
        with self._loading:
            lock = self._in_use.setdefault(part, threading.Lock())
        with hold(lock, progress):
            yield model


@contextmanager
def hold(
    lock: threading.Lock | threading.Semaphore, progress: ProgressCallback = no_progress
) -> Iterator[None]:
    """Hold a lock. While it waits, it reports :data:`WAITING`; the callback may raise to give up."""
    while not lock.acquire(timeout=WAITING_PERIOD):
        progress(WAITING, 0, 1)
    try:
        yield
    finally:
        lock.release()


def content_key(*arrays: np.ndarray) -> str:
    """Return a hash of arrays, equal for equal content, shapes and dtypes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
