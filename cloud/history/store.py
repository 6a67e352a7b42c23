"""The history's database: opened, migrated, and written one transaction at a time."""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Table, bindparam, create_engine, delete, event, func, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

import cloud.accounts.models  # noqa: F401 - its tables belong to the same database
from cloud.accounts.choices import Feedback
from cloud.history.batch import FINAL_ACTIONS, BatchSession, Reads
from cloud.history.models import (
    AuditLine,
    Base,
    Clip,
    Device,
    Event,
    Fingerprint,
    FurtherWords,
    Rejection,
    VerifierJob,
)
from cloud.notify.models import Notice
from edge.errors import HarkenError

MIGRATIONS = Path(__file__).with_name("migrations")
# What SQLite says when the disk and not the statement is at fault. On a full disk it gives up the whole transaction, so
# that what is reported last is often the savepoint that went with it.
_STORAGE_TEXTS = (
    "database or disk is full",
    "disk i/o error",
    "no such savepoint",
    "database is locked",
    "readonly database",
    "unable to open database file",
)

# PostgreSQL's SQLSTATE classes of the same: connection, transaction (a deadlock, another's write), resources,
# operator's intervention, system.
_TRANSIENT_SQLSTATES = ("08", "40", "53", "55", "57", "58")
_MIGRATION_LOCK = 1 << 33
_DEVICE_LOCKS = 1 << 32
_LOCK_DEVICES = text(
    "SELECT pg_advisory_xact_lock(:space + key) FROM (SELECT unnest(CAST(:keys AS bigint[])) AS key) AS device"
)

log = logging.getLogger("harken.history")


def is_storage_failure(error: BaseException) -> bool:
    """Whether the database itself refused (full disk, lost file), so that the same work may succeed later."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or (getattr(error.orig, "sqlstate", None) or "")[:2] in _TRANSIENT_SQLSTATES:
        return True
    return any(cause in str(error.orig).lower() for cause in _STORAGE_TEXTS)


def first_cause(error: BaseException) -> str:
    """What went wrong first, in the database's own words: the rest is what follows from it."""
    causes: list[str] = []
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, DBAPIError):
            causes.append(str(link.orig))
        link = link.__context__
    return causes[-1] if causes else str(error)


class History:
    """The one owner of the database.

    SQLite in WAL mode with `synchronous=FULL`: what is committed survives a power cut. Deleted content is
    overwritten (`secure_delete`). Readers never wait; writers take turns in this process.
    """

    def __init__(self, url: str, revision: str = "head") -> None:
        """Open the database at a SQLAlchemy URL and bring it to the newest shape (or another).

        Raises:
            HarkenError: it cannot be opened, or it was made by a newer Harken.
        """
        self._writing = threading.Lock()
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        engine = create_engine(url)
        if self.is_sqlite:
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        self._engine = engine if self.is_sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        self._writer = engine.execution_options(harken_writes=True)
        try:
            self._migrate(revision)
        except DBAPIError as error:
            raise HarkenError(
                f"the history {url} cannot be opened ({error.orig}): check the folder's rights and space"
            ) from error

    @classmethod
    def made_at(cls, url: str, revision: str) -> History:
        """A new database in the shape that it had at a revision.

        Raises:
            HarkenError: a newer Harken made that shape.
        """
        return cls(url, revision)

    def _migrate(self, revision: str) -> None:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._writing, self._writer.begin() as connection:
            if not self.is_sqlite:  # servers that start together migrate one after another
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, revision)
            except Exception as error:
                if "Can't locate revision" in str(error):
                    raise HarkenError(
                        "the history was written by a newer Harken: update this one, or choose another --data-dir"
                    ) from error
                raise

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session that commits at the end of the block and is durable then; an error undoes all of it."""
        with self._writing, Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def batch(self, reads: Reads, device_ids: Collection[str]) -> Iterator[BatchSession]:
        """The same for a batch of steps on these devices, with rows that are read beforehand.

        Where several servers share the history, the batch first waits for its turn at each of the devices: what one
        device sent is worked on by one server at a time. The locks are taken in one order, so that no two wait for
        each other.
        """
        with self._writing, BatchSession(self._writer, expire_on_commit=False) as session, session.begin():
            if not self.is_sqlite and device_ids:
                keys = sorted({zlib.crc32(device_id.encode()) for device_id in device_ids})
                session.execute(_LOCK_DEVICES, {"space": _DEVICE_LOCKS, "keys": keys})
            session.preload(reads)
            yield session
            session.flush()  # a commit asks for none where there are no objects to write

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session over one unchanging view of the history."""
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    def erase_deleted(self) -> None:
        """Empty the write-ahead log, so that deleted rows leave no copy on the disk."""
        if self.is_sqlite:
            with self._writing, self._engine.connect() as connection:
                driver = connection.connection.driver_connection
                if driver is not None:
                    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own implicit BEGIN would leave SAVEPOINTs outside of a transaction; `_begin_sqlite` begins instead.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock first, so that a transaction that reads and then writes cannot fail half-way.
    writes = connection.get_execution_options().get("harken_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def count_rejection(session: Session, cause: str, topic: str, detail: str, at: datetime) -> None:
    """Add one refused message to its cause."""
    row = session.get(Rejection, cause)
    if row is None:
        row = Rejection(cause=cause, count=0, last_topic="", last_detail="", last_at=at)
        session.add(row)
    row.count += 1
    row.last_topic, row.last_detail, row.last_at = topic[:200].replace("\0", ""), detail[:400].replace("\0", ""), at


def is_deleted(session: Session, event_id: str) -> bool:
    """Whether this event was deleted or has expired, so that a late copy of it must not bring it back."""
    if isinstance(session, BatchSession) and (is_gone := session.is_gone(event_id)) is not None:
        return is_gone
    query = select(AuditLine.id).where(AuditLine.event_id == event_id, AuditLine.action.in_(FINAL_ACTIONS))
    return session.scalars(query.limit(1)).first() is not None


def write_new(session: Session, model: type[Base], key: str, values: dict[str, Any]) -> None:
    """Write a new row, `values` by column; each row of a table is given the same ones."""
    if isinstance(session, BatchSession):
        session.put(model, key, values)
    else:
        session.add(model(**values))


_EVENTS = cast(Table, Event.__table__)
_VERDICT_SENT = (
    update(_EVENTS)
    .where(Event.event_id == bindparam("of_event"), Event.verdict_at == bindparam("of_verdict"))
    .values(verdict_sent_at=bindparam("at"))
)
_NOTIFIED = update(_EVENTS).where(Event.event_id == bindparam("of_event")).values(notified_at=bindparam("at"))


def mark_verdict_sent(session: Session, event_id: str, verdict_at: datetime, at: datetime) -> None:
    """Note that the device has been sent an event's verdict, unless it has got another one since."""
    if isinstance(session, BatchSession) and not session.is_loaded(Event, event_id):
        session.update_later(_VERDICT_SENT, {"of_event": event_id, "of_verdict": verdict_at, "at": at})
    elif (row := session.get(Event, event_id)) is not None and row.verdict_at == verdict_at:
        row.verdict_sent_at = at


def mark_notified(session: Session, event_id: str, at: datetime) -> None:
    """Note that people have been told of an event."""
    if isinstance(session, BatchSession) and not session.is_loaded(Event, event_id):
        session.update_later(_NOTIFIED, {"of_event": event_id, "at": at})
    elif (row := session.get(Event, event_id)) is not None:
        row.notified_at = at


def further_words(session: Session, event_id: str) -> list[FurtherWords]:
    """All words that came after an event's trigger, in the order of their time."""
    if isinstance(session, BatchSession):
        return session.further_words(event_id)
    query = select(FurtherWords).where(FurtherWords.event_id == event_id).order_by(FurtherWords.first_sample)
    return list(session.scalars(query))


def delete_event(session: Session, event_id: str, at: datetime, action: str = "deleted") -> bool:
    """Remove an event, its fingerprints and its clip's row; leave an audit line. False if there is none.

    Files (clip and picture) are the caller's to remove after the commit.
    """
    row = session.get(Event, event_id)
    if row is None:
        return False
    session.add(
        AuditLine(
            at=at,
            action=action,
            event_id=event_id,
            device_id=row.device_id,
            event_name=row.name,
            account_id=row.account_id,
        )
    )
    session.delete(row)
    for table in (Clip, Fingerprint, VerifierJob):
        part = session.get(table, event_id)
        if part is not None:
            session.delete(part)
    for lines in (FurtherWords, Notice, Feedback):
        session.execute(delete(lines).where(lines.event_id == event_id))
    return True


def verdict_counts(session: Session) -> dict[str, int]:
    """How many events have each verdict; undecided ones under `pending`."""
    rows = session.execute(select(Event.verdict, func.count()).group_by(Event.verdict))
    return {verdict or "pending": count for verdict, count in rows}


def device_rows(session: Session) -> list[Device]:
    """All devices, those online first, then by id."""
    return list(session.scalars(select(Device).order_by(Device.is_online.desc(), Device.device_id)))


def can_write(history: History) -> bool:
    """Whether the database takes a write lock now."""
    try:
        with history.transaction() as session:
            session.execute(text("SELECT 1"))
    except DBAPIError:
        return False
    return True
