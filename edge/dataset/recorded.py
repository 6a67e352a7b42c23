"""Events put together from recordings: alarms that go on, walks out of single steps, panes that break twice."""

from __future__ import annotations

import numpy as np

from edge.dataset import microphones
from edge.dataset.manifest import SAMPLE_RATE_HZ, Recording
from edge.dataset.pool import RecordingPool
from edge.dataset.sounding import (
    Sound,
    active_intervals,
    alarm_knowable_s,
    alarm_not_asked,
    alarm_unlike_machine,
    at_speed,
    machine_knowable_s,
    respeed,
    tonal_intervals,
)
from edge.dataset.synthesis import cadences, tones
from edge.dataset.synthesis.cadences import Cadence

# recordings of alarms shorter than this hold a beep or two, and nobody could know an alarm from them
_FRAGMENT_S = 1.7
_STEPS_PER_SECOND = (1.4, 2.4)
_SHORTEST_PIECE_S = 0.06
_VOICE_SPREAD = 0.2


def event(pool: RecordingPool, name: str, rng: np.random.Generator) -> Sound:
    """Draw a recording of the event `name` and make of it what would be heard of that event at home."""
    recording = pool.recording(name, rng)
    if name == "smoke_alarm":
        return smoke_alarm(pool.audio(recording), rng)
    if name == "footsteps":
        return walk(pool, recording, rng)
    if name == "appliance_beep":
        return _appliance_beep(pool.audio(recording), rng)
    if name == "glass_break":
        return _glass_break(pool, recording, rng)
    if name == "door":
        return _door(pool, recording, rng)
    # few dogs and children were recorded: larger and smaller ones are heard at other speeds
    pcm = respeed(pool.audio(recording), rng, _VOICE_SPREAD)
    if rng.random() < 0.4:
        pcm = microphones.coloured(pcm, rng)
    return Sound(pcm, name, active_intervals(pcm), kind=recording.label)


def smoke_alarm(pcm: np.ndarray, rng: np.random.Generator) -> Sound:
    """Return an alarm of 10-36 s that sounds like the recording `pcm` float32[n].

    Recordings hold a few seconds or one beep. They go on as they are, again and again; or their tone
    sounds in a smoke alarm's cadence, always where there is no more than a fragment of one.
    """
    pcm = respeed(pcm, rng, 0.06)
    duration_s = float(rng.uniform(10, 36))
    if len(pcm) < _FRAGMENT_S * SAMPLE_RATE_HZ or rng.random() < 0.35:
        cadence = smoke_cadence(rng)
        on_s = cadence.intervals(duration_s, start_s=-float(rng.uniform(0, 1.0)))
        sounding = retimed(pcm, on_s, duration_s, rng)
        if sounding is not None:
            return _smoke_alarm(sounding, tuple(on_s), "recorded tone")
    wanted = int(duration_s * SAMPLE_RATE_HZ)
    if len(pcm) < wanted:
        start = int(rng.integers(len(pcm)))
        pcm = np.tile(pcm, wanted // len(pcm) + 2)[start : start + wanted]
    elif len(pcm) > wanted:
        start = int(rng.integers(len(pcm) - wanted))
        pcm = pcm[start : start + wanted]
    return _smoke_alarm(pcm, active_intervals(pcm), "smoke_alarm")


def _smoke_alarm(pcm: np.ndarray, on_s: tuple[tuple[float, float], ...], kind: str) -> Sound:
    known_s, unasked = alarm_knowable_s(on_s), alarm_unlike_machine(on_s)
    return Sound(pcm, "smoke_alarm", on_s, unasked=unasked, knowable_s=known_s, kind=kind)


def co_alarm(pcm: np.ndarray, rng: np.random.Generator) -> Sound | None:
    """Return T4 in the tone of a recorded smoke alarm, or None where the recording holds no steady tone."""
    duration_s = float(rng.uniform(13, 36))
    on_s = cadences.random_t4(rng).intervals(duration_s, start_s=float(rng.uniform(0, 1.0)))
    sounding = retimed(respeed(pcm, rng, 0.1), on_s, duration_s, rng)
    return None if sounding is None else Sound(sounding, "co_alarm", tuple(on_s), kind="recorded tone")


def smoke_cadence(rng: np.random.Generator) -> Cadence:
    """Draw a cadence of smoke alarms as recorded: T3 at its tolerances and corners, fast, unbroken, or an even beat."""
    draw = rng.random()
    if draw < 0.28:
        return cadences.random_t3(rng)
    if draw < 0.48:
        corners = cadences.t3_corners()
        return corners[int(rng.integers(len(corners)))]
    if draw < 0.70:
        return cadences.old_style(rng)
    if draw < 0.78:
        return cadences.unbroken()
    on_s = float(rng.uniform(0.12, 0.9))
    return cadences.even(on_s, on_s * float(rng.uniform(0.5, 1.3)))


def retimed(
    pcm: np.ndarray, on_s: list[tuple[float, float]], duration_s: float, rng: np.random.Generator
) -> np.ndarray | None:
    """Return the steady tone of `pcm` float32[n] sounding at other times, float32; None where there is none."""
    tone = _steady_piece(pcm, rng)
    if tone is None:
        return None
    samples = int(duration_s * SAMPLE_RATE_HZ)
    longest_s = max(end - start for start, end in on_s)
    held = _held(tone, min(samples, int((longest_s + 0.1) * SAMPLE_RATE_HZ)))
    out = np.zeros(samples, np.float32)
    level = tones.gate(on_s, samples, float(rng.uniform(1, 12)), float(rng.uniform(2, 25))).astype(np.float32)
    for index, (start_s, _) in enumerate(on_s):
        start = round(start_s * SAMPLE_RATE_HZ)
        until = round(on_s[index + 1][0] * SAMPLE_RATE_HZ) if index + 1 < len(on_s) else samples
        piece = held[: until - start]
        out[start : start + len(piece)] = piece[: samples - start]
    return out * level


def walk(pool: RecordingPool, step: Recording, rng: np.random.Generator) -> Sound:
    """Return a walk of 4-18 steps from the original that `step` is of: 1.4-2.4 a second, no two alike.

    Recordings hold single steps, and one step alone is no event. Left and right differ a little, and
    whoever walks comes nearer or goes away.
    """
    steps = pool.takes(step)
    interval_s = 1 / float(rng.uniform(*_STEPS_PER_SECOND))
    count = int(rng.integers(4, 19))
    spread = float(rng.uniform(0.02, 0.12))
    feet = [(1.0, 1.0), (float(10 ** (rng.normal(0, 1.5) / 20)), float(rng.uniform(0.94, 1.06)))]
    approach_db = float(rng.normal(0, 6))
    pcm = np.zeros(int((count * interval_s + 3.0) * SAMPLE_RATE_HZ), np.float32)
    on_s: list[tuple[float, float]] = []
    pace = float(rng.uniform(0.75, 1.3))
    for index in range(count):
        gain, pitch = feet[index % 2]
        sound = single_step(pool.audio(steps[int(rng.integers(len(steps)))]))
        sound = at_speed(sound, pace * pitch * float(rng.uniform(1 - spread, 1 + spread)))
        at_s = max(0.0, index * interval_s + float(rng.normal(0, 0.03)))
        at = int(at_s * SAMPLE_RATE_HZ)
        loudness = gain * 10 ** ((rng.normal(0, 1.8) + approach_db * index / count) / 20)
        pcm[at : at + len(sound)] += sound * float(loudness)
        on_s.append((at_s, at_s + min(0.2, len(sound) / SAMPLE_RATE_HZ)))
    end = int((on_s[-1][0] + 0.7) * SAMPLE_RATE_HZ)
    return Sound(pcm[:end], "footsteps", tuple(sorted(on_s)), kind=step.label)


def single_step(pcm: np.ndarray) -> np.ndarray:
    """Return the first step of a recording, 0.6 s at most: game foley trails off over seconds."""
    loud = active_intervals(pcm)
    return pcm[int(loud[0][0] * SAMPLE_RATE_HZ) :][: int(0.6 * SAMPLE_RATE_HZ)]


def _appliance_beep(pcm: np.ndarray, rng: np.random.Generator) -> Sound:
    pcm = respeed(pcm, rng, 0.2)
    heard_s = tonal_intervals(pcm)
    if rng.random() < 0.4:
        on, off, count = float(rng.uniform(0.08, 0.7)), float(rng.uniform(0.1, 1.0)), int(rng.integers(1, 8))
        count = min(count, max(1, int(8.0 / (on + off))))
        on_s = [(0.05 + k * (on + off), 0.05 + k * (on + off) + on) for k in range(count)]
        first, last = heard_s[0][0], heard_s[-1][1]
        cut = pcm[int(first * SAMPLE_RATE_HZ) : int(last * SAMPLE_RATE_HZ)]
        sounding = retimed(cut, on_s, on_s[-1][1] + 0.3, rng)
        if sounding is not None:
            return _machine(sounding, tuple(on_s), "recorded tone")
    return _machine(pcm, heard_s, "appliance_beep")


def _machine(pcm: np.ndarray, on_s: tuple[tuple[float, float], ...], kind: str) -> Sound:
    known_s, unasked = machine_knowable_s(on_s), alarm_not_asked(on_s)
    return Sound(pcm, "appliance_beep", on_s, unasked=unasked, knowable_s=known_s, kind=kind)


def _glass_break(pool: RecordingPool, recording: Recording, rng: np.random.Generator) -> Sound:
    """One recorded break, or two or three of them on one another: a larger pane, or what falls after it."""
    pcm = at_speed(pool.audio(recording), float(np.exp(rng.normal(0, 0.17))))
    layers = int(rng.choice([1, 1, 2, 3]))
    if layers > 1:
        together = np.zeros(len(pcm) + 3 * SAMPLE_RATE_HZ, np.float32)
        together[: len(pcm)] = pcm
        for _ in range(layers - 1):
            other = at_speed(pool.audio(pool.recording("glass_break", rng)), float(np.exp(rng.normal(0, 0.2))))
            other = other * (np.max(np.abs(pcm)) / (np.max(np.abs(other)) + 1e-9)) * float(rng.uniform(0.15, 1.0))
            at = int(rng.uniform(0.0, 0.5) * SAMPLE_RATE_HZ)
            other = other[: len(together) - at]
            together[at : at + len(other)] += other
        pcm = together[: np.flatnonzero(together)[-1] + 1]
    return Sound(pcm, "glass_break", active_intervals(pcm), kind="glass_break")


def _door(pool: RecordingPool, recording: Recording, rng: np.random.Generator) -> Sound:
    """One recorded door, sometimes with another's blow in it: no two frames and latches are alike."""
    pcm = at_speed(pool.audio(recording), float(np.exp(rng.normal(0, 0.12))))
    if rng.random() < 0.3:
        other = at_speed(pool.audio(pool.recording("door", rng)), float(np.exp(rng.normal(0, 0.2))))
        other = other * (np.max(np.abs(pcm)) / (np.max(np.abs(other)) + 1e-9)) * float(rng.uniform(0.2, 0.8))
        together = np.zeros(max(len(pcm), len(other)), np.float32)
        together[: len(pcm)] += pcm
        together[: len(other)] += other
        pcm = together
    return Sound(pcm, "door", active_intervals(pcm), kind="door")


def _steady_piece(pcm: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Return the inside of one beep of `pcm`, one that lasts where there is one; None if none is long enough."""
    spans = [(start, end) for start, end in active_intervals(pcm, range_db=8.0) if end - start >= _SHORTEST_PIECE_S]
    if not spans:
        return None
    longest = sorted(spans, key=lambda span: span[0] - span[1])[:4]
    start_s, end_s = longest[int(rng.integers(len(longest)))]
    margin_s = 0.1 * (end_s - start_s)
    end_s = min(end_s, start_s + 2.0)
    return pcm[int((start_s + margin_s) * SAMPLE_RATE_HZ) : int((end_s - margin_s) * SAMPLE_RATE_HZ)]


def _held(tone: np.ndarray, samples: int) -> np.ndarray:
    """Return `tone` float32[n] going on for `samples`, each repetition faded into the next."""
    fade = min(len(tone) // 3, 480)
    ramp = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
    out = np.zeros(samples + len(tone), np.float32)
    at = 0
    while at < samples:
        piece = tone.copy()
        if at > 0:
            piece[:fade] *= ramp
        piece[len(piece) - fade :] *= ramp[::-1]
        out[at : at + len(piece)] += piece
        at += len(tone) - fade
    return out[:samples]
