"""Tells open pages that something has changed: a counter that a server-sent event stream watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

_POLL_S = 0.25
_COMMENT_EVERY_S = 15.0


class Changes:
    """Counts changes. Announced from any thread; watched by any number of pages."""

    def __init__(self) -> None:
        self._count = 0
        self._is_closed = False

    def announce(self) -> None:
        """Something that a page shows has changed."""
        self._count += 1

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events: `changed` after changes, at most four a second, and a comment to keep the line up."""
        seen = self._count
        quiet_s = 0.0
        yield "retry: 2000\n\n"
        while not self._is_closed:
            await asyncio.sleep(_POLL_S)
            quiet_s += _POLL_S
            if self._count != seen:
                seen, quiet_s = self._count, 0.0
                yield f"event: changed\ndata: {seen}\n\n"
            elif quiet_s >= _COMMENT_EVERY_S:
                quiet_s = 0.0
                yield ": still here\n\n"
