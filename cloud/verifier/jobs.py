"""The verifier's jobs in the history: put by whoever stored a clip, leased by workers, finished with a finding.

A job is put in the transaction that moves its event to `verifying`, so that there is never one without the other. A
worker leases jobs for a while (`FOR UPDATE SKIP LOCKED`: no two get the same, nobody waits for another); if it dies,
the lease runs out and the next takes them. A job that has cost three workers their lease is not handed out again: it
ends in a finding that says so. Leases are timed by the database's clock, because workers' own may be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, Table, bindparam, func, select, update
from sqlalchemy.orm import Session

from cloud.history.models import Clip, VerifierJob
from cloud.history.store import History
from cloud.verdict import Measured, VerifierFinding

_JOBS = cast(Table, VerifierJob.__table__)
_FINISH = (
    update(_JOBS)
    .where(_JOBS.c.event_id == bindparam("of_event"))
    .values(finding=bindparam("found"), finished_at=bindparam("found_at"))
)
LEASE_S = 30.0
MAX_TRIES = 3


@dataclass(frozen=True)
class Lease:
    """A job in a worker's hands."""

    event_id: str
    tries: int
    clip: Clip | None = None
    """Where its sound is kept; None where the event has none any more."""


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
        return self.exchange(worker, {}, count)[1]

    def finish(self, worker: str, findings: Mapping[str, VerifierFinding]) -> int:
        """Store what a worker found, by event id; returns how many count. A job leased to another by now does not."""
        return self.exchange(worker, findings, 0)[0]

    def exchange(self, worker: str, findings: Mapping[str, VerifierFinding], count: int) -> tuple[int, list[Lease]]:
        """Finish jobs and lease others, as `finish` and `lease` do, in one transaction: each costs as much as a clip.

        Returns how many findings count, and the leases.
        """
        with self._history.transaction() as session:
            now = self._clock(session)
            return self._store(session, worker, findings, now), self._leased(session, worker, count, now)

    def _store(self, session: Session, worker: str, findings: Mapping[str, VerifierFinding], now: datetime) -> int:
        if not findings:
            return 0
        is_mine = _JOBS.c.event_id.in_(findings) & (_JOBS.c.worker == worker[:64]) & _JOBS.c.finished_at.is_(None)
        mine = list(session.scalars(select(_JOBS.c.event_id).where(is_mine).with_for_update(skip_locked=True)))
        found = [
            {"of_event": event_id, "found": finding_to_json(findings[event_id]), "found_at": now} for event_id in mine
        ]
        if found:
            session.connection().execute(_FINISH, found)
        return len(found)

    def _leased(self, session: Session, worker: str, count: int, now: datetime) -> list[Lease]:
        if count <= 0:
            return []
        ended = VerifierFinding.failed(f"{MAX_TRIES} workers ended while they judged it")
        is_given_up = self._is_free(now) & (_JOBS.c.tries >= MAX_TRIES)
        session.execute(update(_JOBS).where(is_given_up).values(finding=finding_to_json(ended), finished_at=now))
        free = select(_JOBS.c.event_id).where(self._is_free(now)).order_by(_JOBS.c.asked_at)
        wanted = list(session.scalars(free.limit(count).with_for_update(skip_locked=True)))
        if not wanted:
            return []
        until = {"tries": _JOBS.c.tries + 1, "worker": worker[:64], "leased_until": now + self._lease}
        taking = update(_JOBS).where(_JOBS.c.event_id.in_(wanted)).values(until)
        returned = session.execute(taking.returning(_JOBS.c.event_id, _JOBS.c.tries))
        tries = {row.event_id: row.tries for row in returned}
        clips = {clip.event_id: clip for clip in session.scalars(select(Clip).where(Clip.event_id.in_(wanted)))}
        return [Lease(event_id, tries[event_id], clips.get(event_id)) for event_id in wanted]

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

    def _is_free(self, now: datetime) -> ColumnElement[bool]:
        # A lease that ends later than any lease given now was given by a clock that was wrong.
        until = _JOBS.c.leased_until
        return _JOBS.c.finished_at.is_(None) & (until.is_(None) | (until <= now) | (until > now + 2 * self._lease))

    def _clock(self, session: Session) -> datetime:
        if self._history.is_sqlite:
            return datetime.now(UTC)
        now: datetime = session.scalars(select(func.clock_timestamp())).one()
        return now.astimezone(UTC)


def finding_to_json(finding: VerifierFinding) -> dict[str, Any]:
    """A finding as a row keeps it."""
    return {
        "scores": dict(finding.scores),
        "thresholds": dict(finding.thresholds),
        "version": finding.version,
        "error": finding.error,
        "measured": None if finding.measured is None else asdict(finding.measured),
    }


def finding_from_json(kept: dict[str, Any]) -> VerifierFinding:
    """A finding as a row has kept it."""
    measured = kept.get("measured")
    return VerifierFinding(
        kept.get("scores", {}),
        kept.get("thresholds", {}),
        kept.get("version", ""),
        kept.get("error"),
        None if measured is None else Measured(**measured),
    )
