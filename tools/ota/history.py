"""False triggers and hours of devices, from the cloud's history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import select

from cloud.history.models import Device, Event
from cloud.history.store import History
from cloud.verdict import Verdict
from tools.ota.rates import Heard
from tools.ota.roll_out import Window

FALSE = (Verdict.REJECTED.value, Verdict.MEDIA.value)
_DEVICES_A_QUERY = 500


class HistoryEvidence:
    """What a history says of one event.

    Args:
        history: the cloud's, opened.
        event: whose triggers count.
        counts_all: all triggers, whatever their verdict; else those that were rejected or came from media.
    """

    def __init__(self, history: History, event: str, *, counts_all: bool = False) -> None:
        self._history, self._event, self._counts_all = history, event, counts_all

    def heard(self, windows: Mapping[str, Window]) -> Heard:
        """Return the false triggers of devices, each in its window, and the hours in which they were there.

        A device that is away was there until it was last seen; before it was first seen it was not.
        """
        false, hours = 0, 0.0
        names = sorted(windows)
        with self._history.reading() as session:
            for first in range(0, len(names), _DEVICES_A_QUERY):
                some = names[first : first + _DEVICES_A_QUERY]
                for device in session.scalars(select(Device).where(Device.device_id.in_(some))):
                    begin, end = windows[device.device_id]
                    end = end if device.is_online else min(end, device.last_seen_at)
                    hours += max(timedelta(0), end - max(begin, device.first_seen_at)) / timedelta(hours=1)
                asked = select(Event.device_id, Event.received_at).where(
                    Event.device_id.in_(some),
                    Event.name == self._event,
                    Event.received_at >= min(windows[each][0] for each in some),
                    Event.received_at < max(windows[each][1] for each in some),
                )
                if not self._counts_all:
                    asked = asked.where(Event.verdict.in_(FALSE))
                for device_id, received_at in session.execute(asked):
                    begin, end = windows[device_id]
                    false += begin <= received_at < end
        return Heard(false, hours)
