"""One sound and when it sounds: what scenes are put together from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import signal

from edge.dataset.manifest import SAMPLE_RATE_HZ

_WINDOW_SAMPLES = 320
# quieter than the loudest part of a recording by this much is its background, not its sound
_ACTIVE_RANGE_DB = 18.0

# After how many seconds a sounder that goes on can be told from a household machine. Recorded smoke alarms beat at
# 0.3-0.8 s on and as much off as often as they follow T3, exactly as machines do that have finished: what tells them
# apart is that a machine stops. A beat that leaves hardly a gap is no machine's sooner.
KNOWN_AS_T3_S = 3.0
KNOWN_AS_UNBROKEN_S = 4.0
KNOWN_AS_BEAT_S = 8.0
_UNBROKEN_DUTY = 0.68
_BEAT_DUTY = 0.3
# the pulses of T3 and the gaps between them, as long as a device can tell; its pause is over within 1.7 s
T3_PULSE_S = (0.4, 0.62)
T3_GAP_S = (0.38, 0.62)
_T3_PULSES = 3
_T3_PAUSE_S = 1.9
# a gap that has gone on for so long is none of T3's: its group is over
_GROUP_OVER_S = 0.75
# beeps as short as this are a smoke alarm's only if they leave gaps hardly longer than themselves
_SHORT_BEEP_S = 0.2
_SHORT_BEEP_DUTY = 0.42


@dataclass(frozen=True)
class Unasked:
    """An event whose head is not asked for part of a sound: from and to, seconds after the sound's first onset."""

    event: str
    from_s: float
    to_s: float


@dataclass(frozen=True)
class Sound:
    """One sound, before any room.

    Attributes:
        pcm: float32[n] at 16 kHz; only its shape counts, the scene sets its level.
        event: the event of the catalogue that it is, or None.
        on_s: when it sounds, sorted (start, end) in seconds.
        ignored: events whose heads are not asked while it sounds.
        unasked: events whose heads are not asked during a part of it.
        knowable_s: how long after its onset its event can be known; None for the event's own time.
        kind: what it is, in words: recorded label or what was made.
        is_doubtful: whether nobody could say if it is an alarm.
        originals: of the recordings that it was made of; none if it was synthesised.
    """

    pcm: np.ndarray
    event: str | None
    on_s: tuple[tuple[float, float], ...]
    ignored: tuple[str, ...] = ()
    unasked: tuple[Unasked, ...] = ()
    knowable_s: float | None = None
    kind: str = ""
    is_doubtful: bool = False
    originals: tuple[str, ...] = ()


def active_intervals(pcm: np.ndarray, range_db: float = _ACTIVE_RANGE_DB) -> tuple[tuple[float, float], ...]:
    """Return when `pcm` float32[n] is loud, as (start, end) seconds at 20 ms, gaps under 60 ms closed."""
    count = max(1, len(pcm) // _WINDOW_SAMPLES)
    padded = np.zeros(count * _WINDOW_SAMPLES, np.float32)
    padded[: min(len(pcm), len(padded))] = pcm[: len(padded)]
    level_db = 10 * np.log10(np.mean(padded.reshape(count, -1) ** 2, axis=1) + 1e-10)
    loud = level_db > np.percentile(level_db, 97) - range_db
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(np.int8), [0]])))
    step_s = _WINDOW_SAMPLES / SAMPLE_RATE_HZ
    intervals: list[tuple[float, float]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if intervals and start * step_s - intervals[-1][1] < 0.06:
            intervals[-1] = (intervals[-1][0], float(end * step_s))
        else:
            intervals.append((float(start * step_s), float(end * step_s)))
    return tuple(intervals)


def tonal_intervals(pcm: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Return when a tone of 0.7-5 kHz stands out of `pcm` float32[n]: the beeps of a recording with a machine's hum.

    Falls back to `active_intervals` where no tone does.
    """
    hz, _, power = signal.stft(pcm, SAMPLE_RATE_HZ, nperseg=640, noverlap=320, padded=True, boundary="zeros")
    band = np.abs(power[(hz > 700) & (hz < 5000)]) ** 2 + 1e-12
    peak_db = 10 * np.log10(band.max(axis=0))
    stands_out = (peak_db - 10 * np.log10(np.median(band, axis=0)) > 22) & (peak_db > peak_db.max() - 15)
    if not stands_out.any():
        return active_intervals(pcm)
    gate = np.repeat(stands_out, _WINDOW_SAMPLES).astype(np.float32)
    return tuple(
        (start, end) for start, end in active_intervals(gate + 1e-4) if end - start >= 0.04
    ) or active_intervals(pcm)


def respeed(pcm: np.ndarray, rng: np.random.Generator, spread: float) -> np.ndarray:
    """Return `pcm` played faster or slower by up to the fraction `spread`, pitch and all."""
    return at_speed(pcm, float(rng.uniform(1 - spread, 1 + spread)))


def at_speed(pcm: np.ndarray, factor: float) -> np.ndarray:
    """Return `pcm` played `factor` times as fast (rounded to a hundredth), pitch and all."""
    hundredths = round(100 * factor)
    return pcm if hundredths == 100 else signal.resample_poly(pcm, 100, hundredths).astype(np.float32)


def duty(on_s: Sequence[tuple[float, float]]) -> float:
    """Return which part of the time from the first onset to the last end is sounding, 0-1."""
    span = on_s[-1][1] - on_s[0][0]
    return sum(end - start for start, end in on_s) / max(span, 1e-6)


def alarm_knowable_s(on_s: Sequence[tuple[float, float]]) -> float:
    """Return after how many seconds an alarm that sounds at `on_s` (seconds, sorted) can be known as one."""
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(on_s)]
    if duty(on_s) >= _UNBROKEN_DUTY:
        return KNOWN_AS_UNBROKEN_S
    # a pause that is clearly longer than the gaps between the beeps: groups, as in T3
    if gaps and max(gaps) > 1.0 and max(gaps) > 1.8 * float(np.median(gaps)):
        return KNOWN_AS_T3_S
    return KNOWN_AS_BEAT_S


def alarm_not_asked(on_s: Sequence[tuple[float, float]]) -> tuple[Unasked, ...]:
    """Return when a machine's beeps at `on_s` could be a smoke alarm for all anyone knows."""
    unasked: list[Unasked] = []
    lengths = [end - start for start, end in on_s]
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(on_s)]
    span_s = on_s[-1][1] - on_s[0][0]
    if _within(float(np.median(lengths)), T3_PULSE_S) and gaps and _within(float(np.median(gaps)), T3_GAP_S):
        # the pulses of T3: until the fourth comes where the pause should be, or none where the next group should
        to_s = 3.6 if len(on_s) != _T3_PULSES else span_s + _T3_PAUSE_S
        unasked.append(Unasked("smoke_alarm", 2.4, to_s))
    share = duty(on_s)
    known_s = KNOWN_AS_UNBROKEN_S if share >= _UNBROKEN_DUTY else KNOWN_AS_BEAT_S
    least_share = _SHORT_BEEP_DUTY if float(np.median(lengths)) <= _SHORT_BEEP_S else _BEAT_DUTY
    if share >= least_share and span_s > known_s:
        unasked.append(Unasked("smoke_alarm", known_s, span_s + 2.0))
    return tuple(unasked)


def machine_knowable_s(on_s: Sequence[tuple[float, float]]) -> float:
    """Return after how many seconds a machine's beeps at `on_s` (seconds, sorted) can be told from T3's first pulses.

    A beep of another length says so itself. Beeps like T3's pulses are a machine's once a fourth follows the third, or
    once none follows: a head that answered sooner would call every smoke alarm a machine first.
    """
    first_s = on_s[0][0]
    length_s = on_s[0][1] - first_s
    if length_s < T3_PULSE_S[0]:
        return length_s + 0.08
    if length_s > T3_PULSE_S[1]:
        return T3_PULSE_S[1] + 0.1
    for number, (one, following) in enumerate(pairwise(on_s), 1):
        gap_s = following[0] - one[1]
        if gap_s < T3_GAP_S[0] or number == _T3_PULSES:
            return following[0] - first_s + 0.1
        if gap_s > T3_GAP_S[1]:
            return one[1] - first_s + _GROUP_OVER_S
    return on_s[-1][1] - first_s + (_T3_PAUSE_S if len(on_s) == _T3_PULSES else _GROUP_OVER_S)


def alarm_unlike_machine(on_s: Sequence[tuple[float, float]]) -> tuple[Unasked, ...]:
    """Return when the appliance head is not asked about an alarm that sounds at `on_s` (seconds, sorted).

    An even beat is a machine's for all anyone knows, as long as machines go on. T3 and what hardly pauses are an
    alarm's from the first pulse on: there the head learns to wait.
    """
    known_s = alarm_knowable_s(on_s)
    return (Unasked("appliance_beep", 0.0, known_s + 0.5),) if known_s == KNOWN_AS_BEAT_S else ()


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
