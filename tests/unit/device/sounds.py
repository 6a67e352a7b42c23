"""Sounds that the hand-set model knows."""

import numpy as np

from edge.dataset.synthesis import cadences

TONES_HZ = {"smoke_alarm": 3100, "co_alarm": 4200, "glass_break": 5600, "dog_bark": 750, "baby_cry": 1250}
RATE_HZ = 16000
# an alarm is known by its cadence long before a tone has lasted long enough to be one: a burst of T3 and the silence
# after it, two bursts of T4
ALARMS = {"smoke_alarm": (cadences.t3(), 4.0), "co_alarm": (cadences.t4(), 7.5)}
OTHER_SECONDS = 2.0


def quiet(seconds: float, seed: int = 0) -> np.ndarray:
    """Return int16[n]: soft noise that no head answers to."""
    return np.random.default_rng(seed).normal(0, 100, int(seconds * RATE_HZ)).astype(np.int16)


def seconds_of(event: str) -> float:
    """Return how long the event has to sound to be one."""
    return ALARMS[event][1] if event in ALARMS else OTHER_SECONDS


def tone_of(event: str, seconds: float | None = None) -> np.ndarray:
    """Return int16[n]: what the head of `event` answers to, `seconds_of` it long where nothing else is asked."""
    seconds = seconds_of(event) if seconds is None else seconds
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    is_on = np.ones(len(time_s), bool)
    if event in ALARMS:
        pulses_s = ALARMS[event][0].intervals(seconds)
        is_on = np.any([(start <= time_s) & (time_s < end) for start, end in pulses_s], axis=0)
    return np.rint(8000 * np.sin(2 * np.pi * TONES_HZ[event] * time_s) * is_on).astype(np.int16)


def scene(*events: str, pause_s: float = 4.0) -> np.ndarray:
    """Return each event's tone after a pause, and a pause at the end."""
    parts = [part for seed, event in enumerate(events) for part in (quiet(pause_s, seed), tone_of(event))]
    return np.concatenate([*parts, quiet(pause_s, 99)])


def overlapping(first: str, second: str, later_s: float) -> np.ndarray:
    """Return a pause, the first event's tone, `later_s` into it the second's over it, and a pause."""
    starts = ((first, 0), (second, int(later_s * RATE_HZ)))
    sounding = np.zeros(max(start + len(tone_of(event)) for event, start in starts), np.int16)
    for event, start in starts:
        sounding[start : start + len(tone_of(event))] += tone_of(event)
    return np.concatenate([quiet(3.0), sounding, quiet(4.0, 99)])
