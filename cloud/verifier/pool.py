"""The worker process in which clips are judged, so that no clip can take the server down or hold it up."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from cloud.history.clips import StoredClip
from cloud.verdict import VerifierFinding
from cloud.verifier.model import MODEL_FOLDER, VerifierModel
from edge import native
from edge.errors import HarkenError

TIMEOUT_S = 20.0
_TRIES = 2
_TOGETHER = 4
"""Clips that go to a process at once: handing one over costs a tenth of judging it."""
_PR_SET_PDEATHSIG = 1

log = logging.getLogger("harken.verifier")


def _start_worker() -> None:
    # Ctrl-C goes to the whole terminal group; the server alone decides when a worker ends. If the server is killed,
    # Linux ends the worker too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        parent = multiprocessing.parent_process()
        if parent is not None and os.getppid() != parent.pid:  # killed before we could ask to hear of it
            os._exit(1)


@cache
def _load(folder: Path) -> VerifierModel:
    return VerifierModel(folder)


def _warm_up(folder: Path) -> None:
    with contextlib.suppress(HarkenError):  # said again, and counted, with the first clip
        _load(folder)


def _judge_all(folder: Path, clips: Sequence[StoredClip]) -> list[VerifierFinding]:
    """Judge clips. Runs in the worker."""
    return [_judge(folder, clip) for clip in clips]


def _judge(folder: Path, clip: StoredClip) -> VerifierFinding:
    """Judge one clip; what can be mended comes back as a finding, not as an exception."""
    try:
        model = _load(folder)
        return VerifierFinding(model.score(decode(clip)), model.thresholds, model.version, measured=model.measured)
    except HarkenError as error:
        return VerifierFinding.failed(str(error))


def decode(clip: StoredClip) -> np.ndarray:
    """The PCM of a clip, int16[sample_count].

    Raises:
        HarkenError: its rate, its length or its blocks are not what a device sends.
    """
    if clip.sample_rate_hz != native.SAMPLE_RATE_HZ:
        raise HarkenError(f"the clip has {clip.sample_rate_hz} Hz; {native.SAMPLE_RATE_HZ} Hz is needed")
    if clip.block_bytes != native.BLOCK_BYTES or not clip.sample_count:
        raise HarkenError(
            f"the clip holds {clip.sample_count} samples in blocks of {clip.block_bytes} bytes, "
            f"not {native.BLOCK_BYTES}"
        )
    return native.adpcm_decode(clip.data, clip.sample_count)


OnDone = Callable[[VerifierFinding], None]
Clips = Sequence[tuple[StoredClip, OnDone]]


@dataclass
class _Job:
    """Clips that go to a process together."""

    clips: Clips
    tries_left: int
    executor: ProcessPoolExecutor
    deadline: float


class VerifierPool:
    """Judges clips one after another in a process of its own.

    Every clip ends in exactly one call of its `on_done`, from some thread: with scores, or with the reason why there
    are none. A worker that dies is replaced and the clip that it worked on tried once more; one that hangs is killed.
    Clips that waited behind it have lost nothing.
    """

    def __init__(self, folder: Path = MODEL_FOLDER, workers: int = 1, timeout_s: float = TIMEOUT_S) -> None:
        """Prepare the pool; processes start with the first job. `folder` holds the model and its manifest."""
        self._folder = folder
        self._workers = workers
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._jobs: dict[Future[list[VerifierFinding]], _Job] = {}
        self._running: set[Future[list[VerifierFinding]]] = set()
        """Of the executor that broke last: what its processes may have been working on."""
        self._broken: ProcessPoolExecutor | None = None
        self._is_closed = False
        self._executor = self._new_executor()
        self._executor.submit(_warm_up, folder)  # the first clip need not wait for the process and its model
        self._guard = threading.Thread(target=self._watch, name="verifier-guard", daemon=True)
        self._guard.start()

    @property
    def depth(self) -> int:
        """Clips that have no answer yet."""
        return sum(len(job.clips) for job in list(self._jobs.values()))

    def submit(self, clip: StoredClip, on_done: OnDone) -> None:
        """Judge a clip; `on_done` gets the finding."""
        self.submit_all([(clip, on_done)])

    def submit_all(self, clips: Clips) -> None:
        """Judge clips; each one's function gets its finding. A few go to a process at once, which costs less."""
        for start in range(0, len(clips), _TOGETHER):
            self._submit(clips[start : start + _TOGETHER], _TRIES)

    def close(self) -> None:
        """End the processes. Jobs without an answer get none; they are taken up again at the next start."""
        with self._lock:
            self._is_closed = True
            self._jobs.clear()
        self._kill_workers(self._executor)

    def _new_executor(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
        )

    def _submit(self, clips: Clips, tries_left: int) -> None:
        with self._lock:
            if self._is_closed:
                return
            # The jobs before it may each take their whole time.
            deadline = time.monotonic() + self._timeout_s * (len(self._jobs) // self._workers + 1)
            sounds = [clip for clip, _ in clips]
            try:
                future = self._executor.submit(_judge_all, self._folder, sounds)
            except BrokenProcessPool:
                self._note_running(self._executor)
                self._executor = self._new_executor()
                future = self._executor.submit(_judge_all, self._folder, sounds)
            self._jobs[future] = _Job(clips, tries_left, self._executor, deadline)
        future.add_done_callback(self._finish)

    def _note_running(self, broken: ProcessPoolExecutor) -> None:
        """Remember what an executor that has just broken was working on: the first jobs in its queue."""
        if self._broken is not broken:
            self._broken = broken
            waiting = [future for future, job in self._jobs.items() if job.executor is broken]
            self._running = set(waiting[: self._workers])

    def _finish(self, future: Future[list[VerifierFinding]]) -> None:
        error = future.exception() if not future.cancelled() else BrokenProcessPool("cancelled")
        is_broken = isinstance(error, BrokenProcessPool)
        with self._lock:
            if is_broken and (own := self._jobs.get(future)) is not None:
                self._note_running(own.executor)
            job = self._jobs.pop(future, None)
        if job is None:
            return
        if error is None:
            for (_, on_done), finding in zip(job.clips, future.result(), strict=True):
                on_done(finding)
        elif is_broken and future not in self._running:
            self._submit(job.clips, job.tries_left)
        elif is_broken and job.tries_left > 1:
            log.warning("a verifier process died; what it worked on is tried once more, clip by clip")
            for each in job.clips:
                self._submit([each], job.tries_left - 1)
        else:
            cause = "the verifier process died" if is_broken else f"the verifier failed: {error}"
            log.error("%s", cause)
            for _, on_done in job.clips:
                on_done(VerifierFinding.failed(cause))

    def _watch(self) -> None:
        while not self._is_closed:
            time.sleep(0.2)
            now = time.monotonic()
            with self._lock:
                late = [future for future, job in self._jobs.items() if job.deadline < now]
                jobs = [self._jobs.pop(future) for future in late]
                if jobs and not self._is_closed:
                    stuck, self._executor = self._executor, self._new_executor()
                    self._broken, self._running = stuck, set()  # what hung is known; the others waited
                else:
                    stuck = None
            if stuck is not None:
                self._kill_workers(stuck)  # jobs behind the stuck one fail with BrokenProcessPool and are tried again
            for job in jobs:
                self._give_up_or_part(job)

    def _give_up_or_part(self, job: _Job) -> None:
        """One of a job's clips held its process up: clip by clip it will show which."""
        if len(job.clips) > 1:
            for each in job.clips:
                self._submit([each], job.tries_left)
            return
        for _, on_done in job.clips:
            on_done(VerifierFinding.failed(f"the verifier gave no answer within {self._timeout_s:.0f} s"))

    @staticmethod
    def _kill_workers(executor: ProcessPoolExecutor) -> None:
        for process in list(
            (executor._processes or {}).values()
        ):  # the executor has no public way to stop a running job
            process.kill()
        executor.shutdown(wait=False, cancel_futures=True)
