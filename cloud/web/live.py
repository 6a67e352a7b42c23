"""Tells open pages that something in their own home has changed, over server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

from starlette.concurrency import run_in_threadpool

from cloud.accounts.reach import Filter, Reach
from cloud.history.store import History

_POLL_S = 0.25
_LOOK_EVERY_S = 2.0  # for what other servers of the same history have changed
_COMMENT_EVERY_S = 15.0
_NEWEST = 60


class Changes:
    """Counts changes. Announced from any thread; watched by any number of pages."""

    def __init__(self) -> None:
        self._count = 0
        self._is_closed = False

    def announce(self) -> None:
        """Something that a page shows may have changed."""
        self._count += 1

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True

    async def stream(self, history: History, reach: Reach) -> AsyncIterator[str]:
        """`changed` after changes in a home, at most four a second, and a comment to keep the line up.

        What happens in other homes makes no sound here, not even that something happened.
        """
        seen, shown = self._count, await run_in_threadpool(_state, history, reach)
        quiet_s = unlooked_s = 0.0
        yield "retry: 2000\n\n"
        while not self._is_closed:
            await asyncio.sleep(_POLL_S)
            quiet_s, unlooked_s = quiet_s + _POLL_S, unlooked_s + _POLL_S
            if self._count != seen or unlooked_s >= _LOOK_EVERY_S:
                seen, unlooked_s = self._count, 0.0
                now = await run_in_threadpool(_state, history, reach)
                if now != shown:
                    shown, quiet_s = now, 0.0
                    yield f"event: changed\ndata: {now}\n\n"
            if quiet_s >= _COMMENT_EVERY_S:
                quiet_s = 0.0
                yield ": still here\n\n"


def _state(history: History, reach: Reach) -> str:
    """A digest of what a home's newest events and its devices look like."""
    with history.reading() as session:
        rows = reach.events(session, Filter(), limit=_NEWEST)
        events = [(row.event_id, row.stage, row.verdict, row.verdict_at, row.notified_at) for row in rows]
        devices = [(row.device_id, row.is_online, row.armed, row.last_seen_at) for row in reach.devices(session)]
    return sha256(repr((events, devices)).encode()).hexdigest()[:16]
