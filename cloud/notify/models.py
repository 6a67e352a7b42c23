"""The tables of telling people: where, and what is still to be told.

A notice is a row before anything is sent, so that a restart loses none; it names its event and holds no sentence about
it, so that what its owner has deleted is not told any more.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cloud.history.models import Base, UtcDateTime


class NotifyTarget(Base):
    """Where a home is told: an Apprise address (which holds its service's secret), for which events, and when not.

    `events` are names of the catalogue. `quiet_from` and `quiet_until` are local times, `22:00`, in `time_zone`; both
    empty where it is never quiet.
    """

    __tablename__ = "notify_targets"
    __table_args__ = (Index("ix_notify_targets_account_id", "account_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    account_id: Mapped[int]
    name: Mapped[str] = mapped_column(String(64))
    url: Mapped[str] = mapped_column(Text)
    is_enabled: Mapped[bool] = mapped_column(default=True)
    events: Mapped[list[str]] = mapped_column(JSON)
    with_picture: Mapped[bool] = mapped_column(default=True)
    quiet_from: Mapped[str] = mapped_column(String(5), default="")
    quiet_until: Mapped[str] = mapped_column(String(5), default="")
    time_zone: Mapped[str] = mapped_column(String(64), default="UTC")
    last_sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str] = mapped_column(Text, default="")


class Notice(Base):
    """One message to one target: `number` 0 is the first word of a verdict, those after it are reminders."""

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("target_id", "event_id", "verdict", "number"),
        Index("ix_notices_waiting", "sent_at", "due_at"),
        Index("ix_notices_event_id", "event_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    target_id: Mapped[int]
    event_id: Mapped[str] = mapped_column(String(32))
    verdict: Mapped[str] = mapped_column(String(16))
    number: Mapped[int]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    tries: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str] = mapped_column(Text, default="")
