"""The outbox of notices: written when a verdict is told, delivered by one of the servers, tried again until sent.

verdict ─▶ a notice for each target of the home that asked for this event ─▶ sent ─▶ for a safety event that nobody
           (held until the end of quiet hours, unless it is a safety event)          has looked at: a reminder later
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import BindParameter, bindparam, delete, select, update
from sqlalchemy.orm import Session

from cloud.history.models import Event
from cloud.history.store import History, is_storage_failure
from cloud.notify.models import Notice, NotifyTarget
from cloud.notify.notifier import Notification
from cloud.verdict import Verdict
from edge.catalogue import Catalogue

LEASE = timedelta(seconds=60)
TRIES = 8
REMINDERS_AFTER = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30, 60))
"""After each word about a safety event that nobody has looked at; then every hour for a day."""
REMIND_FOR = timedelta(hours=24)
KEEP_SENT = timedelta(days=30)
_POLL_S = 1.0

log = logging.getLogger("harken.notify")


@dataclass(frozen=True)
class Message:
    """What a service is given to send. `number` 0 is the first word, those after it are reminders."""

    title: str
    body: str
    url: str
    event_id: str
    is_safety: bool
    number: int
    with_picture: bool


Deliver = Callable[[str, Message], None]
"""Sends a message to an Apprise address; raises OSError or ValueError with the cause when it was not sent."""


def quiet_end(target: NotifyTarget, at: datetime) -> datetime | None:
    """When the target's quiet hours that `at` falls into end; None outside of them."""
    try:
        begin, end = time.fromisoformat(target.quiet_from), time.fromisoformat(target.quiet_until)
        zone = ZoneInfo(target.time_zone)
    except (ValueError, ZoneInfoNotFoundError):
        return None  # never quiet, or hours that cannot be read: then nothing is held back
    if begin == end:
        return None
    local = at.astimezone(zone)
    now = local.time().replace(tzinfo=None)
    is_quiet = begin <= now < end if begin < end else now >= begin or now < end
    if not is_quiet:
        return None
    day = local.date() + timedelta(days=now >= end)
    return datetime.combine(day, end, zone).astimezone(UTC)


class Outbox:
    """Writes notices and delivers them in a thread of its own."""

    def __init__(
        self,
        history: History,
        catalogue: Catalogue,
        deliver: Deliver,
        event_url: Callable[[str], str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Wire the outbox; nothing is delivered before `start`."""
        self._history = history
        self._catalogue = catalogue
        self._deliver = deliver
        self._event_url = event_url
        self._now = now
        self._wake = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self.counters = {"sent": 0, "failed": 0, "given_up": 0}

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the notice that is being delivered; what is left is delivered after the next start."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join(timeout_s)

    def notify(self, notification: Notification) -> None:
        """Write a notice for each target that asked for it, once for each verdict: telling again writes none."""
        self.notify_all([notification])

    def notify_all(self, notifications: Sequence[Notification]) -> None:
        """The same for several, in one transaction that is durable when this returns."""
        now = self._now()
        with self._history.transaction() as session:
            event_ids = {notification.event_id for notification in notifications}
            told = {tuple(row) for row in session.execute(_TOLD, {"event_ids": event_ids})}
            for event, target in session.execute(_TAKERS, {"event_ids": event_ids}):
                if event.name in target.events and (event.event_id, event.verdict, target.id) not in told:
                    session.add(self._notice(target, event, now))
        self._wake.set()

    def _notice(self, target: NotifyTarget, event: Event, now: datetime) -> Notice:
        is_safety = self._catalogue.by_name(event.name).is_safety
        held_until = None if is_safety else quiet_end(target, now)
        return Notice(
            target_id=target.id,
            event_id=event.event_id,
            verdict=event.verdict or Verdict.UNVERIFIED.value,
            number=0,
            due_at=held_until or now,
            tries=0,
            outcome="",
        )

    def deliver_due(self) -> int:
        """Deliver all notices that are due; returns how many were sent. Another server may do the same meanwhile."""
        sent = 0
        while not self._is_stopping and (leased := self._lease()) is not None:
            notice_id, address, message = leased
            error = ""
            if message is not None:
                try:
                    self._deliver(address, message)
                except Exception as failure:  # whatever a service's code does, the others are told
                    error = str(failure) or type(failure).__name__
                    log.warning("event %s: a notice was not sent: %s", message.event_id, error)
            self._finish(notice_id, error, was_sent=message is not None and not error)
            sent += message is not None and not error
        return sent

    def _lease(self) -> tuple[int, str, Message | None] | None:
        """Take the next notice that is due: its id, address and message; no message where there is nothing to tell."""
        now = self._now()
        is_free = Notice.leased_until.is_(None) | (Notice.leased_until < now)
        waiting = select(Notice).where(Notice.sent_at.is_(None), Notice.due_at <= now, is_free)
        with self._history.transaction() as session:
            query = waiting.order_by(Notice.due_at).limit(1).with_for_update(skip_locked=True)
            notice = session.scalars(query).first()
            if notice is None:
                return None
            notice.leased_until = now + LEASE
            notice.tries += 1
            event, target = session.get(Event, notice.event_id), session.get(NotifyTarget, notice.target_id)
            is_settled = (
                event is None
                or target is None
                or not target.is_enabled
                or target.account_id != event.account_id
                or event.verdict != notice.verdict
                or (notice.number > 0 and event.seen_at is not None)
            )
            if is_settled or event is None or target is None:
                return notice.id, "", None
            return notice.id, target.url, self._message(target, event, notice.number)

    def _message(self, target: NotifyTarget, event: Event, number: int) -> Message:
        spec = self._catalogue.by_name(event.name)
        title = f"{spec.title} · {event.device_id}" + (f" · reminder {number}" if number else "")
        at = event.received_at.astimezone(_zone(target)).strftime("%H:%M:%S")
        url = self._event_url(event.event_id)
        word = "Confirmed" if event.verdict == Verdict.CONFIRMED else "Not settled, so it counts as real"
        body = f"{word}, heard at {at}. {event.reason}\n{url}"
        return Message(title, body, url, event.event_id, spec.is_safety, number, target.with_picture)

    def _finish(self, notice_id: int, error: str, *, was_sent: bool) -> None:
        now = self._now()
        with self._history.transaction() as session:
            notice = session.get(Notice, notice_id)
            if notice is None:
                return  # deleted with its event meanwhile
            target = session.get(NotifyTarget, notice.target_id)
            notice.leased_until = None
            if error and notice.tries < TRIES:
                notice.due_at = now + timedelta(seconds=min(600, 5 * 2**notice.tries))
                notice.outcome = error[:400]
                self.counters["failed"] += 1
            else:
                notice.sent_at = now
                notice.outcome = error[:400] or ("sent" if was_sent else "nothing to tell any more")
                self.counters["given_up" if error else "sent"] += bool(error or was_sent)
                if was_sent or error:
                    self._remind(session, notice, now)
            if target is not None and (error or was_sent):
                target.last_error = error[:400]
                target.last_sent_at = now if was_sent else target.last_sent_at

    def _remind(self, session: Session, notice: Notice, now: datetime) -> None:
        """Plan the next word about a safety event that nobody has looked at, also where this one could not be sent."""
        event = session.get(Event, notice.event_id)
        if event is None or event.seen_at is not None or not self._catalogue.by_name(event.name).is_safety:
            return
        due_at = now + REMINDERS_AFTER[min(notice.number, len(REMINDERS_AFTER) - 1)]
        if due_at - event.received_at > REMIND_FOR:
            return
        session.add(
            Notice(
                target_id=notice.target_id,
                event_id=notice.event_id,
                verdict=notice.verdict,
                number=notice.number + 1,
                due_at=due_at,
                tries=0,
                outcome="",
            )
        )

    def forget_old(self) -> None:
        """Remove notices that were sent long ago."""
        with self._history.transaction() as session:
            session.execute(delete(Notice).where(Notice.sent_at < self._now() - KEEP_SENT))

    def _run(self) -> None:
        cleaned_at = datetime.min.replace(tzinfo=UTC)
        while not self._is_stopping:
            try:
                self.deliver_due()
                if self._now() - cleaned_at > timedelta(hours=1):
                    cleaned_at = self._now()
                    self.forget_old()
            except Exception as error:
                if not is_storage_failure(error):
                    log.exception("delivering notices failed; it is tried again")
                self._wake.wait(5 * _POLL_S)
            self._wake.wait(_POLL_S)
            self._wake.clear()


_ASKED: BindParameter[str] = bindparam("event_ids", expanding=True)
_TOLD = select(Notice.event_id, Notice.verdict, Notice.target_id).where(Notice.event_id.in_(_ASKED))
_TAKERS = (
    select(Event, NotifyTarget)
    .join(NotifyTarget, NotifyTarget.account_id == Event.account_id)
    .where(Event.event_id.in_(_ASKED), NotifyTarget.is_enabled.is_(True))
)


def _zone(target: NotifyTarget) -> ZoneInfo:
    try:
        return ZoneInfo(target.time_zone)
    except (ValueError, ZoneInfoNotFoundError):
        return ZoneInfo("UTC")


def mark_seen(session: Session, event: Event, at: datetime) -> None:
    """Somebody of the home has looked at the event: no reminders any more."""
    if event.seen_at is None:
        event.seen_at = at
        session.execute(
            update(Notice)
            .where(Notice.event_id == event.event_id, Notice.number > 0, Notice.sent_at.is_(None))
            .values(sent_at=at, outcome="seen before it was due")
        )
