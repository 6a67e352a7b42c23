"""What owners choose for a device: its name, arming, events and sensitivities, and whether it sounds its siren.

The device gets them as its retained `config`; what an owner said of a verdict is kept here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, Index, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cloud.history.models import Base, Device, UtcDateTime
from edge.catalogue import Catalogue
from edge.contracts import limits, messages

SENSITIVITIES = ("low", "normal", "high")
_SIREN_LASTS = timedelta(seconds=limits.SIREN_SECONDS + 5)
_ANSWERS_WITHIN = timedelta(seconds=5)


class DeviceChoices(Base):
    """An owner's choices for one device. `events` has `is_enabled` and `sensitivity` by event name."""

    __tablename__ = "device_choices"

    device_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    title: Mapped[str] = mapped_column(String(64))
    is_armed: Mapped[bool]
    events: Mapped[dict[str, dict[str, Any]]] = mapped_column(JSON)
    sounds_siren: Mapped[bool]
    siren_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Feedback(Base):
    """What an owner says of a verdict; `label` is what it was instead: an event's name, `other`, or empty."""

    __tablename__ = "feedback"
    __table_args__ = (Index("ix_feedback_account_id", "account_id"),)

    event_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[int]
    user_id: Mapped[int]
    is_right: Mapped[bool]
    label: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True)
class EventChoice:
    """One event's part of the choices."""

    name: str
    title: str
    is_enabled: bool
    sensitivity: str
    is_armed_only: bool
    is_heard: bool
    """Whether the device listens for it now."""


def choices_of(session: Session, device: Device, now: datetime) -> DeviceChoices:
    """A device's choices; those of a device that nobody has chosen for are what it reported, and the defaults."""
    row = session.get(DeviceChoices, device.device_id)
    if row is None:
        row = DeviceChoices(
            device_id=device.device_id,
            title="",
            is_armed=bool(device.armed),
            events={},
            sounds_siren=False,
            siren_since=None,
            changed_at=now,
        )
    return row


def has_siren_on(row: DeviceChoices, device: Device, now: datetime) -> bool:
    """Whether the siren is on: what the device says, and until it has said so, that it was told.

    One that went offline with its siren on stops by itself.
    """
    if row.siren_since is None or now - row.siren_since > _SIREN_LASTS:
        return False
    is_told_just_now = now - row.siren_since < _ANSWERS_WITHIN
    return device.is_siren_on is not False or is_told_just_now


def event_choices(row: DeviceChoices, catalogue: Catalogue) -> list[EventChoice]:
    """The choices for every event, with the catalogue's defaults where nothing was chosen."""
    chosen = []
    for spec in catalogue:
        kept = row.events.get(spec.name, {})
        sensitivity = kept.get("sensitivity", spec.default_sensitivity)
        is_enabled = bool(kept.get("is_enabled", spec.is_enabled_by_default))
        chosen.append(
            EventChoice(
                spec.name,
                spec.title,
                is_enabled,
                sensitivity if sensitivity in SENSITIVITIES else spec.default_sensitivity,
                spec.is_armed_only,
                is_enabled and (row.is_armed or not spec.is_armed_only),
            )
        )
    return chosen


def choose(
    session: Session,
    device: Device,
    now: datetime,
    *,
    title: str | None = None,
    is_armed: bool | None = None,
    events: Mapping[str, tuple[bool, str]] | None = None,
    sounds_siren: bool | None = None,
) -> DeviceChoices:
    """Keep choices; None leaves one as it was. `events` maps a name to (enabled, sensitivity)."""
    row = choices_of(session, device, now)
    if title is not None:
        row.title = " ".join(title.split())[:64]
    if is_armed is not None:
        row.is_armed = is_armed
    if events is not None:
        changed = {
            name: {"is_enabled": is_enabled, "sensitivity": sensitivity}
            for name, (is_enabled, sensitivity) in events.items()
            if sensitivity in SENSITIVITIES
        }
        row.events = {**row.events, **changed}
    if sounds_siren is not None:
        row.sounds_siren = sounds_siren
    row.changed_at = now
    session.add(row)
    return row


def config_message(row: DeviceChoices, catalogue: Catalogue) -> messages.Config:
    """The choices as the device reads them."""
    return messages.Config(
        is_armed=row.is_armed,
        events={
            each.name: messages.EventSetting(each.is_enabled, each.sensitivity)
            for each in event_choices(row, catalogue)
            if each.name in row.events
        },
    )


def titles(session: Session, devices: list[Device]) -> dict[str, str]:
    """What people call these devices, by id: their own ids where nobody named them."""
    query = select(DeviceChoices.device_id, DeviceChoices.title)
    named = {
        row[0]: row[1]
        for row in session.execute(query.where(DeviceChoices.device_id.in_([each.device_id for each in devices])))
    }
    return {each.device_id: named.get(each.device_id) or each.device_id for each in devices}
