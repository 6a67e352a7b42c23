"""Smoke and carbon monoxide alarms as a person in the house would hear them, before any room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.dataset.synthesis import cadences, tones
from edge.dataset.synthesis.cadences import Cadence
from edge.dataset.synthesis.tones import Audio, Tone


@dataclass(frozen=True)
class Alarm:
    """A sounding alarm: ``pcm`` float32[n] at 16 kHz, what it was made of, and its on-times in seconds."""

    pcm: Audio
    cadence: Cadence
    tone: Tone
    on_s: list[tuple[float, float]]


def sound(
    cadence: Cadence,
    tone: Tone,
    duration_s: float,
    rng: np.random.Generator,
    start_s: float = 0.0,
    repeats: int | None = None,
) -> Alarm:
    """An alarm of this cadence and tone for ``duration_s`` seconds; the first onset is at ``start_s``."""
    on_s = cadence.intervals(duration_s, start_s, repeats)
    return Alarm(tones.render(tone, on_s, duration_s, rng), cadence, tone, on_s)


def smoke_alarm(rng: np.random.Generator, duration_s: float = 12.0, start_s: float | None = None) -> Alarm:
    """A smoke alarm: four in five are T3 within its tolerances, the rest old-style or unbroken.

    ``start_s`` None draws the phase: half of the alarms are already going when the recording begins.
    """
    draw = rng.random()
    if draw < 0.8:
        cadence = cadences.random_t3(rng)
    elif draw < 0.95:
        cadence = cadences.old_style(rng)
    else:
        cadence = cadences.unbroken()
    return sound(cadence, tones.random_alarm_tone(rng), duration_s, rng, _phase(cadence, rng, start_s))


def co_alarm(rng: np.random.Generator, duration_s: float = 12.0, start_s: float | None = None) -> Alarm:
    """A carbon monoxide alarm: T4 within its tolerances. ``start_s`` as in :func:`smoke_alarm`."""
    cadence = cadences.random_t4(rng)
    return sound(cadence, tones.random_alarm_tone(rng), duration_s, rng, _phase(cadence, rng, start_s))


def _phase(cadence: Cadence, rng: np.random.Generator, start_s: float | None) -> float:
    if start_s is not None:
        return start_s
    if rng.random() < 0.5:
        return float(rng.uniform(0.0, 0.5))
    return float(-rng.uniform(0.0, min(cadence.period_s, 8.0)))
