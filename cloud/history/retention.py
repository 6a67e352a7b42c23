"""What is kept, and for how long: events by their age, sounds also by the room that they take."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.history.clips import ClipStore
from cloud.history.models import DONE, AuditLine, Clip, Event
from cloud.history.store import History, delete_event

SOUND_EXPIRED = "sound expired"
_AT_A_TIME = 200


@dataclass(frozen=True)
class Retention:
    """How much is kept; 0 keeps all. Events younger than the limit and undecided ones are never touched."""

    keep_days: float = 0.0
    keep_clips_gb: float = 0.0


@dataclass
class Pruned:
    """What was removed."""

    events: int = 0
    sounds: int = 0
    freed_bytes: int = 0
    event_ids: list[str] = field(default_factory=list)


def prune_some(session: Session, retention: Retention, now: datetime) -> Pruned:
    """Remove the rows of what is kept no longer, the oldest first, a few hundred at most; none when all is well.

    The files of `event_ids` are the caller's to remove after the commit.
    """
    pruned = Pruned()
    if retention.keep_days > 0:
        old = select(Event.event_id).where(
            Event.received_at < now - timedelta(days=retention.keep_days), Event.stage == DONE
        )
        for event_id in list(session.scalars(old.order_by(Event.received_at).limit(_AT_A_TIME))):
            clip = session.get(Clip, event_id)
            pruned.freed_bytes += clip.size_bytes if clip is not None else 0
            pruned.event_ids.append(event_id)
            pruned.events += delete_event(session, event_id, now, action="expired")
        session.flush()
    if retention.keep_clips_gb > 0:
        total = session.scalar(select(func.coalesce(func.sum(Clip.size_bytes), 0))) or 0
        surplus = total - retention.keep_clips_gb * 1e9
        oldest = (
            select(Clip, Event)
            .join(Event, Event.event_id == Clip.event_id)
            .where(Event.stage == DONE)
            .order_by(Clip.received_at)
            .limit(_AT_A_TIME)
        )
        for clip, event in list(session.execute(oldest)) if surplus > 0 else []:
            if surplus <= 0:
                break
            surplus -= clip.size_bytes
            pruned.freed_bytes += clip.size_bytes
            pruned.sounds += 1
            pruned.event_ids.append(clip.event_id)
            session.add(
                AuditLine(
                    at=now,
                    action=SOUND_EXPIRED,
                    event_id=clip.event_id,
                    device_id=clip.device_id,
                    event_name=event.name,
                    account_id=event.account_id,
                )
            )
            session.delete(clip)
    return pruned


def remove_files(event_ids: Iterable[str], clips: ClipStore, pictures: Path) -> None:
    """Remove sounds and pictures; what is gone already is no error."""
    for event_id in event_ids:
        clips.delete(event_id)
        for path in pictures.glob(f"{event_id}-*"):
            path.unlink(missing_ok=True)


def prune(history: History, clips: ClipStore, pictures: Path, retention: Retention, now: datetime) -> Pruned:
    """Remove all that is kept no longer, a few hundred events in a transaction."""
    total = Pruned()
    while True:
        with history.transaction() as session:
            part = prune_some(session, retention, now)
        if not part.event_ids:
            break
        remove_files(part.event_ids, clips, pictures)
        total.events += part.events
        total.sounds += part.sounds
        total.freed_bytes += part.freed_bytes
        total.event_ids += part.event_ids
    if total.event_ids:
        history.erase_deleted()
    return total
