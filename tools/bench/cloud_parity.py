"""The same messages through both modes of the cloud: one process on SQLite, and a fleet on PostgreSQL with workers."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from cloud.broker import free_port
from cloud.history.models import Event, Rejection
from cloud.history.store import History
from cloud.media.index import MediaIndex
from edge import catalogue
from edge.errors import HarkenError
from tools.bench.cloud_ingest import ServedAddress, served
from tools.bench.fleet import RATE_HZ, Crowd, Sent, Sound, clip, made_sound, sent, trigger
from tools.engines import PostgresServer, end_process, postgres_server, s3_server

_SOUNDS = 48
_DEVICES = 50
_OPEN_EVENTS = 120
"""Events under way at a time: the replay waits for verdicts, so that a slow machine judges as a fast one does."""
_PATIENCE_S = 120.0
_WORKERS = 2


@dataclass(frozen=True)
class ParityFigures:
    """What `harken eval parity-cloud` states."""

    triggers: int
    differing: int
    verdicts: dict[str, int]
    refused: int
    embedded_s: float
    distributed_s: float
    workers: int
    clips: str


@dataclass(frozen=True)
class Outcome:
    """How one event ended."""

    verdict: str | None
    reason: str
    media_id: str | None
    scores: tuple[tuple[str, float], ...]


def replay(count: int, say: Callable[[str], None], history_url: str = "") -> tuple[ParityFigures, list[str]]:
    """Replay `count` triggers through both modes; returns the figures and the ids of events that ended differently.

    Args:
        count: triggers.
        say: prints one line of progress.
        history_url: an empty PostgreSQL for the fleet; empty: one is started for the replay.

    Raises:
        HarkenError: PostgreSQL is not there, or events were left without a verdict.
    """
    say(f"making {count:,} triggers with their clips")
    groups, event_ids = _messages(count)
    with tempfile.TemporaryDirectory(prefix="harken-parity-") as work:
        folder = Path(work)
        say("one process, SQLite")
        embedded, embedded_s = _embedded(folder / "embedded", groups, event_ids)
        say(f"a server and {_WORKERS} workers, PostgreSQL")
        with contextlib.ExitStack() as stack:
            if not history_url:
                server: PostgresServer = stack.enter_context(postgres_server(folder / "postgres"))
                history_url = server.url()
            clips_options, where = _fleet_clips(stack, folder)
            distributed, distributed_s = _distributed(folder / "fleet", history_url, clips_options, groups, event_ids)
    differing = [each for each in event_ids if embedded[0].get(each) != distributed[0].get(each)]
    if embedded[1] != distributed[1]:
        differing.append(f"refused messages: {embedded[1]} and {distributed[1]}")
    verdicts: dict[str, int] = {}
    for outcome in embedded[0].values():
        verdicts[outcome.verdict or "none"] = verdicts.get(outcome.verdict or "none", 0) + 1
    figures = ParityFigures(
        triggers=count,
        differing=len(differing),
        verdicts=dict(sorted(verdicts.items())),
        refused=sum(embedded[1].values()),
        embedded_s=round(embedded_s, 1),
        distributed_s=round(distributed_s, 1),
        workers=_WORKERS,
        clips=where,
    )
    return figures, differing


Outcomes = tuple[dict[str, Outcome], dict[str, int]]


def _embedded(folder: Path, groups: list[list[Sent]], event_ids: list[str]) -> tuple[Outcomes, float]:
    _add_media(folder)
    with served([f"--data-dir={folder}", "--clip-timeout=600"]) as server:
        took_s = _send_all(server, groups, event_ids)
    return _outcomes(f"sqlite:///{folder / 'history.sqlite3'}"), took_s


def _distributed(
    folder: Path, history_url: str, config: str, groups: list[list[Sent]], event_ids: list[str]
) -> tuple[Outcomes, float]:
    _add_media(folder)
    settings = folder / "fleet.toml"
    settings.write_text(f'[history]\nurl = "{history_url}"\n{config}')
    options = [f"--data-dir={folder}", f"--config={settings}", "--clip-timeout=600", "--workers=0"]
    with served(options) as server, contextlib.ExitStack() as stack:
        for number in range(_WORKERS):
            stack.enter_context(working([f"--config={settings}", f"--name=parity-{number}"], folder))
        took_s = _send_all(server, groups, event_ids)
    return _outcomes(history_url), took_s


def _fleet_clips(stack: contextlib.ExitStack, folder: Path) -> tuple[str, str]:
    """Where the fleet keeps sound: an S3 store where one can be started, else a folder of its own."""
    try:
        address = stack.enter_context(s3_server())
    except HarkenError:
        return f'[clips]\nurl = "{(folder / "fleet-clips").as_uri()}"\n', "file"
    options = "\n".join(f'{name} = "{value}"' for name, value in address.options.items())
    return f'[clips]\nurl = "{address.bucket_url}"\n[clips.options]\n{options}\n', "s3"


@contextlib.contextmanager
def working(options: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A `harken worker` in a process of its own, ready to lease.

    Raises:
        HarkenError: it ends before it is ready.
    """
    command = [sys.executable, "-c", "import sys; from tools.cli import main; sys.exit(main())", "worker", *options]
    with (folder / f"worker-{free_port()}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        if not process.stdout.readline().startswith("ready"):
            raise HarkenError(f"the worker did not get ready: {Path(log.name).read_text()[-300:]}")
        yield process
    finally:
        end_process(process, 20.0)
        process.stdout.close()


def _sounds() -> list[npt.NDArray[np.int16]]:
    """Music, noise, alarm tones in a temporal-three, and silence: what a verifier and a media check tell apart."""
    made = []
    for seed in range(_SOUNDS):
        pcm = made_sound(seed)
        if seed % 4 == 1:  # an alarm over it
            time_s = np.arange(len(pcm)) / RATE_HZ
            is_on = (time_s % 1.0 < 0.5) & (time_s % 4.0 < 3.0)
            pcm = np.clip(pcm + 9000 * is_on * np.sin(2 * np.pi * 3100 * time_s), -32767, 32767).astype(np.int16)
        elif seed % 4 == 2:
            pcm = np.random.default_rng(seed).normal(0, 900, len(pcm)).astype(np.int16)
        elif seed % 16 == 3:
            pcm = np.zeros(len(pcm), np.int16)
        made.append(pcm)
    return made


def _add_media(folder: Path) -> None:
    """Let both modes know a few of the sounds as recordings."""
    index = MediaIndex(folder / "media")
    names = list(catalogue.load().names)
    for seed in range(0, _SOUNDS, 12):
        index.add(f"Recording {seed}", made_sound(seed), contains=names)


def _messages(count: int) -> tuple[list[list[Sent]], list[str]]:
    """Groups of messages that belong together, in the order of sending, and the ids of their events.

    Clips before their triggers, messages twice, triggers without room for a clip, clips that do not decode, and
    messages that cannot be read are among them.
    """
    sounds = [Sound.of(pcm) for pcm in _sounds()]
    names = catalogue.load().names
    groups: list[list[Sent]] = []
    event_ids: list[str] = []
    for number in range(count):
        device_id = f"parity-{number % _DEVICES}"
        sound = sounds[number % len(sounds)]
        policy = "none" if number % 10 == 7 else "always"
        asked = trigger(number, device_id, names[number % len(names)], sound, policy)
        event_ids.append(asked.event_id.hex())
        first = sent(device_id, asked)
        group = [first]
        if policy == "always":
            heard = sound if number % 40 != 5 else Sound(sound.fingerprint, sound.data[:300], 300)
            second = sent(device_id, clip(asked.event_id, heard))
            group = [second, first] if number % 11 == 3 else [first, second]
        if number % 13 == 4:
            group.append(first)
        if number % 50 == 9:
            group.append(Sent(b"", first.topic, b"\xff" + number.to_bytes(4, "big")))
        groups.append(group)
    return groups, event_ids


def _send_all(server: ServedAddress, groups: list[list[Sent]], event_ids: list[str]) -> float:
    """Send everything, never more than some events ahead of the verdicts; returns how long it took until the last."""
    with Crowd(server.broker) as crowd:
        began = time.monotonic()
        for number, group in enumerate(groups):
            _wait(lambda number=number: number - len(crowd.answers.verdicts) < _OPEN_EVENTS, crowd)  # type: ignore[misc]
            for message in group:
                crowd.send(message)
        wanted = {bytes.fromhex(event_id) for event_id in event_ids}
        _wait(lambda: wanted <= crowd.answers.verdicts.keys(), crowd)
        return time.monotonic() - began


def _wait(condition: Callable[[], bool], crowd: Crowd) -> None:
    """Wait as long as verdicts come."""
    seen, since = len(crowd.answers.verdicts), time.monotonic()
    while not condition():
        time.sleep(0.01)
        now = len(crowd.answers.verdicts)
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > _PATIENCE_S:
            raise HarkenError(f"no verdict came for {_PATIENCE_S:.0f} s after {seen} of them")


def _outcomes(url: str) -> Outcomes:
    history = History(url)
    try:
        with history.reading() as session:
            events = {
                row.event_id: Outcome(row.verdict, row.reason, row.media_id, _rounded(row.verifier_scores))
                for row in session.scalars(select(Event))
            }
            refused = {row.cause: row.count for row in session.scalars(select(Rejection))}
    finally:
        history.close()
    return events, refused


def _rounded(scores: dict[str, Any] | None) -> tuple[tuple[str, float], ...]:
    """Scores as they are: JSON keeps a float exactly."""
    return tuple(sorted(json.loads(json.dumps(scores or {})).items()))
