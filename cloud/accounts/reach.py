"""What a person reaches: the one place where rows of the history are limited to one home.

Pages and interfaces read events, clips, devices and audit lines through `Reach` only (a test holds them to it), so that
a query that forgets whose sound it is cannot be written there. What belongs to another home is answered like what
does not exist.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from cloud.history.models import AuditLine, Clip, Device, Event

_EVENT_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Place:
    """Where a page of the history begins: after this event, in the order newest first."""

    received_at: datetime
    event_id: str


@dataclass(frozen=True)
class Filter:
    """Which events are asked for; empty fields let all pass. `verdict` may be `pending`. Times are aware."""

    verdict: str = ""
    name: str = ""
    device_id: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left out."""
        return self == Filter()


@dataclass(frozen=True)
class Reach:
    """The rows of one home."""

    account_id: int

    @staticmethod
    def of_event(session: Session, event_id: str) -> Reach | None:
        """The reach of the home that an event belongs to, for what the server does on its behalf."""
        row = session.get(Event, event_id)
        return Reach(row.account_id) if row is not None and row.account_id is not None else None

    def event(self, session: Session, event_id: str) -> Event | None:
        """One event, or None: there is none, or it is another's."""
        row = session.get(Event, event_id) if _EVENT_ID.fullmatch(event_id) else None
        return row if row is not None and row.account_id == self.account_id else None

    def clip(self, session: Session, event_id: str) -> Clip | None:
        """The clip of an event that this home reaches."""
        return session.get(Clip, event_id) if self.event(session, event_id) is not None else None

    def events(
        self, session: Session, chosen: Filter, *, after: Place | None = None, before: Place | None = None, limit: int
    ) -> list[Event]:
        """Events newest first, from a place on (or, with `before`, the last ones before a place).

        Keyset paging: page one thousand costs what page one costs, and rows that arrive meanwhile shift nothing.
        """
        query = self._matching(select(Event), chosen)
        if before is not None:
            query = query.where(
                or_(
                    Event.received_at > before.received_at,
                    (Event.received_at == before.received_at) & (Event.event_id > before.event_id),
                )
            )
            rows = session.scalars(query.order_by(Event.received_at, Event.event_id).limit(limit))
            return list(rows)[::-1]
        if after is not None:
            query = query.where(
                or_(
                    Event.received_at < after.received_at,
                    (Event.received_at == after.received_at) & (Event.event_id < after.event_id),
                )
            )
        return list(session.scalars(query.order_by(Event.received_at.desc(), Event.event_id.desc()).limit(limit)))

    def count(self, session: Session, chosen: Filter) -> int:
        """How many events match."""
        return session.scalar(self._matching(select(func.count()).select_from(Event), chosen)) or 0

    def verdict_counts(self, session: Session) -> dict[str, int]:
        """How many events have each verdict; undecided ones under `pending`."""
        query = select(Event.verdict, func.count()).where(Event.account_id == self.account_id).group_by(Event.verdict)
        return {verdict or "pending": count for verdict, count in session.execute(query)}

    def with_clip(self, session: Session, rows: Sequence[Event]) -> set[str]:
        """Which of these events have a clip."""
        return set(session.scalars(select(Clip.event_id).where(Clip.event_id.in_([row.event_id for row in rows]))))

    def devices(self, session: Session) -> list[Device]:
        """The home's devices, those online first, then by id."""
        query = select(Device).where(Device.account_id == self.account_id)
        return list(session.scalars(query.order_by(Device.is_online.desc(), Device.device_id)))

    def device(self, session: Session, device_id: str) -> Device | None:
        """One device, or None: there is none, or it is another's."""
        row = session.get(Device, device_id)
        return row if row is not None and row.account_id == self.account_id else None

    def event_counts(self, session: Session) -> dict[str, int]:
        """How many events each device of the home reported."""
        query = (
            select(Event.device_id, func.count()).where(Event.account_id == self.account_id).group_by(Event.device_id)
        )
        return {row[0]: row[1] for row in session.execute(query)}

    def audit_lines(self, session: Session, limit: int) -> list[AuditLine]:
        """What was deleted, newest first."""
        query = select(AuditLine).where(AuditLine.account_id == self.account_id)
        return list(session.scalars(query.order_by(AuditLine.id.desc()).limit(limit)))

    def _matching(self, query: Select[Any], chosen: Filter) -> Select[Any]:
        query = query.where(Event.account_id == self.account_id)
        if chosen.verdict:
            query = query.where(
                Event.verdict.is_(None) if chosen.verdict == "pending" else Event.verdict == chosen.verdict
            )
        if chosen.name:
            query = query.where(Event.name == chosen.name)
        if chosen.device_id:
            query = query.where(Event.device_id == chosen.device_id)
        if chosen.since is not None:
            query = query.where(Event.received_at >= chosen.since)
        if chosen.until is not None:
            query = query.where(Event.received_at < chosen.until)
        return query


def unclaimed_devices(session: Session, limit: int = 200) -> list[Device]:
    """Devices that belong to nobody, for admins: they show that a device is there, never what it heard."""
    query = select(Device).where(Device.account_id.is_(None)).order_by(Device.last_seen_at.desc())
    return list(session.scalars(query.limit(limit)))
