"""Beeps of household machines: the sounds most easily mistaken for alarms."""

from __future__ import annotations

import numpy as np

from edge.dataset.synthesis import tones
from edge.dataset.synthesis.cadences import Cadence, even
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, Tone


def microwave(rng: np.random.Generator, beeps: int = 5, frequency_hz: float | None = None) -> Audio:
    """A microwave that has finished: ``beeps`` equal beeps, then no more. Its length follows from them."""
    hz = float(rng.uniform(1900.0, 2300.0)) if frequency_hz is None else frequency_hz
    on_s, off_s = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.3, 1.0))
    cadence = even(on_s, off_s)
    duration_s = beeps * (on_s + off_s) + 0.3
    return tones.render(_beeper(rng, hz), cadence.intervals(duration_s, 0.1, beeps), duration_s, rng)


def washing_machine(rng: np.random.Generator, beeps: int = 8) -> Audio:
    """A washing machine's end signal: 0.5 s on, 0.5 s off. T3's pulses without T3's pause."""
    cadence = even(float(rng.uniform(0.46, 0.54)), float(rng.uniform(0.46, 0.54)))
    duration_s = beeps * cadence.period_s + 0.3
    tone = _beeper(rng, float(rng.uniform(1500.0, 3600.0)))
    return tones.render(tone, cadence.intervals(duration_s, 0.1, beeps), duration_s, rng)


def chime(rng: np.random.Generator, notes: int = 6) -> Audio:
    """A melody of decaying notes, as dishwashers, dryers and door chimes play it."""
    step_s = float(rng.uniform(0.12, 0.4))
    samples = round((notes * step_s + 1.0) * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples)
    root = float(rng.uniform(700.0, 1800.0))
    scale = (0, 2, 4, 5, 7, 9, 12)
    for index in range(notes):
        hz = root * 2.0 ** (int(rng.choice(scale)) / 12.0)
        start = round(index * step_s * SAMPLE_RATE_HZ)
        t = np.arange(samples - start) / SAMPLE_RATE_HZ
        decay = np.exp(-t / float(rng.uniform(0.08, 0.3)))
        pcm[start:] += decay * (np.sin(2 * np.pi * hz * t) + 0.2 * np.sin(2 * np.pi * 2 * hz * t))
    return tones.normalized(pcm)


def keypad(rng: np.random.Generator, presses: int = 4) -> Audio:
    """Buttons pressed by a person: short beeps at uneven times."""
    tone = _beeper(rng, float(rng.uniform(1800.0, 4400.0)))
    at_s, on_s = 0.1, []
    for _ in range(presses):
        on_s.append((at_s, at_s + float(rng.uniform(0.04, 0.15))))
        at_s += float(rng.uniform(0.25, 0.9))
    return tones.render(tone, on_s, at_s + 0.2, rng)


def low_battery(rng: np.random.Generator, duration_s: float = 4.0) -> Audio:
    """The chirp of an alarm whose battery is low: one short tone, not an alarm."""
    tone = tones.piezo(float(rng.uniform(2800.0, 3500.0)))
    start_s = float(rng.uniform(0.1, max(0.2, duration_s - 0.5)))
    return tones.render(tone, [(start_s, start_s + float(rng.uniform(0.02, 0.08)))], duration_s, rng)


def beeper(rng: np.random.Generator, cadence: Cadence, duration_s: float, frequency_hz: float) -> Audio:
    """A household beeper of any cadence and frequency for ``duration_s`` seconds, the first beep at once."""
    return tones.render(_beeper(rng, frequency_hz), cadence.intervals(duration_s), duration_s, rng)


def appliance_beep(rng: np.random.Generator) -> Audio:
    """Any of the beeps above; 0.5 to 12 s long."""
    form = int(rng.integers(5))
    if form == 0:
        return microwave(rng, int(rng.integers(1, 6)))
    if form == 1:
        return washing_machine(rng, int(rng.integers(3, 11)))
    if form == 2:
        return chime(rng, int(rng.integers(3, 9)))
    if form == 3:
        return keypad(rng, int(rng.integers(1, 7)))
    cadence = even(float(rng.uniform(0.06, 0.9)), float(rng.uniform(0.08, 1.2)))
    duration_s = float(rng.uniform(2, 6)) * cadence.period_s
    return beeper(rng, cadence, duration_s, float(rng.uniform(800.0, 4400.0)))


def _beeper(rng: np.random.Generator, frequency_hz: float) -> Tone:
    harmonics = int(rng.integers(1, 4))
    partials = tuple(
        (frequency_hz * (k + 1), 1.0 if k == 0 else float(rng.uniform(0.02, 0.4))) for k in range(harmonics)
    )
    return Tone(partials, attack_ms=float(rng.uniform(1.0, 6.0)), release_ms=float(rng.uniform(2.0, 25.0)))
