"""Bodies that are struck: each mode a two-pole resonator, driven by the blows it gets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.signal

from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ

HIGHEST_HZ = 7900.0

Pcm = npt.NDArray[np.float64]
# frequency (Hz), decay to 1/e (s), amplitude
Mode = tuple[float, float, float]


def modes(rng: np.random.Generator, between_hz: tuple[float, float], count: int, ring_s: float) -> list[Mode]:
    """Modes of one body, spread evenly over octaves; ``ring_s`` is the decay at 1 kHz, and higher ones die sooner."""
    low, high = between_hz
    hz = np.exp(rng.uniform(np.log(low), np.log(high), count))
    decay_s = ring_s * (hz / 1000.0) ** -0.5 * rng.uniform(0.4, 1.6, count)
    return [(float(f), float(d), float(a)) for f, d, a in zip(hz, decay_s, rng.uniform(0.2, 1.0, count), strict=True)]


def struck(
    body: Sequence[Mode], samples: int, hits: Sequence[tuple[int, float]], rng: np.random.Generator, contact: int = 2
) -> Pcm:
    """The body's sound float64[samples], struck at (sample, strength); each blow lasts 1 to ``contact`` samples."""
    blows = np.zeros(samples)
    for at, strength in hits:
        # the contact is not a perfect impulse, and never twice the same
        width = int(rng.integers(1, contact + 1))
        blows[at : at + width] += strength * rng.uniform(0.5, 1.0, len(blows[at : at + width])) / width**0.5
    return driven(body, blows)


def driven(body: Sequence[Mode], blows: Pcm) -> Pcm:
    """The body's sound under any force ``blows`` float64[n]."""
    out = np.zeros(len(blows))
    for hz, decay_s, amplitude in body:
        if hz < HIGHEST_HZ:
            radius = float(np.exp(-1.0 / (decay_s * SAMPLE_RATE_HZ)))
            angle = 2.0 * np.pi * hz / SAMPLE_RATE_HZ
            feedback = [1.0, -2.0 * radius * np.cos(angle), radius * radius]
            out += amplitude * np.sin(angle) * scipy.signal.lfilter([0.0, 1.0], feedback, blows)
    return out


def bounces(
    rng: np.random.Generator, at_s: float, strength: float, restitution: float, end_s: float
) -> list[tuple[int, float]]:
    """A body that falls and bounces: (sample, strength) of every blow until it lies still or ``end_s`` is reached."""
    hits = []
    gap_s = float(rng.uniform(0.03, 0.2))
    while strength > 0.02 and at_s < end_s and gap_s > 0.004:
        hits.append((round(at_s * SAMPLE_RATE_HZ), strength))
        at_s += gap_s
        gap_s *= restitution
        strength *= restitution
    return hits


def unit(pcm: Pcm) -> Pcm:
    """``pcm`` scaled to a peak of 1."""
    return np.asarray(pcm / (np.max(np.abs(pcm)) + 1e-9))
