"""Where messages go that cannot be acted on: counted by cause, and kept for a person to look at."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from cloud.history.models import QuarantinedMessage
from cloud.history.store import count_rejection

PAYLOAD_MAX_BYTES = 2048
KEPT_MESSAGES = 1000
"""Beyond these the oldest are dropped (their counts stay), so that a device gone mad cannot fill the disk."""


@dataclass(frozen=True)
class BadMessage:
    """A message and what is wrong with it. `cause` is counted, `detail` is for people; `tries` is how often it ran."""

    topic: str
    payload: bytes
    cause: str
    detail: str
    tries: int = 1

    @property
    def message_id(self) -> str:
        """The same for the same bytes on the same topic."""
        return hashlib.sha256(self.topic.encode(errors="replace") + b"\0" + self.payload).hexdigest()[:32]


def quarantine(session: Session, bad: BadMessage, at: datetime) -> None:
    """Count a message by its cause and keep it; one that came before is counted again and not kept twice."""
    count_rejection(session, bad.cause, bad.topic, bad.detail, at)
    row = session.get(QuarantinedMessage, bad.message_id)
    if row is not None:
        row.count += 1
        row.last_at, row.cause, row.tries = at, bad.cause, bad.tries
        return
    holds_sound = bad.topic.endswith("/clip")
    is_kept = not holds_sound and len(bad.payload) <= PAYLOAD_MAX_BYTES
    session.add(
        QuarantinedMessage(
            message_id=bad.message_id,
            cause=bad.cause,
            detail=bad.detail[:400].replace("\0", ""),
            topic=bad.topic[:200].replace("\0", ""),
            size_bytes=len(bad.payload),
            payload=bad.payload if is_kept else None,
            tries=bad.tries,
            count=1,
            first_at=at,
            last_at=at,
        )
    )
    session.flush()
    surplus = (session.scalar(select(func.count()).select_from(QuarantinedMessage)) or 0) - KEPT_MESSAGES
    if surplus > 0:
        oldest = select(QuarantinedMessage.message_id).order_by(QuarantinedMessage.last_at).limit(surplus)
        session.execute(delete(QuarantinedMessage).where(QuarantinedMessage.message_id.in_(oldest)))


def quarantined(session: Session, limit: int = 100) -> list[QuarantinedMessage]:
    """The latest messages in quarantine, newest first."""
    return list(session.scalars(select(QuarantinedMessage).order_by(QuarantinedMessage.last_at.desc()).limit(limit)))
