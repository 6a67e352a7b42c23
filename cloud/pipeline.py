"""Runs the cloud's steps: many in one durable transaction, and what they cause only after its commit.

A step is a small piece of work on the history. Steps that wait together share one commit, because a durable commit
costs milliseconds whatever it holds, and their rows are read and written together. Should one of them fail, all is
undone and each runs again in a savepoint of its own, so that the one that fails takes no other with it. That one is
tried three times in all, with what came after it from the same device waiting behind it, and then given up: its
`on_error` puts it where a person sees it. When the storage itself fails (full disk), nothing is acknowledged and the
same steps are tried again until it works: what a device sent is neither lost nor answered for.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from cloud.history.models import Base, Device, Event
from cloud.history.store import History, first_cause, is_storage_failure
from cloud.notify.notifier import Notification
from cloud.observability.logs import about
from cloud.observability.metrics import Histogram

BATCH_STEPS = 64
BATCH_S = 0.1
"""When a batch has taken so long, the judgements that it still holds wait for the next: receipts come first."""
GATHER_S = 0.04
"""Batches begin so far apart: each costs some milliseconds whatever it holds, so that under load one takes a dozen
triggers, and a lone one still goes at once."""
TICK_S = 0.25
STEP_TRIES = 3
_STORAGE_PAUSE_S = 1.0
_STEP_PAUSE_S = 0.2

log = logging.getLogger("harken.pipeline")


@dataclass(frozen=True)
class Publication:
    """A message for a device: `kind` is its topic's last level. `on_sent` follows the broker's acknowledgement.

    `stale_after_s` says for how long it is of use to a device that is away; a broker that speaks MQTT 5 drops it then.
    """

    device_id: str
    kind: str
    message: Any
    on_sent: Callable[[], None] | None = None
    stale_after_s: int | None = None


@dataclass(frozen=True)
class ToTell:
    """Somebody is to be told; `on_told` follows once that is done."""

    notification: Notification
    on_told: Callable[[], None]


@dataclass
class Effects:
    """What steps ask for; done after the commit, never without it."""

    publications: list[Publication] = field(default_factory=list)
    tellings: list[ToTell] = field(default_factory=list)
    next_steps: list[Step] = field(default_factory=list)
    actions: list[Callable[[], None]] = field(default_factory=list)

    def extend(self, other: Effects) -> None:
        """Add the effects of one more step."""
        self.publications += other.publications
        self.tellings += other.tellings
        self.next_steps += other.next_steps
        self.actions += other.actions


@dataclass(frozen=True)
class Step:
    """One piece of work.

    `run` works on the session and fills the effects; it may run several times before it counts. `acknowledge` is
    called once the work is durable or given up. `on_unstored` is called when the storage refused it (it will be tried
    again), `on_error` when it has raised for the last time. Steps of one `device_id` keep their order. `reads` are the
    tables of which `run` will ask for the rows of `event_id` (of devices for that of `device_id`): they are read for
    all steps of a batch at once. A judgement (every step that another asks for) may wait for its turn.
    """

    name: str
    run: Callable[[Session, Effects], None]
    acknowledge: Callable[[], None] | None = None
    on_unstored: Callable[[], None] | None = None
    on_error: Callable[[Exception], None] | None = None
    device_id: str = ""
    event_id: str = ""
    reads: tuple[type[Base], ...] = (Event,)
    is_judgement: bool = False
    tries: int = 0
    made_at: float = field(default_factory=time.monotonic)


@dataclass
class Counters:
    """What an operator wants to see since the start."""

    steps: int = 0
    commits: int = 0
    batches_redone: int = 0
    step_errors: int = 0
    steps_given_up: int = 0
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
        notify: Callable[[Sequence[Notification]], Collection[str]],
        on_tick: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        """Wire the pipeline.

        Args:
            history: where steps commit.
            publish: hands a message to the broker's client; must not block.
            notify: tells people; returns the ids of the events of which somebody could not be told.
            on_tick: called every quarter of a second in the pipeline's thread; may submit steps.
            on_change: called after commits that changed something, to refresh pages.
        """
        self._history = history
        self._publish = publish
        self._notify = notify
        self._on_tick = on_tick
        self._on_change = on_change
        self._steps: collections.deque[Step] = collections.deque()
        self._judgements: collections.deque[Step] = collections.deque()
        self._held: dict[str, _Held] = {}
        self._wake = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)
        self.counters = Counters()
        self.receipt_seconds = Histogram()
        self.storage_error: str | None = None

    @property
    def depth(self) -> int:
        """Steps that wait."""
        return len(self._steps) + len(self._judgements) + sum(len(held.steps) for held in list(self._held.values()))

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
            if len(self._steps) in (1, BATCH_STEPS):
                self._wake.notify_all()

    def _run(self) -> None:
        next_tick = began = time.monotonic()
        while True:
            with self._wake:
                self._release_held()
                if not self._steps and not self._judgements and not self._is_stopping:
                    self._wake.wait(max(0.0, next_tick - time.monotonic()))
                if not self._steps and not self._judgements and self._is_stopping:
                    return  # a step that is held is not acknowledged, so its sender sends it again
                if self._steps or self._judgements:
                    self._gather(began + GATHER_S)
                    began = time.monotonic()
                batch = self._next_batch()
            if batch and not self._commit(batch):
                with self._wake:
                    self._steps.extendleft(reversed(batch))
                    if self._is_stopping:
                        log.error(
                            "stopped with %d steps that could not be stored: devices send them again", len(self._steps)
                        )
                        return
                    self._wake.wait_for(lambda: self._is_stopping, _STORAGE_PAUSE_S)
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + TICK_S
                try:
                    self._on_tick()
                except Exception:
                    log.exception("the periodic check failed; it runs again")

    def _gather(self, until: float) -> None:
        """Wait for more steps, until a moment on the monotonic clock or until a batch is full."""
        while len(self._steps) < BATCH_STEPS and not self._is_stopping and (left_s := until - time.monotonic()) > 0:
            self._wake.wait(left_s)

    def _release_held(self) -> None:
        """Put steps whose pause is over back in front, in their order."""
        now = time.monotonic()
        for device_id in [each for each, held in self._held.items() if held.until <= now]:
            self._steps.extendleft(reversed(self._held.pop(device_id).steps))

    def _next_batch(self) -> list[Step]:
        """Steps in their order, and behind them as many judgements."""
        batch: list[Step] = []
        for steps, most in ((self._steps, BATCH_STEPS), (self._judgements, 2 * BATCH_STEPS)):
            while steps and len(batch) < most:
                step = steps.popleft()
                if step.device_id in self._held:
                    self._held[step.device_id].steps.append(step)
                else:
                    batch.append(step)
        return batch

    def _commit(self, batch: list[Step]) -> bool:
        """Run a batch in one transaction; False when the storage refused all of it."""
        try:
            effects, done = self._run_together(batch)
        except Exception as error:
            self._storage_failed(error, batch)
            return False
        if self.storage_error is not None:
            log.warning("the history can be written again")
            self.storage_error = None
        self.counters.commits += 1
        self.counters.steps += len(done)
        self._cause(effects)
        for step in done:
            if step.acknowledge is not None:
                self.receipt_seconds.observe(time.monotonic() - step.made_at)
                _guarded(step.acknowledge, "an acknowledgement failed; the message comes again")
        self._on_change()
        return True

    def _storage_failed(self, error: Exception, batch: list[Step]) -> None:
        if not is_storage_failure(error):
            log.exception("a commit failed; it is tried again")
        self.counters.storage_failures += 1
        cause = first_cause(error)
        if self.storage_error is None:
            log.error("the history cannot be written (%s): free some disk space; nothing is lost meanwhile", cause)
        self.storage_error = cause
        for step in batch:
            if step.on_unstored is not None:
                _guarded(step.on_unstored, "a step could not be told of")

    def _run_together(self, batch: list[Step]) -> tuple[Effects, list[Step]]:
        """Run a batch as one piece of work, or, if any of it fails, one by one. Returns what was done."""
        reads: dict[type[Base], set[str]] = collections.defaultdict(set)
        for step in batch:
            for model in step.reads:
                if key := step.device_id if model is Device else step.event_id:
                    reads[model].add(key)
        device_ids = {step.device_id for step in batch if step.device_id}
        effects = Effects()
        try:
            done = 0
            with self._history.batch(reads, device_ids) as session:
                late_at = time.monotonic() + BATCH_S
                for step in batch:
                    if step.is_judgement and done and time.monotonic() > late_at:
                        break
                    with about(step.event_id, step.device_id):
                        step.run(session, effects)
                    done += 1
            with self._wake:
                self._judgements.extendleft(reversed(batch[done:]))
            return effects, batch[:done]
        except Exception as error:
            if is_storage_failure(error):
                raise
        self.counters.batches_redone += 1
        effects = Effects()
        finished: list[Step] = []
        failed: list[tuple[Step, Exception]] = []
        held_back: list[Step] = []
        with self._history.batch({}, device_ids) as session:
            for step in batch:
                if step.device_id and any(step.device_id == other.device_id for other, _ in failed):
                    held_back.append(step)
                    continue
                own = Effects()
                try:
                    with about(step.event_id, step.device_id), session.begin_nested():
                        step.run(session, own)
                        session.flush()
                except Exception as fault:
                    if is_storage_failure(fault):
                        raise
                    failed.append((step, fault))
                    session.forget()
                else:
                    effects.extend(own)
                    finished.append(step)
        for step, cause in failed:
            finished += self._failed(step, cause)
        with self._wake:
            for step in reversed(held_back):
                if step.device_id in self._held:
                    self._held[step.device_id].steps.insert(1, step)
                else:  # what it waited for was given up
                    self._steps.appendleft(step)
        return effects, finished

    def _failed(self, step: Step, error: Exception) -> list[Step]:
        """Hold a step for another try; or give it up, and return it as done with."""
        self.counters.step_errors += 1
        tries = step.tries + 1
        with about(step.event_id, step.device_id):
            log.error("step %s failed (try %d of %d)", step.name, tries, STEP_TRIES, exc_info=error)
        if tries < STEP_TRIES:
            key = step.device_id or f"step {id(step)}"
            with self._wake:
                self._held[key] = _Held(time.monotonic() + _STEP_PAUSE_S * tries, [replace(step, tries=tries)])
            return []
        self.counters.steps_given_up += 1
        on_error = step.on_error
        if on_error is not None:
            _guarded(lambda: on_error(error), "a step that was given up could not be told of")
        return [step]

    def _cause(self, effects: Effects) -> None:
        for publication in effects.publications:
            self.counters.publications += 1
            _guarded(partial(self._publish, publication), "a message could not be handed to the broker's client")
        for action in effects.actions:
            _guarded(action, "an effect failed")
        if effects.tellings:
            self._tell(effects.tellings)
        with self._wake:
            self._judgements.extend(replace(step, is_judgement=True) for step in effects.next_steps)

    def _tell(self, tellings: Sequence[ToTell]) -> None:
        failed = self.tell([telling.notification for telling in tellings])
        for telling in tellings:
            if telling.notification.event_id not in failed:
                _guarded(telling.on_told, "a notification could not be marked")

    def tell(self, notifications: Sequence[Notification]) -> Collection[str]:
        """Notify people at once; returns the ids of the events of which somebody could not be told, and counts them."""
        try:
            failed = self._notify(notifications)
        except Exception:
            log.exception("events could not be told")
            failed = {notification.event_id for notification in notifications}
        self.counters.notification_failures += len(failed)
        self.counters.notifications += len(notifications) - len(failed)
        return failed


@dataclass
class _Held:
    """A device's steps that wait, behind one that failed, for a moment on the monotonic clock."""

    until: float
    steps: list[Step]


def _guarded(action: Callable[[], None], failure: str) -> None:
    """Do what follows a commit; that it fails must not end the pipeline."""
    try:
        action()
    except Exception:
        log.exception("%s", failure)
