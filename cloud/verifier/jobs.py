"""The verifier's jobs in the history: put by whoever stored a clip, leased by workers, finished with a finding.

A job is put in the transaction that moves its event to `verifying`, so that there is never one without the other. A
worker leases jobs for a while (`FOR UPDATE SKIP LOCKED`: no two get the same, nobody waits for another); if it dies,
the lease runs out and the next takes them. A job that has cost three workers their lease is not handed out again: it
ends in a finding that says so. Leases are timed by the database's clock, because workers' own may be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cloud.history.models import VerifierJob
from cloud.history.store import History
from cloud.verdict import VerifierFinding

LEASE_S = 30.0
MAX_TRIES = 3


@dataclass(frozen=True)
class Lease:
    """A job in a worker's hands."""

    event_id: str
    tries: int


class JobQueue:
    """The table of jobs. Safe for any number of workers and servers where the database has row locks."""

    def __init__(self, history: History, lease_s: float = LEASE_S) -> None:
        """`lease_s` is how long a worker may take for what it has leased."""
        self._history = history
        self._lease = timedelta(seconds=lease_s)

    def put(self, session: Session, event_id: str, device_id: str, at: datetime) -> None:
        """Ask for a judgement, in the caller's transaction. Asking again while it waits changes nothing."""
        job = session.get(VerifierJob, event_id)
        if job is None:
            session.add(VerifierJob(event_id=event_id, device_id=device_id, asked_at=at))
        elif job.finished_at is not None:
            job.asked_at, job.tries, job.leased_until, job.finding, job.finished_at = at, 0, None, None, None

    def remove(self, session: Session, event_id: str) -> None:
        """Forget a job, in the caller's transaction: its event has its verdict, or is deleted."""
        job = session.get(VerifierJob, event_id)
        if job is not None:
            session.delete(job)

    def lease(self, worker: str, count: int) -> list[Lease]:
        """Take up to `count` of the oldest jobs that nobody works on."""
        taken: list[Lease] = []
        with self._history.transaction() as session:
            now = self._clock(session)
            for job in session.scalars(self._free(now).limit(count).with_for_update(skip_locked=True)):
                if job.tries >= MAX_TRIES:
                    _finish(job, VerifierFinding.failed(f"{MAX_TRIES} workers ended while they judged it"), now)
                    continue
                job.tries += 1
                job.worker, job.leased_until = worker[:64], now + self._lease
                taken.append(Lease(job.event_id, job.tries))
        return taken

    def finish(self, worker: str, findings: dict[str, VerifierFinding]) -> int:
        """Store what a worker found, by event id; returns how many count. A job leased to another by now does not."""
        stored = 0
        with self._history.transaction() as session:
            now = self._clock(session)
            mine = select(VerifierJob).where(
                VerifierJob.event_id.in_(findings), VerifierJob.worker == worker[:64], VerifierJob.finished_at.is_(None)
            )
            for job in session.scalars(mine.with_for_update(skip_locked=True)):
                _finish(job, findings[job.event_id], now)
                stored += 1
        return stored

    def finished(self, session: Session, limit: int = 256) -> list[tuple[str, str, VerifierFinding]]:
        """Event id, device id and finding of the jobs that wait for their verdict."""
        query = select(VerifierJob).where(VerifierJob.finished_at.is_not(None)).order_by(VerifierJob.finished_at)
        return [
            (job.event_id, job.device_id, finding_from_json(job.finding or {}))
            for job in session.scalars(query.limit(limit))
        ]

    def waiting(self, session: Session) -> int:
        """How many jobs have no finding yet."""
        query = select(func.count()).select_from(VerifierJob).where(VerifierJob.finished_at.is_(None))
        return session.scalar(query) or 0

    def _free(self, now: datetime) -> Any:
        # A lease that ends later than any lease given now was given by a clock that was wrong.
        is_free = (
            VerifierJob.leased_until.is_(None)
            | (VerifierJob.leased_until <= now)
            | (VerifierJob.leased_until > now + 2 * self._lease)
        )
        return select(VerifierJob).where(VerifierJob.finished_at.is_(None), is_free).order_by(VerifierJob.asked_at)

    def _clock(self, session: Session) -> datetime:
        if self._history.is_sqlite:
            return datetime.now(UTC)
        now: datetime = session.scalars(select(func.clock_timestamp())).one()
        return now.astimezone(UTC)


def _finish(job: VerifierJob, finding: VerifierFinding, at: datetime) -> None:
    job.finding, job.finished_at = finding_to_json(finding), at


def finding_to_json(finding: VerifierFinding) -> dict[str, Any]:
    """A finding as a row keeps it."""
    return {
        "scores": dict(finding.scores),
        "thresholds": dict(finding.thresholds),
        "version": finding.version,
        "error": finding.error,
    }


def finding_from_json(kept: dict[str, Any]) -> VerifierFinding:
    """A finding as a row has kept it."""
    return VerifierFinding(
        kept.get("scores", {}), kept.get("thresholds", {}), kept.get("version", ""), kept.get("error")
    )
