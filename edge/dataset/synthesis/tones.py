"""The sound of a sounder: partials, their roughness, and switching them on and off.

All audio of this package is float32 at 16 kHz with a peak of at most 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000

Audio = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tone:
    """A steady sound that can be switched on and off.

    ``partials``: (frequency in Hz, amplitude) each. ``attack_ms`` and ``release_ms`` are time constants.
    ``roughness`` is the depth (0-1) of an amplitude modulation at ``roughness_hz``; ``sweep`` the fraction by
    which the frequency swings up and down ``sweep_hz`` times a second; ``alternate_hz`` > 0 steps between the
    partials one at a time, that many times a second (two-tone sounders).
    """

    partials: tuple[tuple[float, float], ...]
    attack_ms: float = 4.0
    release_ms: float = 8.0
    roughness: float = 0.0
    roughness_hz: float = 0.0
    sweep: float = 0.0
    sweep_hz: float = 0.0
    alternate_hz: float = 0.0


def piezo(frequency_hz: float, second_harmonic: float = 0.1) -> Tone:
    """A piezo disc in its horn: nearly a sine, with a little of the second harmonic."""
    return Tone(((frequency_hz, 1.0), (2.0 * frequency_hz, second_harmonic)))


def square(frequency_hz: float = 520.0, attack_ms: float = 3.0) -> Tone:
    """A square wave below 7.8 kHz: the low-frequency sounder of sleeping rooms (520 Hz ± 10 %)."""
    orders = range(1, int(7800.0 / frequency_hz) + 1, 2)
    return Tone(tuple((k * frequency_hz, 1.0 / k) for k in orders), attack_ms=attack_ms)


def harmonic_rich(spacing_hz: float = 430.0, strongest_hz: float = 2150.0, width_octaves: float = 0.7) -> Tone:
    """Partials ``spacing_hz`` apart, strongest at ``strongest_hz``; a bell, 1 sigma = ``width_octaves``.

    Some real smoke alarms sound like this; a listener for a single tone at 3 kHz misses them.
    """
    orders = np.arange(1, int(7600.0 / spacing_hz) + 1)
    hz = orders * spacing_hz
    amplitude = np.exp(-0.5 * (np.log2(hz / strongest_hz) / width_octaves) ** 2) + 0.02
    return Tone(tuple((float(f), float(a)) for f, a in zip(hz, amplitude, strict=True)))


def random_alarm_tone(rng: np.random.Generator) -> Tone:
    """A tone of the kind alarms have: mostly 2.4-3.6 kHz, sometimes 520 Hz square or harmonic-rich."""
    choice = rng.random()
    if choice < 0.62:
        tone = piezo(rng.uniform(2400.0, 3600.0), rng.uniform(0.0, 0.35))
    elif choice < 0.76:
        tone = square(rng.uniform(468.0, 572.0))
    elif choice < 0.92:
        tone = harmonic_rich(rng.uniform(250.0, 700.0), rng.uniform(1800.0, 3400.0), rng.uniform(0.4, 1.2))
    else:  # two tones sounding or sweeping together
        low, high = rng.uniform(2300.0, 2800.0), rng.uniform(2900.0, 3600.0)
        tone = Tone(((low, 1.0), (high, rng.uniform(0.5, 1.0))))
    return Tone(
        tone.partials,
        attack_ms=float(rng.uniform(1.0, 12.0)),
        release_ms=float(rng.uniform(2.0, 20.0)),
        roughness=float(rng.uniform(0.0, 0.5)) if rng.random() < 0.3 else 0.0,
        roughness_hz=float(rng.uniform(30.0, 180.0)),
        sweep=float(rng.uniform(0.0, 0.03)) if rng.random() < 0.3 else 0.0,
        sweep_hz=float(rng.uniform(1.0, 12.0)),
    )


def gate(
    intervals_s: Sequence[tuple[float, float]], samples: int, attack_ms: float, release_ms: float
) -> npt.NDArray[np.float64]:
    """Envelope float64[samples] in 0-1 that follows the on-times, with exponential attack and release."""
    level = np.zeros(samples)
    attack = max(attack_ms, 0.1) * SAMPLE_RATE_HZ / 1000.0
    release = max(release_ms, 0.1) * SAMPLE_RATE_HZ / 1000.0
    for start_s, end_s in intervals_s:
        start, end = round(start_s * SAMPLE_RATE_HZ), min(round(end_s * SAMPLE_RATE_HZ), samples)
        if start >= samples or end <= start:
            continue
        level[start:end] = np.maximum(level[start:end], 1.0 - np.exp(-np.arange(1, end - start + 1) / attack))
        tail = min(samples - end, int(8 * release))
        after = level[end - 1] * np.exp(-np.arange(1, tail + 1) / release)
        level[end : end + tail] = np.maximum(level[end : end + tail], after)
    return level


def render(
    tone: Tone, intervals_s: Sequence[tuple[float, float]], duration_s: float, rng: np.random.Generator
) -> Audio:
    """The tone sounding at ``intervals_s``: float32[duration_s * 16000], peak 0.9 (silence stays silence).

    ``rng`` gives each partial its phase.
    """
    samples = round(duration_s * SAMPLE_RATE_HZ)
    t = np.arange(samples) / SAMPLE_RATE_HZ
    partials = [(hz, a) for hz, a in tone.partials if 0.0 < hz < 7900.0]
    phases = rng.uniform(0.0, 2.0 * np.pi, len(partials) + 2)
    # the integral of 1 + sweep * sin(2 pi f t), so that phase stays continuous while the frequency swings
    warped = t
    if tone.sweep > 0.0 and tone.sweep_hz > 0.0:
        angle = 2.0 * np.pi * tone.sweep_hz
        warped = t - tone.sweep * (np.cos(angle * t + phases[-1]) - np.cos(phases[-1])) / angle
    pcm = np.zeros(samples)
    for index, (hz, amplitude) in enumerate(partials):
        partial = amplitude * np.sin(2.0 * np.pi * hz * warped + phases[index])
        if tone.alternate_hz > 0.0:
            partial *= (np.floor(t * tone.alternate_hz).astype(int) % len(partials)) == index
        pcm += partial
    if tone.roughness > 0.0:
        pcm *= 1.0 - tone.roughness * 0.5 * (1.0 + np.sin(2.0 * np.pi * tone.roughness_hz * t + phases[-2]))
    pcm *= gate(intervals_s, samples, tone.attack_ms, tone.release_ms)
    return normalized(pcm, 0.9)


def normalized(pcm: npt.NDArray[np.floating], peak: float = 0.9) -> Audio:
    """``pcm`` scaled to the given peak as float32; silence is returned as it is."""
    highest = float(np.max(np.abs(pcm), initial=0.0))
    scaled = pcm * (peak / highest) if highest > 1e-9 else pcm
    return np.asarray(scaled, dtype=np.float32)
