"""A verifier's worker: leases jobs from the history, judges their clips in its pool, and stores what it found."""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy.exc import DBAPIError

from cloud.history.clips import ClipStore, StoredClip
from cloud.history.store import History, first_cause
from cloud.settings import ServeSettings
from cloud.verdict import VerifierFinding
from cloud.verifier.jobs import JobQueue, Lease
from cloud.verifier.pool import VerifierPool
from edge.errors import HarkenError

_IDLE_S = 0.1
_FAULT_PAUSE_S = 1.0
_LINGER_S = 0.1
"""Findings wait so long for others, while clips are left to judge: a transaction costs as much as a clip."""
_AHEAD = 24
"""Jobs leased for each process that judges. When half of them have been judged, the next are leased, so that no process
waits for the database."""

log = logging.getLogger("harken.worker")


class Worker:
    """Works on jobs until it is stopped. Any number of them, on any number of machines, share one history.

    What it has leased and not finished when it ends is leased to another when the lease runs out.
    """

    def __init__(self, name: str, history: History, clips: ClipStore, pool: VerifierPool, processes: int = 1) -> None:
        """`name` tells workers apart in the table of jobs; `processes` is how many clips the pool judges at a time."""
        self.name = name
        self.judged = 0
        self._history = history
        self._clips = clips
        self._pool = pool
        self._jobs = JobQueue(history)
        self._capacity = processes * _AHEAD
        self._open = 0
        self._found: queue.SimpleQueue[tuple[str, VerifierFinding]] = queue.SimpleQueue()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"worker {name}", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Lease nothing more, store what has been found, and end."""
        self._is_stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        findings: dict[str, VerifierFinding] = {}
        while True:
            self._collect(findings)
            is_stopping = self._is_stopping.is_set()
            room = 0 if is_stopping else self._capacity - (self._open - len(findings))
            try:
                if findings or room > 0:
                    _, leases = self._jobs.exchange(self.name, findings, room)
                    self._open -= len(findings)
                    self.judged += len(findings)
                    findings.clear()
                    self._open += len(leases)
                    self._judge(leases)
                if is_stopping:
                    return
            except DBAPIError as error:
                log.error("the history cannot be reached (%s); trying again", first_cause(error))
                if self._is_stopping.wait(_FAULT_PAUSE_S):
                    return

    def _collect(self, findings: dict[str, VerifierFinding]) -> None:
        """Add what has been found: half of what was leased, all that is open, or what there is after a moment."""
        until = time.monotonic() + (_LINGER_S if findings else _IDLE_S)
        while len(findings) < max(1, min(self._open, self._capacity // 2)) and not self._is_stopping.is_set():
            try:
                event_id, finding = self._found.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            if not findings:
                until = min(until, time.monotonic() + _LINGER_S)
            findings[event_id] = finding

    def _judge(self, leases: Sequence[Lease]) -> None:
        clips = []
        for lease in leases:
            on_done = partial(self._on_done, lease.event_id)
            try:
                clips.append((self._read(lease), on_done))
            except Exception as error:
                log.exception("a clip cannot be judged", extra={"event_id": lease.event_id})
                on_done(VerifierFinding.failed(f"the stored clip cannot be read: {error}"))
        self._pool.submit_all(clips)

    def _read(self, lease: Lease) -> StoredClip:
        if lease.clip is None:
            raise HarkenError("the clip is missing")
        return self._clips.read(
            lease.event_id,
            sample_count=lease.clip.sample_count,
            sample_rate_hz=lease.clip.sample_rate_hz,
            block_bytes=lease.clip.block_bytes,
        )

    def _on_done(self, event_id: str, finding: VerifierFinding) -> None:
        log.info("judged", extra={"event_id": event_id})
        self._found.put((event_id, finding))


def work(settings: ServeSettings, write: Callable[[str], None]) -> int:
    """Run a worker until SIGINT or SIGTERM. Returns the exit status.

    Raises:
        HarkenError: the history is no database that several processes can share, or cannot be reached.
    """
    if not settings.history or settings.history_url.startswith("sqlite"):
        raise HarkenError("a worker needs the history of a fleet: give a PostgreSQL with --history or in --config")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    with contextlib.ExitStack() as stack:
        history = History(settings.history_url)
        stack.callback(history.close)
        processes = max(1, settings.workers)
        pool = VerifierPool(settings.verifier_dir, processes)
        stack.callback(pool.close)
        worker = Worker(settings.unique_name, history, settings.clip_store(), pool, processes)
        worker.start()
        stack.callback(worker.stop)
        write(f"ready    worker {worker.name}, {processes} clips at a time; Ctrl-C stops it")
        began = time.monotonic()
        while not stop.wait(1.0):
            pass
        write(f"stopping {worker.judged} clips judged in {time.monotonic() - began:.0f} s")
    return 0
