"""How fast clips get their verdict: the delay at a pace, and how much faster two workers are than one."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import delete, func, select

from cloud.history.clips import ClipStore, StoredClip
from cloud.history.models import Clip, VerifierJob
from cloud.history.store import History
from cloud.verifier.jobs import JobQueue
from cloud.verifier.model import VerifierModel
from cloud.verifier.pool import decode
from edge.contracts import limits
from edge.errors import HarkenError
from tools.bench.cloud_ingest import cpu_s, served
from tools.bench.cloud_parity import working
from tools.bench.fleet import RATE_HZ, Crowd, Sent, Sound, clip, made_sound, sent, trigger
from tools.engines import find_programs, postgres_server

_SETTLE_S = 60.0
_LOOK_EVERY_S = 0.5
_WARM_UP = 10
_SOUNDS = 32
_EVENTS = ("smoke_alarm", "co_alarm", "glass_break")


@dataclass(frozen=True)
class VerifierFigures:
    """What `harken bench verifier` states.

    `clip_cpu_ms` is what judging one clip takes of one core, `server_cpu_ms` what the server's main process takes for
    the trigger, its clip and its verdict. Over the full queue a clip takes `worker_cpu_ms` of a worker's main process
    and `database_cpu_ms` of the database beside it. What needs PostgreSQL is None where there is none.
    """

    clips_per_s: float
    verdict_p50_s: float
    verdict_p99_s: float
    scaling_two_workers: float | None
    clips: int
    lost: int
    clip_cpu_ms: float
    server_cpu_ms: float
    one_worker_clips_per_s: float | None
    two_workers_clips_per_s: float | None
    worker_cpu_ms: float | None
    database_cpu_ms: float | None


@dataclass(frozen=True)
class _Drained:
    """One drain of a full queue: clips a second, and milliseconds of a core for each clip."""

    clips_per_s: float
    worker_cpu_ms: float
    database_cpu_ms: float


def measure(rate_per_s: float, seconds: float, queue: int, say: Callable[[str], None]) -> VerifierFigures:
    """Send triggers with their clips at a pace, then let one and two workers drain a queue of `queue` clips.

    The delay is from sending the trigger to the verdict's arrival at the device.
    """
    sounds = [Sound.of(made_sound(seed)) for seed in range(_SOUNDS)]
    say(f"sending {int(rate_per_s * seconds)} triggers with clips at {rate_per_s:g} a second")
    moments, verdicts, batches, server_cpu_ms = _paced(rate_per_s, seconds, sounds)
    delays = [
        verdicts[batch[0].event_id] - moment
        for moment, batch in zip(moments, batches, strict=True)
        if batch[0].event_id in verdicts
    ]
    if not delays:
        raise HarkenError("no verdict came: the server's log says why")
    took_s = max(verdicts[batch[0].event_id] for batch in batches if batch[0].event_id in verdicts) - moments[0]
    clip_cpu_ms = _clip_cpu_ms(sounds)
    drained: list[_Drained] = []
    if not queue:
        say("no queue, no workers: they are not measured")
    elif find_programs() is None:
        say("PostgreSQL is not installed: workers are not measured (apt-get install postgresql)")
    else:
        drained = _drained(queue, sounds, say)
    return VerifierFigures(
        clips_per_s=round(len(delays) / took_s, 2),
        verdict_p50_s=round(float(np.quantile(delays, 0.5)), 3),
        verdict_p99_s=round(float(np.quantile(delays, 0.99)), 3),
        scaling_two_workers=round(drained[1].clips_per_s / drained[0].clips_per_s, 2) if drained else None,
        clips=len(batches),
        lost=len(batches) - len(delays),
        clip_cpu_ms=round(clip_cpu_ms, 1),
        server_cpu_ms=round(server_cpu_ms, 2),
        one_worker_clips_per_s=round(drained[0].clips_per_s, 1) if drained else None,
        two_workers_clips_per_s=round(drained[1].clips_per_s, 1) if drained else None,
        worker_cpu_ms=round(drained[0].worker_cpu_ms, 2) if drained else None,
        database_cpu_ms=round(drained[0].database_cpu_ms, 2) if drained else None,
    )


def _paced(
    rate_per_s: float, seconds: float, sounds: list[Sound]
) -> tuple[list[float], dict[bytes, float], list[list[Sent]], float]:
    def made(first: int, count: int) -> list[list[Sent]]:
        batches = []
        for number in range(first, first + count):
            device_id, sound = f"bench-{number % 200}", sounds[number % len(sounds)]
            asked = trigger(number, device_id, _EVENTS[number % len(_EVENTS)], sound, "always")
            batches.append([sent(device_id, asked), sent(device_id, clip(asked.event_id, sound))])
        return batches

    warm_up, batches = made(0, _WARM_UP), made(_WARM_UP, int(rate_per_s * seconds))
    with served([]) as server, Crowd(server.broker) as crowd:
        crowd.send_paced(warm_up, rate_per_s)
        _wait_for_verdicts(crowd, warm_up)
        before_s = cpu_s(server.pid)
        moments = crowd.send_paced(batches, rate_per_s)
        _wait_for_verdicts(crowd, batches)
        server_cpu_ms = (cpu_s(server.pid) - before_s) / len(batches) * 1000
        return moments, dict(crowd.answers.verdicts), batches, server_cpu_ms


def _wait_for_verdicts(crowd: Crowd, batches: list[list[Sent]]) -> None:
    wanted = {batch[0].event_id for batch in batches}
    give_up_at = time.monotonic() + _SETTLE_S
    while wanted - crowd.answers.verdicts.keys() and time.monotonic() < give_up_at:
        time.sleep(0.05)


def _clip_cpu_ms(sounds: list[Sound]) -> float:
    """Processor time of decoding and judging one clip."""
    model = VerifierModel()
    stored = [_stored(sound) for sound in sounds]
    model.score(decode(stored[0]))
    began = time.process_time()
    for each in stored:
        model.score(decode(each))
    return (time.process_time() - began) / len(stored) * 1000


def _stored(sound: Sound) -> StoredClip:
    return StoredClip(RATE_HZ, sound.sample_count, limits.CLIP_BLOCK_BYTES, sound.data)


def _drained(count: int, sounds: list[Sound], say: Callable[[str], None]) -> list[_Drained]:
    """One worker and then two over a queue that is full when they begin."""
    drained = []
    with tempfile.TemporaryDirectory(prefix="harken-bench-") as work, postgres_server(Path(work, "postgres")) as server:
        folder, url = Path(work), server.url()
        history = History(url)
        clips_url = (folder / "clips").as_uri()
        _store_clips(history, ClipStore(clips_url), count, sounds)
        for workers in (1, 2):
            with contextlib.ExitStack() as stack:
                pids = []
                for number in range(workers):
                    options = [f"--history={url}", f"--clips={clips_url}", f"--name=bench-{number}"]
                    pids.append(stack.enter_context(working(options, folder)).pid)
                _drain(history, workers, workers * _WARM_UP)  # each has its model loaded
                before_s = sum(map(cpu_s, pids)), server.cpu_s()
                took_s = _drain(history, workers, count)
                worker_s, database_s = sum(map(cpu_s, pids)) - before_s[0], server.cpu_s() - before_s[1]
            drained.append(_Drained(count / took_s, worker_s / count * 1000, database_s / count * 1000))
            say(f"{workers} worker{'s' if workers > 1 else ''}: {drained[-1].clips_per_s:.1f} clips a second")
        history.close()
    return drained


def _event_id(number: int) -> str:
    return f"{number:032x}"


def _store_clips(history: History, clips: ClipStore, count: int, sounds: list[Sound]) -> None:
    now = datetime.now(UTC)
    with history.transaction() as session:
        for number in range(count):
            stored = _stored(sounds[number % len(sounds)])
            size = clips.write(_event_id(number), stored)
            session.add(
                Clip(
                    event_id=_event_id(number),
                    device_id="bench",
                    first_sample=0,
                    trigger_offset=0,
                    sample_rate_hz=stored.sample_rate_hz,
                    sample_count=stored.sample_count,
                    block_bytes=stored.block_bytes,
                    size_bytes=size,
                    received_at=now,
                )
            )


def _drain(history: History, workers: int, count: int) -> float:
    """Put `count` jobs at once and wait until all have a finding; returns seconds, by the database's clock.

    What waits here looks seldom: it shares the cores with what is measured.
    """
    jobs = JobQueue(history)
    now = datetime.now(UTC)
    with history.transaction() as session:
        for number in range(count):
            jobs.put(session, _event_id(number), "bench", now)
        session.flush()
        began = session.scalars(select(func.clock_timestamp())).one()
    give_up_at = time.monotonic() + _SETTLE_S + count
    while True:
        time.sleep(_LOOK_EVERY_S)
        with history.reading() as session:
            if not jobs.waiting(session):
                ended = session.scalars(select(func.max(VerifierJob.finished_at))).one()
                break
        if time.monotonic() > give_up_at:
            raise HarkenError(f"{workers} workers did not drain {count} clips: see harken worker --verbose")
    with history.transaction() as session:
        session.execute(delete(VerifierJob))
    assert ended is not None
    return float((ended - began).total_seconds())
