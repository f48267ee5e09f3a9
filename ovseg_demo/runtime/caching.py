"""What visitors share: results that are computed once, and networks that are loaded once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np

from ovseg_demo.progress import WAITING, ProgressCallback, no_progress

T = TypeVar("T")

_PATIENCE = 0.2  # seconds between two looks at whether a waiting visitor has left


class ByteCache:
    """Values by key, the least recently used dropped first; safe to use from many threads.

    Args:
        max_bytes: what the values may take together. A larger single value is handed out but not kept.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self._nbytes = 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._in_the_making: dict[Hashable, _Turn] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the values that are kept."""
        return self._nbytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Any | None:
        """The value kept under ``key``, or ``None``."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Any) -> None:
        """Keep a value; it is charged with its ``nbytes``."""
        size = int(value.nbytes)
        with self._lock:
            self._nbytes -= self._entries.pop(key, (None, 0))[1]
            if size > self.max_bytes:
                return
            self._entries[key] = value, size
            self._nbytes += size
            while self._nbytes > self.max_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self._nbytes -= freed

    def get_or_make(
        self, key: Hashable, make: Callable[[], T], progress: ProgressCallback = no_progress
    ) -> tuple[T, bool]:
        """The value kept under ``key``, made first if need be; others who ask for it meanwhile wait for it.

        If ``make`` raises, nothing is kept, and the next of those who wait makes it.

        Returns:
            the value, and whether it was there already.
        """
        value = self.get(key)
        if value is not None:
            return value, True
        with self._turn(key, progress):
            value = self.get(key)
            if value is not None:
                return value, True
            value = make()
            self.put(key, value)
            return value, False

    @contextmanager
    def _turn(self, key: Hashable, progress: ProgressCallback) -> Iterator[None]:
        with self._lock:
            turn = self._in_the_making.setdefault(key, _Turn())
            turn.visitors += 1
        try:
            with hold(turn.lock, progress):
                yield
        finally:
            with self._lock:
                turn.visitors -= 1
                if not turn.visitors:
                    del self._in_the_making[key]


class _Turn:
    """Who makes a value; the others wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.visitors = 0


class LazyModel(Generic[T]):
    """A network that is loaded when it is first needed and then used by one thread at a time.

    Args:
        load: makes it; called at most once, unless it raises.
        key: tells its weights from others; part of cache keys.
        on_cpu: its twin on the CPU, for what the memory of a GPU is too small for.

    Attributes:
        key, on_cpu: as above.
    """

    def __init__(
        self, load: Callable[[], T], key: Hashable | None = None, on_cpu: LazyModel[T] | None = None
    ):
        self.key = key if key is not None else object()
        self.on_cpu = on_cpu
        self._load: Callable[[], T] | None = load
        self._network: T | None = None
        self._loading = threading.Lock()
        self._in_use: dict[str, threading.Lock] = {}

    @property
    def is_loaded(self) -> bool:
        """Whether it takes memory already."""
        return self._network is not None

    def get(self) -> T:
        """The network, for what does not compute with it."""
        with self._loading:
            if self._load is not None:
                self._network = self._load()
                self._load = None  # and with it the file's tensors
            return self._network

    @contextmanager
    def use(self, progress: ProgressCallback = no_progress, part: str = "") -> Iterator[T]:
        """Compute with the network, or with an independent part of it, while no one else does."""
        network = self.get()
        with self._loading:
            lock = self._in_use.setdefault(part, threading.Lock())
        with hold(lock, progress):
            yield network


@contextmanager
def hold(
    lock: threading.Lock | threading.Semaphore, progress: ProgressCallback = no_progress
) -> Iterator[None]:
    """Hold a lock; while waiting for it, report so, which lets the waiting visitor leave by raising."""
    while not lock.acquire(timeout=_PATIENCE):
        progress(WAITING, 0, 1)
    try:
        yield
    finally:
        lock.release()


def content_key(*arrays: np.ndarray) -> str:
    """A hash of arrays: equal for equal content, shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
