"""Which events may join the queue, and which of those that wait come first.

Gradio bounds all events together, so that calls of programs can fill the places of the page. This queue
bounds each kind of event by itself, and within a kind each address and each session.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import fastapi
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, Queue
from gradio.server_messages import ProcessCompletedMessage
from gradio.utils import LRUCache

from ovseg_demo.ui.clients import RateLimit, client_of
from ovseg_demo.ui.http_errors import FULL, TOO_MANY, try_again

PROGRAM, ANALYSIS, FRAME, EXPORT, EDIT, INSTANT = "program", "analysis", "frame", "export", "edit", "instant"
"""The kinds of events: Gradio's concurrency ids."""

NEW_SESSIONS = RateLimit(burst=120, per_second=1)
"""How often one address may begin a session. Each takes memory, and pushes the longest unused one out."""

GRACE = 1.0
"""Seconds after which a waiting event that nobody listens to gives its place to another one."""

PATIENCE = 30.0
"""Seconds after which an event that nobody listens to is dropped: one that waits, an analysis or a file."""

KEEP_RESULTS = 120.0
"""Seconds after which a result that nobody fetched is dropped."""

_SWEEP_EVERY = 1.0  # seconds
_POLL = 0.003  # seconds between two looks for an event that can begin; Gradio's own is a thousandth
_PAUSES = 3  # after an unheard event, as a multiple of its time: they take a quarter of the time at most
_MAX_STARTS = 10_000
_UNKNOWN_WAIT = 10.0  # seconds, before an event of the kind was timed
_LONGEST_WAIT = 600.0
_MAX_STREAMS = 100_000  # the sweep keeps them far below; Gradio's limit would cut off visitors who wait


@dataclass(frozen=True)
class Places:
    """How many events of one kind may run or wait at the same time.

    Attributes:
        total: of all clients together.
        client: of one client's address.
        session: of one session: an open page, or one program.
    """

    total: int
    client: int
    session: int


def places_of(analyses: int, programs: int) -> dict[str, Places]:
    """Return the places of each kind of event.

    Edits, Cancel and Clear take milliseconds. Their places are so many that no page fills them. A live camera
    has one frame on its way; the frames have places of their own, so that cameras do not fill those of
    analyses.

    Args:
        analyses: analyses of all visitors that may run or wait.
        programs: calls of programs that may run or wait.
    """
    quick = Places(total=4096, client=512, session=32)
    return {
        ANALYSIS: Places(analyses, max(1, analyses // 2), 4),
        FRAME: Places(analyses, max(1, analyses // 2), 2),
        EXPORT: Places(total=64, client=32, session=8),
        PROGRAM: Places(programs, max(1, programs // 2), max(1, programs // 2)),
        EDIT: quick,
        INSTANT: quick,
    }


class AdmissionQueue(Queue):
    """A queue with separate places for programs, analyses and edits.

    An event is *heard* while somebody reads its session's messages. Heard events come first, those of the
    client that has waited longest before the others. Unheard ones run one at a time, and after each comes a
    pause. Where places are short, the oldest event that waits unheard gives way. Results that nobody fetches
    are dropped.

    Args:
        places: of each kind; an event of another kind counts as instant.
        options: of Gradio's queue.
    """

    def __init__(self, *, places: Mapping[str, Places], **options: Any):
        super().__init__(**options)
        self._places = places
        self._new_sessions = NEW_SESSIONS.counter()
        self._unheard_since: dict[str, float] = {}
        self._next_sweep = 0.0
        self._starts: LRUCache[str, float] = LRUCache(_MAX_STARTS)  # by client, and by session
        self._unheard: set[str] = set()  # that run
        self._next_unheard = 0.0
        self.sleep_when_free = _POLL
        self.pending_messages_per_session: LRUCache[str, asyncio.Queue] = LRUCache(_MAX_STREAMS)

    async def push(
        self, body: PredictBodyInternal, request: fastapi.Request, username: str | None
    ) -> tuple[bool, Any, Any]:
        """Take an event in, or answer with an HTTP error whose detail is a sentence."""
        fn = self.blocks.fns.get(body.fn_index)
        if fn is None:
            raise fastapi.HTTPException(
                404, f"This page has no event {body.fn_index}; read its events from /config."
            )
        self._sweep()
        self._admit(fn.concurrency_id, client_of(request), body.session_hash)
        return await super().push(body, request, username)

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """Return what to do next: heard events before the others, and of the others one at a time."""
        self._sweep()
        held = []
        for event_queue in self.event_queue_per_concurrency_id.values():
            waiting = event_queue.queue
            if not waiting or event_queue.current_concurrency == event_queue.concurrency_limit:
                continue
            heard = [event for event in waiting if self._is_heard(event)]
            if heard:
                first = min(heard, key=self._last_start)
                waiting.remove(first)
                waiting.insert(0, first)
            elif self._unheard or event_queue.current_concurrency or time.monotonic() < self._next_unheard:
                held.append((event_queue, waiting))
                event_queue.queue = []
        try:
            chosen = super().get_events()
        finally:
            for event_queue, waiting in held:
                event_queue.queue = waiting
        for event in chosen[0] if chosen is not None else ():
            self._note_start(event)
        return chosen

    def _last_start(self, event: Event) -> tuple[float, float]:
        """Return when an event of the same client, and of the same session, began the last time."""
        client, session = client_of(event.request), event.session_hash
        return self._starts.get(client, 0.0), self._starts.get(session, 0.0)

    def _note_start(self, event: Event) -> None:
        for key in (client_of(event.request), event.session_hash):
            self._starts[key] = time.monotonic()
        if not self._is_heard(event):
            self._unheard.add(event._id)

    async def process_events(self, events: list[Event], *rest: Any) -> None:
        """Process events, and forget the state of those that belong to no session."""
        start = time.monotonic()
        try:
            await super().process_events(events, *rest)
        finally:
            for event in events:
                if event._id in self._unheard:
                    self._unheard.discard(event._id)
                    now = time.monotonic()
                    self._next_unheard = now + min(PATIENCE, _PAUSES * (now - start))
                if event.session_hash == event._id:
                    self.blocks.state_holder.session_data.pop(event._id, None)
                    self.blocks.state_holder.time_last_used.pop(event._id, None)

    def broadcast_estimations(self, concurrency_id: str, after: int | None = None) -> None:
        """Send a new event its estimate, which stays unread if nobody listens.

        Gradio sends all that wait another one after each event; in a flood of calls that takes long.
        """
        if after is not None:
            super().broadcast_estimations(concurrency_id, after)

    def compute_analytics_summary(self, records: Any) -> dict[str, Any]:
        """Return no statistics: nobody may read them, and Gradio would compute them after every event."""
        return self.cached_event_analytics_summary

    # ---- places

    def _admit(self, kind: str, client: str, session: str | None) -> None:
        """Raise an HTTP error if there is no place."""
        kind = kind if kind in self._places else INSTANT
        places = self._places[kind]
        if session is not None and session not in self.blocks.state_holder:
            wait = self._new_sessions.take(client)
            if wait > 0:
                _refuse(kind, "Too many pages or programs were started from your address.", wait)
        events = [event for event in self.event_ids_to_events.values() if self._kind_of(event) == kind]
        of_client = [event for event in events if client_of(event.request) == client]
        of_session = [event for event in of_client if event.session_hash == session]
        for taken, limit, whose in (
            (of_session, places.session, f"{len(of_session)} of your calls are running or waiting already."),
            (of_client, places.client, f"{len(of_client)} calls from your address are running or waiting."),
            (events, places.total, f"The server is busy: {len(events)} calls are running or waiting."),
        ):
            if len(taken) >= limit and not self._make_room(taken):
                _refuse(kind, whose, self._wait(kind, len(taken)))

    def _kind_of(self, event: Event) -> str:
        return event.concurrency_id if event.concurrency_id in self._places else INSTANT

    def _make_room(self, events: Iterable[Event]) -> bool:
        """Drop the oldest waiting event that nobody listens to; return whether there was one."""
        now = time.monotonic()
        for event in events:  # in the order of their arrival
            if now - event.enqueue_time > GRACE and not self._is_heard(event) and self._drop(event):
                return True
        return False

    def _drop(self, event: Event) -> bool:
        """Take a waiting event out of the queue; whoever asks for its result gets a sentence."""
        waiting = self.event_queue_per_concurrency_id[event.concurrency_id].queue
        if event not in waiting:
            return False
        waiting.remove(event)
        self.event_ids_to_events.pop(event._id, None)
        self.send_message(event, ProcessCompletedMessage(output=_abandoned(), success=False))
        return True

    def _wait(self, kind: str, count: int) -> float:
        """Return an estimate of the seconds until a place is free."""
        times = [
            spent.avg_time for fn, spent in self.process_time_per_fn.items() if fn.concurrency_id == kind
        ]
        event_queue = self.event_queue_per_concurrency_id.get(kind)
        at_once = (event_queue and event_queue.concurrency_limit) or 1
        if not times:
            return _UNKNOWN_WAIT
        return min(_LONGEST_WAIT, max(times) * max(1, count // at_once))

    # ---- who listens

    def _is_heard(self, event: Event) -> bool:
        messages = self.pending_messages_per_session.get(event.session_hash)
        return messages is not None and messages.empty()

    def _sweep(self) -> None:
        """Drop what nobody listens to: waiting events, and results."""
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_EVERY
        unheard = [key for key, messages in self.pending_messages_per_session.items() if not messages.empty()]
        self._unheard_since = {key: self._unheard_since.get(key, now) for key in unheard}
        for event in list(self.event_ids_to_events.values()):
            if now - self._unheard_since.get(event.session_hash, now) <= PATIENCE or self._drop(event):
                continue
            if (
                event.concurrency_id in (ANALYSIS, EXPORT) and event.alive
            ):  # it runs, and ends at its next message
                self.send_message(event, ProcessCompletedMessage(output=_abandoned(), success=False))
                event.alive = False
        busy = {event.session_hash for event in self.event_ids_to_events.values()}
        for key in [key for key in self.pending_messages_per_session if key not in busy]:
            is_read = key not in self._unheard_since and not self.pending_event_ids_session.get(key)
            # A page may have opened a stream after its last message: such a stream waits for the next event.
            is_over = is_read and key not in self.blocks.state_holder
            if is_over or now - self._unheard_since.get(key, now) > KEEP_RESULTS:
                self.pending_messages_per_session.pop(key, None)
                self.pending_event_ids_session.pop(key, None)
                self._unheard_since.pop(key, None)


def _refuse(kind: str, reason: str, wait: float) -> None:
    """Raise the HTTP error. Gradio's clients take 503 for a full queue; the page displays 429's sentence."""
    seconds, sentence = try_again(wait)
    raise fastapi.HTTPException(
        FULL if kind == PROGRAM else TOO_MANY,
        f"{reason} {sentence.capitalize()}",
        headers={"Retry-After": str(seconds)},
    )


def _abandoned() -> dict[str, Any]:
    return {
        "error": "Nobody fetched this call's messages, so it was dropped; call again, and "
        f"read them within {PATIENCE:.0f} seconds.",
        "title": "That did not work",
        "visible": True,
        "duration": 10,
    }
