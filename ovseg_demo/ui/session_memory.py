"""The bytes that all sessions together may keep."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict

from ovseg_demo.runtime.caching import ByteCache
from ovseg_demo.ui.session import Session


class SessionMemory:
    """Bounds the memory of all sessions' analyses; the least recently used one gives way.

    Sessions and the segmenters' cache share one budget: the cache takes what the sessions leave. A part that
    two sessions share counts once.

    Args:
        max_bytes: the budget.
        cache: the cache of the segmenters, which gives way to the sessions.
    """

    def __init__(self, max_bytes: int, cache: ByteCache | None = None):
        self._max_bytes = max_bytes
        self._cache = cache
        self._sessions: OrderedDict[weakref.ref[Session], None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that the sessions hold."""
        with self._lock:
            return self._count()

    def touch(self, session: Session) -> None:
        """Note that a session was used, and make room: others expire until all fit the budget."""
        with self._lock:
            reference = weakref.ref(session)
            self._sessions[reference] = None
            self._sessions.move_to_end(reference)
            while (held := self._count()) > self._max_bytes and len(self._sessions) > 1:
                oldest, _ = self._sessions.popitem(last=False)
                if (other := oldest()) is not None:
                    other.expire()
        if self._cache is not None:
            self._cache.reserve(min(held, self._max_bytes))

    def _count(self) -> int:
        arrays: dict[int, int] = {}
        for reference in list(self._sessions):
            session = reference()
            if session is None:
                del self._sessions[reference]
            else:
                arrays |= session.arrays()
        return sum(arrays.values())
