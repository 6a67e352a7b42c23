"""Figures over all homes for operators: counts, times and sizes, never whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.history.models import DONE, Clip, Device, Event

_LATENCY_ROWS = 2000


@dataclass(frozen=True)
class Stock:
    """What there is: clips and devices."""

    clips: int
    clip_bytes: int
    devices: int
    devices_online: int


@dataclass(frozen=True)
class Overview:
    """What happened in the last hour and day, and what is kept. Times in seconds, None where nothing happened."""

    events_hour: int
    events_day: int
    undecided: int
    verdict_p50_s: float | None
    verdict_p99_s: float | None
    events_kept: int
    stock: Stock


def stock(session: Session) -> Stock:
    """Count clips and devices."""
    clips, clip_bytes = session.execute(select(func.count(), func.coalesce(func.sum(Clip.size_bytes), 0))).one()
    return Stock(
        clips=clips,
        clip_bytes=int(clip_bytes),
        devices=session.scalar(select(func.count()).select_from(Device)) or 0,
        devices_online=session.scalar(select(func.count()).select_from(Device).where(Device.is_online)) or 0,
    )


def overview(session: Session, now: datetime) -> Overview:
    """Look at the whole history; latencies are of the last day's newest 2,000 verdicts."""

    def count(*conditions: object) -> int:
        return session.scalar(select(func.count()).select_from(Event).where(*conditions)) or 0  # type: ignore[arg-type]

    newest = (
        select(Event.received_at, Event.verdict_at)
        .where(Event.verdict_at.is_not(None), Event.received_at > now - timedelta(days=1))
        .order_by(Event.received_at.desc())
        .limit(_LATENCY_ROWS)
    )
    took_s = sorted((row.verdict_at - row.received_at).total_seconds() for row in session.execute(newest))
    return Overview(
        events_hour=count(Event.received_at > now - timedelta(hours=1)),
        events_day=count(Event.received_at > now - timedelta(days=1)),
        undecided=count(Event.stage != DONE),
        verdict_p50_s=_quantile(took_s, 0.50),
        verdict_p99_s=_quantile(took_s, 0.99),
        events_kept=count(),
        stock=stock(session),
    )


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
