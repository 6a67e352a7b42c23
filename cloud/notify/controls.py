"""Acting on devices for their owners: choices go out as the retained `config`, the rest as commands.

Pages, the JSON interface and Home Assistant all act through here, so that each does the same.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from cloud.accounts.choices import DeviceChoices, choices_of, choose, config_message
from cloud.accounts.reach import Reach
from cloud.history.asked import WAITS_FOR, asked_event
from cloud.history.models import AuditLine
from cloud.history.store import History
from cloud.notify.notifier import Notification
from cloud.pipeline import Publication
from cloud.verdict import Verdict
from edge.catalogue import Catalogue
from edge.contracts import limits, messages
from edge.errors import HarkenError

CLIP_ASKED = "clip asked"
CLIPS_AN_HOUR = 12
"""Of one device: who wants to hear more is listening in."""
_CLIP_REST = timedelta(seconds=limits.ASKED_CLIP_REST_SECONDS + 10)  # the device's own, and what clocks may differ
_SIREN_CAUSE = timedelta(seconds=limits.SIREN_CAUSE_SECONDS)
_NO_EVENT = bytes(limits.EVENT_ID_BYTES)


class TooOftenError(HarkenError):
    """A device was asked for a clip just now, or often enough."""


class Controls:
    """What an owner may do to a device; each call reaches the devices of one home only."""

    def __init__(
        self,
        history: History,
        catalogue: Catalogue,
        publish: Callable[[Publication], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._history = history
        self._catalogue = catalogue
        self._publish = publish
        self._now = now

    def choose(
        self,
        reach: Reach,
        device_id: str,
        *,
        title: str | None = None,
        is_armed: bool | None = None,
        events: Mapping[str, tuple[bool, str]] | None = None,
        sounds_siren: bool | None = None,
    ) -> DeviceChoices | None:
        """Keep choices and send them to the device; None when the home has no such device."""
        known = {name: choice for name, choice in (events or {}).items() if name in self._catalogue}
        with self._history.transaction() as session:
            device = reach.device(session, device_id)
            if device is None:
                return None
            row = choose(
                session,
                device,
                self._now(),
                title=title,
                is_armed=is_armed,
                events=known if events is not None else None,
                sounds_siren=sounds_siren,
            )
            if not row.is_armed:
                row.siren_since = None  # disarming silences the device
        self._publish(Publication(device_id, "config", config_message(row, self._catalogue)))
        return row

    def set_sensitivity(self, reach: Reach, device_id: str, sensitivity: str) -> DeviceChoices | None:
        """Give all events of a device one sensitivity."""
        with self._history.reading() as session:
            device = reach.device(session, device_id)
            if device is None:
                return None
            kept = choices_of(session, device, self._now()).events
        events = {
            spec.name: (bool(kept.get(spec.name, {}).get("is_enabled", spec.is_enabled_by_default)), sensitivity)
            for spec in self._catalogue
        }
        return self.choose(reach, device_id, events=events)

    def silence(self, reach: Reach, device_id: str) -> bool:
        """Stop a device's siren on its owner's word; False when the home has no such device."""
        with self._history.transaction() as session:
            device = reach.device(session, device_id)
            if device is None:
                return False
            row = choices_of(session, device, self._now())
            row.siren_since = None
            session.add(row)
        self._command(device_id, _NO_EVENT, "siren_off")
        return True

    def ask_for_clip(self, reach: Reach, device_id: str, who: str) -> str:
        """Ask a device for one clip now. It is an event of the history from now on, and the device shows it.

        Returns:
            The id of that event.

        Raises:
            TooOftenError: it was asked just now, or too often.
            HarkenError: the home has no such device, or it is not there to ask.
        """
        event_id = os.urandom(limits.EVENT_ID_BYTES - 4) + zlib.crc32(device_id.encode()).to_bytes(4, "big")
        with self._history.transaction() as session:
            device = reach.device(session, device_id)
            if device is None or not device.is_online:
                raise HarkenError(f"{device_id} is not online: it cannot be asked for a clip")
            now = self._now()
            self._check_rest(session, device_id, now)
            session.add(asked_event(event_id.hex(), device, who, now))
            session.add(
                AuditLine(
                    at=now,
                    action=CLIP_ASKED,
                    event_id=event_id.hex(),
                    device_id=device_id,
                    event_name=who[:32],
                    account_id=reach.account_id,
                )
            )
        self._command(device_id, event_id, "clip_now", WAITS_FOR)
        return event_id.hex()

    @staticmethod
    def _check_rest(session: Session, device_id: str, now: datetime) -> None:
        lines = select(AuditLine.at).where(
            AuditLine.device_id == device_id, AuditLine.action == CLIP_ASKED, AuditLine.at > now - timedelta(hours=1)
        )
        asked = sorted(session.scalars(lines))
        if asked and now - asked[-1] < _CLIP_REST:
            left = _CLIP_REST - (now - asked[-1])
            raise TooOftenError(f"{device_id} was asked just now: ask again in {left.total_seconds():.0f} s")
        if len(asked) >= CLIPS_AN_HOUR:
            raise TooOftenError(f"{device_id} was asked {CLIPS_AN_HOUR} times in an hour: ask again later")

    def notify(self, notification: Notification) -> None:
        """Sound the siren of a device whose owner chose so, for an intruder that was confirmed while it was armed."""
        if notification.verdict != Verdict.CONFIRMED:
            return
        with self._history.transaction() as session:
            reach = Reach.of_event(session, notification.event_id)
            event = reach.event(session, notification.event_id) if reach is not None else None
            device = reach.device(session, event.device_id) if reach is not None and event is not None else None
            if event is None or device is None:
                return
            row = session.get(DeviceChoices, device.device_id)
            is_intruder = self._catalogue.by_name(event.name).is_armed_only and event.armed
            is_late = self._now() - event.received_at >= _SIREN_CAUSE  # the device would not sound it either
            if row is None or not row.sounds_siren or not row.is_armed or not is_intruder or is_late:
                return
            if event.verdict != Verdict.CONFIRMED:
                return
            row.siren_since = self._now()
        self._command(device.device_id, bytes.fromhex(notification.event_id), "siren_on", _SIREN_CAUSE)

    def repeat_configs(self) -> None:
        """Send every device its choices once more: a broker that was killed may have forgotten what it retained."""
        with self._history.reading() as session:
            rows = list(session.scalars(select(DeviceChoices)))
        for row in rows:
            self._publish(Publication(row.device_id, "config", config_message(row, self._catalogue)))

    def _command(self, device_id: str, event_id: bytes, command: str, within: timedelta | None = None) -> None:
        """Send a command, one that is done `within` so long or not at all."""
        message = messages.Command(event_id=event_id, command=command)
        stale_s = None if within is None else round(within.total_seconds())
        self._publish(Publication(device_id, "command", message, stale_after_s=stale_s))
