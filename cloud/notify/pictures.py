"""Pictures for messages: drawn when they are sent, and kept nowhere."""

from __future__ import annotations

from cloud.history.clips import ClipStore
from cloud.history.models import Clip, Event
from cloud.history.store import History
from cloud.verifier.pool import decode
from cloud.web import spectrogram
from edge.errors import HarkenError


class Pictures:
    """Draws the spectrogram of an event, for the server itself: what asks is the notice of the event's own home."""

    def __init__(self, history: History, clips: ClipStore) -> None:
        self._history = history
        self._clips = clips

    def of(self, event_id: str) -> bytes | None:
        """The picture as PNG; None where there is no sound that can be drawn."""
        with self._history.reading() as session:
            is_there = session.get(Event, event_id) is not None
            clip = session.get(Clip, event_id)
        if clip is None or not is_there:
            return None
        try:
            stored = self._clips.read(
                event_id,
                sample_count=clip.sample_count,
                sample_rate_hz=clip.sample_rate_hz,
                block_bytes=clip.block_bytes,
            )
            return spectrogram.draw(decode(stored), clip.sample_rate_hz, clip.trigger_offset, spectrogram.NARROW)
        except (HarkenError, OSError):
            return None
