"""The tables of the history: events with their clips and fingerprints, devices, jobs, what was refused, audit lines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Index, LargeBinary, String, Text, TypeDecorator, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# The stages an event passes through. What is not `done` is taken up again after a restart.
RECEIVED = "received"
AWAITING_CLIP = "awaiting_clip"
VERIFYING = "verifying"
DONE = "done"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. SQLite keeps no time zone, so it is put back when a row is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a naive time; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a time zone cannot be stored: use datetime.now(UTC)")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the time its zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The metadata that Alembic compares the database with."""


class Event(Base):
    """One sound that a device suspected, from its trigger to its verdict. Sample counts are the device's own."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_received_at", "received_at"),
        Index("ix_events_stage", "stage"),
        Index("ix_events_device_id", "device_id"),
        Index("ix_events_account_id", "account_id", "received_at", "event_id"),
    )

    event_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(32))
    device_seq: Mapped[int] = mapped_column(BigInteger)
    event_start_sample: Mapped[int] = mapped_column(BigInteger)
    trigger_sample: Mapped[int] = mapped_column(BigInteger)
    score: Mapped[int]
    scores: Mapped[dict[str, int]] = mapped_column(JSON)
    sensitivity: Mapped[str] = mapped_column(String(16))
    armed: Mapped[bool]
    cadence: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    model_hash: Mapped[str] = mapped_column(String(16))
    head_version: Mapped[int]
    clip_policy: Mapped[str] = mapped_column(String(16))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)

    stage: Mapped[str] = mapped_column(String(16))
    clip_deadline_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    media_checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    media_id: Mapped[str | None] = mapped_column(String(32))
    media_title: Mapped[str | None] = mapped_column(Text)
    media_bit_error_rate: Mapped[float | None]
    media_offset_s: Mapped[float | None]
    media_note: Mapped[str] = mapped_column(Text, default="")
    media_has_failed: Mapped[bool] = mapped_column(default=False)
    hinted_media_id: Mapped[str | None] = mapped_column(String(64))
    hinted_z: Mapped[float | None]
    verifier_scores: Mapped[dict[str, float] | None] = mapped_column(JSON)
    verifier_version: Mapped[str | None] = mapped_column(String(64))
    verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    verdict: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text, default="")
    verdict_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    verdict_sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    notified_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    account_id: Mapped[int | None]
    """The home that the device belonged to when the trigger came. None while nobody had claimed it."""
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When somebody of the home first looked at it: reminders end."""


class Clip(Base):
    """Where an event's sound is kept. No foreign key: a clip may arrive before its trigger."""

    __tablename__ = "clips"

    event_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(32))
    first_sample: Mapped[int] = mapped_column(BigInteger)
    trigger_offset: Mapped[int]
    sample_rate_hz: Mapped[int]
    sample_count: Mapped[int]
    block_bytes: Mapped[int]
    size_bytes: Mapped[int]
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Fingerprint(Base):
    """The sub-fingerprints that came with a trigger.

    `words` and `masks` (their reliable bits) are little-endian uint32, `usable` a bit a word. Triggers before
    message version 2 came without masks: theirs are empty.
    """

    __tablename__ = "fingerprints"

    event_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    first_sample: Mapped[int] = mapped_column(BigInteger)
    step_samples: Mapped[int]
    words: Mapped[bytes] = mapped_column(LargeBinary)
    usable: Mapped[bytes] = mapped_column(LargeBinary)
    masks: Mapped[bytes] = mapped_column(LargeBinary, default=b"", server_default=text("''"))


class FurtherWords(Base):
    """Sub-fingerprints of what sounded after a trigger, as they came. No foreign key: a trigger may come after them."""

    __tablename__ = "further_words"

    event_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    first_sample: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    device_id: Mapped[str] = mapped_column(String(32))
    step_samples: Mapped[int]
    words: Mapped[bytes] = mapped_column(LargeBinary)
    usable: Mapped[bytes] = mapped_column(LargeBinary)
    masks: Mapped[bytes] = mapped_column(LargeBinary)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Device(Base):
    """What a device last said of itself, and the home that it belongs to now (None: not claimed)."""

    __tablename__ = "devices"
    __table_args__ = (Index("ix_devices_account_id", "account_id"),)

    device_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    is_online: Mapped[bool] = mapped_column(default=False)
    board: Mapped[str] = mapped_column(String(64), default="")
    firmware: Mapped[str] = mapped_column(String(64), default="")
    model_hash: Mapped[str] = mapped_column(String(16), default="")
    armed: Mapped[bool | None]
    samples_heard: Mapped[int] = mapped_column(BigInteger, default=0)
    triggers_dropped: Mapped[int] = mapped_column(default=0)
    clips_dropped: Mapped[int] = mapped_column(default=0)
    outbox_depth: Mapped[int] = mapped_column(default=0)
    set_version: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    set_code: Mapped[int] = mapped_column(default=0, server_default="0")
    dismissed: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    is_siren_on: Mapped[bool | None]
    """None from firmware that does not say."""
    installed: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """`has_key` and `updates` (part, event, version, fate, code of each), as it last told. None: it never has."""
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    account_id: Mapped[int | None]


class Rejection(Base):
    """How often a message was refused for one cause, with the latest as an example."""

    __tablename__ = "rejections"

    cause: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int]
    last_topic: Mapped[str] = mapped_column(Text)
    last_detail: Mapped[str] = mapped_column(Text)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)


class QuarantinedMessage(Base):
    """A message that could not be acted on, kept for a person to look at; `message_id` is a hash of topic and content.

    `payload` is the message itself, up to `cloud.history.quarantine.PAYLOAD_MAX_BYTES`; never that of a clip, because
    it holds sound.
    """

    __tablename__ = "quarantine"
    __table_args__ = (Index("ix_quarantine_last_at", "last_at"),)

    message_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    cause: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(Text)
    topic: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int]
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    tries: Mapped[int]
    count: Mapped[int]
    first_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)


class VerifierJob(Base):
    """A clip that waits for a worker, is leased to one, or has its finding; gone once the event has its verdict."""

    __tablename__ = "verifier_jobs"
    __table_args__ = (Index("ix_verifier_jobs_waiting", "finished_at", "leased_until"),)

    event_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(32))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    tries: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str] = mapped_column(String(64), default="")
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finding: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AuditLine(Base):
    """What was done to an event, kept when the event itself is gone. Never any audio or fingerprint."""

    __tablename__ = "audit_lines"
    __table_args__ = (
        Index("ix_audit_lines_event_id", "event_id"),
        Index("ix_audit_lines_account_id", "account_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    action: Mapped[str] = mapped_column(String(32))
    event_id: Mapped[str] = mapped_column(String(32))
    device_id: Mapped[str] = mapped_column(String(32))
    event_name: Mapped[str] = mapped_column(String(32))
    account_id: Mapped[int | None]
