"""The bytes that all sessions together may keep."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Collection

from ovseg_demo.runtime.caching import ByteCache
from ovseg_demo.ui.session import Session


class SessionMemory:
    """Bounds the memory of all sessions' analyses and corrections; the least recently used ones give way.

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
        """Note that a session was used, and make room for it.

        The analyses of others are dropped until all fit the budget. If that is not enough, so are the
        corrections of others.
        """
        with self._lock:
            reference = weakref.ref(session)
            self._sessions[reference] = None
            self._sessions.move_to_end(reference)
            held = self._make_room(session)
        if self._cache is not None:
            self._cache.reserve(min(held, self._max_bytes))

    def expire_models(self, names: Collection[str]) -> None:
        """Expire the sessions that hold analyses of these models, as :attr:`Session.models` names them."""
        with self._lock:
            for session in self._alive():
                if not session.models.isdisjoint(names):
                    session.expire()

    def _make_room(self, newest: Session) -> int:
        """Drop what others hold until all fit, the least recently used first; return the bytes still held."""
        held = self._count()
        for drop in (Session.expire, Session.forget_corrections):
            for session in self._alive():
                if held <= self._max_bytes:
                    return held
                if session is not newest and session.arrays():
                    drop(session)
                    held = self._count()
        return held

    def _count(self) -> int:
        arrays: dict[int, int] = {}
        for session in self._alive():
            arrays |= session.arrays()
        return sum(arrays.values())

    def _alive(self) -> list[Session]:
        """Return the sessions whose pages are open, the least recently used first."""
        found = [(reference, reference()) for reference in self._sessions]
        for reference, session in found:
            if session is None:
                del self._sessions[reference]
        return [session for _, session in found if session is not None]
