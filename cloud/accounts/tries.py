"""A limit on tries: of passwords, of claim codes, of test messages; one for all servers that share a history.

A try is counted before its outcome is known, and taken back when it has passed: so that many at the same moment, or on
several servers, are no more tries than one after another. What was tried is kept as a digest, because people type
passwords into fields for names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text

from cloud.accounts.models import Try
from cloud.accounts.secrets import digest
from cloud.history.store import History

TRIES = 8
WINDOW = timedelta(minutes=5)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


@dataclass(frozen=True)
class Attempt:
    """A try: `wait_s` above 0 says that it must not be made, and when the next may be; then it was not counted."""

    wait_s: float
    keys: tuple[str, ...] = ()
    row_ids: tuple[int, ...] = ()


class TryLimit:
    """At most `TRIES` tries that have not passed, for a key (a name, an address), in five minutes. From any thread."""

    def __init__(self, history: History, now: Callable[[], datetime]) -> None:
        self._history = history
        self._now = now

    def begin(self, *keys: str) -> Attempt:
        """Count a try for each of these keys, unless one of them has used its tries up."""
        now = self._now()
        digests = tuple(digest(key) for key in keys)
        with self._history.transaction() as session:
            if not self._history.is_sqlite:  # two servers count one after another
                for each in sorted(digests):
                    session.execute(_LOCK, {"key": each})
            session.execute(delete(Try).where(Try.at <= now - WINDOW))
            wait_s = 0.0
            for each in digests:
                recent = list(session.scalars(select(Try.at).where(Try.key_digest == each).order_by(Try.at.desc())))
                if len(recent) >= TRIES:
                    wait_s = max(wait_s, (recent[TRIES - 1] + WINDOW - now).total_seconds())
            if wait_s > 0:
                return Attempt(wait_s)
            rows = [Try(key_digest=each, at=now) for each in digests]
            session.add_all(rows)
            session.flush()
            return Attempt(0.0, digests, tuple(row.id for row in rows))

    def passed(self, attempt: Attempt) -> None:
        """Take a try back, and all of its first key: its owner has shown who they are."""
        with self._history.transaction() as session:
            session.execute(delete(Try).where(Try.key_digest.in_(attempt.keys[:1]) | Try.id.in_(attempt.row_ids)))

    def __len__(self) -> int:
        """Tries that are remembered."""
        with self._history.reading() as session:
            return session.scalar(select(func.count()).select_from(Try)) or 0
