"""Live scores on their way from a device to the pages that show them: never stored, and only while somebody looks.

A device sends them for a minute after each request. Requests are renewed while a stream is open, and the last reader to
leave takes the request back.
"""

from __future__ import annotations

import asyncio
import collections
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from cloud.pipeline import Publication
from edge.catalogue import Catalogue
from edge.contracts import limits, messages, topics
from edge.errors import HarkenError

STREAMS_A_DEVICE = 8
"""Pages that may show one device at a time."""
_RENEW_S = limits.LIVE_SECONDS / 2
_SILENT_S = 5.0  # then it is asked again: it has restarted, or another server's last reader has left
_POLL_S = 0.1
_COMMENT_EVERY_S = 15.0
_NO_EVENT = bytes(limits.EVENT_ID_BYTES)


class LiveScores:
    """Takes what devices send, from any thread; read by streams."""

    def __init__(
        self,
        publish: Callable[[Publication], None],
        catalogue: Catalogue,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Relay for devices that are asked by `publish`; `clock` counts seconds."""
        self._publish = publish
        self._names = {spec.id: spec.name for spec in catalogue}
        self._clock = clock
        self._lock = threading.Lock()
        self._readers: collections.Counter[str] = collections.Counter()
        self._asked_at: dict[str, float] = {}
        self._heard_at: dict[str, float] = {}
        self._latest: dict[str, tuple[int, str]] = {}
        self._is_closed = False

    def take(self, topic: str, payload: bytes) -> bool:
        """Take a message on topic `scores`; False for any other, and for one that is not of the schema."""
        try:
            parsed = topics.parse(topic)
            if parsed.kind != "scores":
                return False
            live: messages.LiveScores = messages.decode("scores", payload)
        except HarkenError:
            return False
        with self._lock:
            if self._readers[parsed.device_id] > 0:
                self._heard_at[parsed.device_id] = self._clock()
                number = self._latest.get(parsed.device_id, (0, ""))[0] + 1
                self._latest[parsed.device_id] = (number, json.dumps(self._named(live)))
        return True

    def _named(self, live: messages.LiveScores) -> dict[str, Any]:
        """Scores and thresholds, 0…1, by event name; those of events that this catalogue lacks are left out."""

        def named(values: Any) -> dict[str, float]:
            return {self._names[key]: round(value / 255, 3) for key, value in values.items() if key in self._names}

        return {"scores": named(live.scores), "thresholds": named(live.thresholds)}

    def close(self) -> None:
        """End all streams."""
        self._is_closed = True

    async def stream(self, device_id: str, may_read: Callable[[], bool]) -> AsyncIterator[str]:
        """`scores` for each message of the device, as server-sent events.

        At most `STREAMS_A_DEVICE` at a time; one more ends at once, and says so. `may_read` is asked again with each
        renewal, in a thread: who has signed out or moved out sees no more.
        """
        if not self._enter(device_id):
            yield "retry: 30000\nevent: full\ndata: too many pages show this device\n\n"
            return
        try:
            seen, quiet_s, checked_at = 0, 0.0, self._clock()
            yield "retry: 2000\n\n"
            while not self._is_closed:
                if self._clock() - checked_at >= _RENEW_S:
                    checked_at = self._clock()
                    if not await asyncio.to_thread(may_read):
                        return
                self._renew(device_id)
                await asyncio.sleep(_POLL_S)
                quiet_s += _POLL_S
                with self._lock:
                    number, data = self._latest.get(device_id, (0, ""))
                if number != seen:
                    seen, quiet_s = number, 0.0
                    yield f"event: scores\ndata: {data}\n\n"
                elif quiet_s >= _COMMENT_EVERY_S:
                    quiet_s = 0.0
                    yield ": still here\n\n"
        finally:
            self._leave(device_id)

    def _enter(self, device_id: str) -> bool:
        with self._lock:
            if self._readers[device_id] >= STREAMS_A_DEVICE:
                return False
            self._readers[device_id] += 1
        return True

    def _renew(self, device_id: str) -> None:
        now = self._clock()
        with self._lock:
            asked_s = now - self._asked_at.get(device_id, -_RENEW_S)
            silent_s = now - self._heard_at.get(device_id, -_RENEW_S)
            is_due = asked_s >= _RENEW_S or min(asked_s, silent_s) >= _SILENT_S
            if is_due:
                self._asked_at[device_id] = now
        if is_due:
            self._command(device_id, "scores_on")

    def _leave(self, device_id: str) -> None:
        with self._lock:
            self._readers[device_id] -= 1
            is_last = self._readers[device_id] <= 0
            if is_last:
                del self._readers[device_id]
                self._latest.pop(device_id, None)
                self._asked_at.pop(device_id, None)
                self._heard_at.pop(device_id, None)
        if is_last:
            self._command(device_id, "scores_off")

    def _command(self, device_id: str, command: str) -> None:
        # A device that is away is not to send scores when it is back and nobody looks.
        message = messages.Command(event_id=_NO_EVENT, command=command)
        self._publish(Publication(device_id, "command", message, stale_after_s=10))
