"""A verifier's worker: leases jobs from the history, judges their clips in its pool, and stores what it found."""

from __future__ import annotations

import contextlib
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from cloud.history.clips import ClipStore
from cloud.history.models import Clip
from cloud.history.store import History, first_cause
from cloud.settings import ServeSettings
from cloud.verdict import VerifierFinding
from cloud.verifier.jobs import JobQueue
from cloud.verifier.pool import VerifierPool
from edge.errors import HarkenError

_IDLE_S = 0.1
_FAULT_PAUSE_S = 1.0
_AHEAD = 4
"""Jobs leased beyond those that are being judged, so that a process never waits for the database."""

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
        self._capacity = processes + _AHEAD
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
            findings |= self._collect(_IDLE_S)
            try:
                if findings:
                    self._jobs.finish(self.name, findings)
                    self._open -= len(findings)
                    self.judged += len(findings)
                    findings = {}
                if self._is_stopping.is_set():
                    return
                self._take()
            except DBAPIError as error:
                log.error("the history cannot be reached (%s); trying again", first_cause(error))
                if self._is_stopping.wait(_FAULT_PAUSE_S):
                    return

    def _collect(self, wait_s: float) -> dict[str, VerifierFinding]:
        """What has been found by now; waits a moment for the first."""
        findings: dict[str, VerifierFinding] = {}
        with contextlib.suppress(queue.Empty):
            event_id, finding = self._found.get(timeout=wait_s)
            findings[event_id] = finding
            while True:
                event_id, finding = self._found.get_nowait()
                findings[event_id] = finding
        return findings

    def _take(self) -> None:
        room = self._capacity - self._open
        if room <= 0:
            return
        for lease in self._jobs.lease(self.name, room):
            self._open += 1
            self._judge(lease.event_id)

    def _judge(self, event_id: str) -> None:
        def on_done(finding: VerifierFinding) -> None:
            log.info("judged", extra={"event_id": event_id})
            self._found.put((event_id, finding))

        try:
            with self._history.reading() as session:
                row = session.get(Clip, event_id)
            if row is None:
                raise HarkenError("the clip is missing")
            clip = self._clips.read(
                event_id,
                sample_count=row.sample_count,
                sample_rate_hz=row.sample_rate_hz,
                block_bytes=row.block_bytes,
            )
            self._pool.submit(clip, on_done)
        except DBAPIError:
            self._open -= 1  # leased to somebody again when the lease runs out
            raise
        except Exception as error:
            log.exception("a clip cannot be judged", extra={"event_id": event_id})
            on_done(VerifierFinding.failed(f"the stored clip cannot be read: {error}"))


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
