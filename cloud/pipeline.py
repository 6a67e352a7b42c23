"""Runs the cloud's steps: many in one durable transaction, and what they cause only after its commit.

A step is a small piece of work on the history. Steps that wait together share one commit, because a durable commit
costs milliseconds whatever it holds. Each runs in a savepoint of its own, so that one that fails takes no other with
it. When the storage itself fails (full disk), nothing is acknowledged and the same steps are tried again until it
works: what a device sent is neither lost nor answered for.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from cloud.history.store import History, first_cause, is_storage_failure
from cloud.notify.notifier import Notification

BATCH_STEPS = 64
TICK_S = 0.25
_RETRY_PAUSE_S = 1.0

log = logging.getLogger("harken.pipeline")


@dataclass(frozen=True)
class Publication:
    """A message for a device: `kind` is its topic's last level. `on_sent` follows the broker's acknowledgement."""

    device_id: str
    kind: str
    message: Any
    on_sent: Callable[[], None] | None = None


@dataclass
class Effects:
    """What steps ask for; done after the commit, never without it."""

    publications: list[Publication] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)
    next_steps: list[Step] = field(default_factory=list)
    actions: list[Callable[[], None]] = field(default_factory=list)

    def extend(self, other: Effects) -> None:
        """Add the effects of one more step."""
        self.publications += other.publications
        self.notifications += other.notifications
        self.next_steps += other.next_steps
        self.actions += other.actions


@dataclass(frozen=True)
class Step:
    """One piece of work.

    `run` works on the session and fills the effects. `acknowledge` is called once the work is durable or given up.
    `on_unstored` is called when the storage refused it (it will be tried again), `on_error` when it raised (it will
    not).
    """

    name: str
    run: Callable[[Session, Effects], None]
    acknowledge: Callable[[], None] | None = None
    on_unstored: Callable[[], None] | None = None
    on_error: Callable[[Exception], None] | None = None


@dataclass
class Counters:
    """What an operator wants to see since the start."""

    steps: int = 0
    commits: int = 0
    step_errors: int = 0
    storage_failures: int = 0
    clip_write_failures: int = 0
    publications: int = 0
    notifications: int = 0
    notification_failures: int = 0


class Pipeline:
    """The one thread that writes the history."""

    def __init__(
        self,
        history: History,
        *,
        publish: Callable[[Publication], None],
        notify: Callable[[Notification], None],
        on_tick: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        """Wire the pipeline.

        Args:
            history: where steps commit.
            publish: hands a message to the broker's client; must not block.
            notify: tells a person.
            on_tick: called every quarter of a second in the pipeline's thread; may submit steps.
            on_change: called after commits that changed something, to refresh pages.
        """
        self._history = history
        self._publish = publish
        self._notify = notify
        self._on_tick = on_tick
        self._on_change = on_change
        self._steps: collections.deque[Step] = collections.deque()
        self._wake = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self.counters = Counters()
        self.storage_error: str | None = None

    @property
    def depth(self) -> int:
        """Steps that wait."""
        return len(self._steps)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Finish the steps that wait, then end."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify_all()
        self._thread.join(timeout_s)

    def submit(self, step: Step) -> None:
        """Queue a step. From any thread."""
        with self._wake:
            self._steps.append(step)
            self._wake.notify_all()

    def _run(self) -> None:
        next_tick = time.monotonic()
        while True:
            with self._wake:
                if not self._steps and not self._is_stopping:
                    self._wake.wait(max(0.0, next_tick - time.monotonic()))
                if not self._steps and self._is_stopping:
                    return
                batch = [self._steps.popleft() for _ in range(min(BATCH_STEPS, len(self._steps)))]
            if batch and not self._commit(batch):
                with self._wake:
                    self._steps.extendleft(reversed(batch))
                    if self._is_stopping:
                        log.error(
                            "stopped with %d steps that could not be stored: devices send them again", len(self._steps)
                        )
                        return
                    self._wake.wait_for(lambda: self._is_stopping, _RETRY_PAUSE_S)
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_S
                try:
                    self._on_tick()
                except Exception:
                    log.exception("the periodic check failed; it runs again")

    def _commit(self, batch: list[Step]) -> bool:
        """Run a batch in one transaction; False when the storage refused all of it."""
        effects = Effects()
        try:
            with self._history.transaction() as session:
                for step in batch:
                    self._run_one(session, step, effects)
        except Exception as error:
            if not is_storage_failure(error):
                log.exception("a commit failed; it is tried again")
            self.counters.storage_failures += 1
            cause = first_cause(error)
            if self.storage_error is None:
                log.error("the history cannot be written (%s): free some disk space; nothing is lost meanwhile", cause)
            self.storage_error = cause
            for step in batch:
                if step.on_unstored is not None:
                    step.on_unstored()
            return False
        if self.storage_error is not None:
            log.warning("the history can be written again")
            self.storage_error = None
        self.counters.commits += 1
        self.counters.steps += len(batch)
        self._cause(effects)
        for step in batch:
            if step.acknowledge is not None:
                step.acknowledge()
        self._on_change()
        return True

    def _run_one(self, session: Session, step: Step, effects: Effects) -> None:
        own = Effects()
        try:
            with session.begin_nested():
                step.run(session, own)
        except Exception as error:
            if is_storage_failure(error):
                raise
            self.counters.step_errors += 1
            log.exception("step %s failed", step.name)
            if step.on_error is not None:
                step.on_error(error)
            return
        effects.extend(own)

    def _cause(self, effects: Effects) -> None:
        for publication in effects.publications:
            self.counters.publications += 1
            self._publish(publication)
        for action in effects.actions:
            try:
                action()
            except Exception:
                log.exception("an effect failed")
        for notification in effects.notifications:
            self.tell(notification)
        with self._wake:
            self._steps.extend(effects.next_steps)

    def tell(self, notification: Notification) -> bool:
        """Notify a person at once; False when that failed, which is counted."""
        try:
            self._notify(notification)
        except Exception:
            self.counters.notification_failures += 1
            log.exception("event %s: the notification failed", notification.event_id)
            return False
        self.counters.notifications += 1
        return True
