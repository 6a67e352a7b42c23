"""What falls and clinks at home without being an event: cutlery, plates, keys, coins, pans, thuds, claps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal

from edge.dataset.synthesis.bodies import bounces, modes, struck, unit
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized


@dataclass(frozen=True)
class Thing:
    """A kind of thing: between what its modes lie (Hz), how many, their decay at 1 kHz, how many fall and bounce."""

    low_hz: tuple[float, float]
    high_hz: tuple[float, float]
    modes: tuple[int, int]
    ring_s: tuple[float, float]
    pieces: tuple[int, int]
    restitution: float


THINGS = {
    "cutlery": Thing((900, 2200), (4000, 7800), (4, 9), (0.05, 0.5), (1, 9), 0.4),
    "plate": Thing((500, 1500), (2500, 6000), (4, 8), (0.03, 0.25), (1, 4), 0.4),
    "keys": Thing((2200, 3500), (6000, 7900), (4, 8), (0.02, 0.15), (3, 12), 0.35),
    "coin": Thing((2500, 4500), (6000, 7900), (3, 6), (0.1, 0.6), (1, 4), 0.7),
    "glass that holds": Thing((1200, 2800), (4500, 7500), (3, 6), (0.08, 0.7), (1, 3), 0.3),
    "pan": Thing((200, 600), (2500, 5000), (6, 12), (0.1, 0.7), (1, 2), 0.4),
    "plastic": Thing((250, 900), (1500, 4000), (4, 8), (0.008, 0.03), (1, 4), 0.5),
}


def dropped(rng: np.random.Generator, thing: str | None = None) -> Audio:
    """One of ``THINGS``, or a few of a kind, struck or dropped: float32[n] of 0.3 to 2.5 s, peak 0.9."""
    of = THINGS[thing or list(THINGS)[int(rng.integers(len(THINGS)))]]
    length_s = float(rng.uniform(0.3, 2.5))
    samples = round(length_s * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples)
    ring_s = float(np.exp(rng.uniform(*np.log(of.ring_s))))
    pieces = int(rng.integers(of.pieces[0], of.pieces[1] + 1))
    for index in range(pieces):
        body = modes(
            rng, (float(rng.uniform(*of.low_hz)), float(rng.uniform(*of.high_hz))), int(rng.integers(*of.modes)), ring_s
        )
        at_s = 0.02 if index == 0 else float(rng.uniform(0.02, 0.7 * length_s))
        hits = bounces(
            rng, at_s, float(rng.uniform(0.3, 1.0)), of.restitution * float(rng.uniform(0.6, 1.3)), length_s - 0.02
        )
        pcm += struck(body, samples, hits, rng, contact=int(rng.integers(2, 8)))
    pcm = unit(pcm)
    knock = np.zeros(samples)
    first = round(0.02 * SAMPLE_RATE_HZ)
    length = min(samples - first, 800)
    knock[first : first + length] = rng.standard_normal(length) * np.exp(
        -np.arange(length) / float(rng.uniform(8.0, 80.0))
    )
    fade = np.minimum(1.0, np.arange(samples)[::-1] / 480.0)
    return normalized((pcm + float(rng.uniform(0.0, 0.8)) * unit(knock)) * fade)


def thud(rng: np.random.Generator) -> Audio:
    """Something soft or heavy that is put down or bumps into furniture, 0.5 s: low modes, no latch."""
    samples = SAMPLE_RATE_HZ // 2
    low = float(rng.uniform(40, 180))
    body = modes(rng, (low, low * float(rng.uniform(2, 7))), int(rng.integers(3, 8)), float(rng.uniform(0.005, 0.03)))
    hits = bounces(rng, 0.02, 1.0, float(rng.uniform(0.1, 0.35)), 0.45)
    return normalized(struck(body, samples, hits, rng, contact=int(rng.integers(20, 120))))


def claps(rng: np.random.Generator) -> Audio:
    """One to eight hand claps: noise of 2-10 ms round 0.8-2.5 kHz, 2-5 a second."""
    count, rate = int(rng.integers(1, 9)), float(rng.uniform(2.0, 5.0))
    samples = round((count / rate + 0.4) * SAMPLE_RATE_HZ)
    blows = np.zeros(samples)
    for index in range(count):
        at = round((0.03 + index / rate + float(rng.normal(0.0, 0.02 / rate))) * SAMPLE_RATE_HZ)
        length = round(float(rng.uniform(0.006, 0.03)) * SAMPLE_RATE_HZ)
        blows[max(0, at) : max(0, at) + length] += (
            rng.standard_normal(length) * np.exp(-4.0 * np.arange(length) / length) * float(rng.uniform(0.6, 1.0))
        )[: samples - max(0, at)]
    b, a = scipy.signal.iirpeak(float(rng.uniform(800.0, 2500.0)), float(rng.uniform(0.7, 2.0)), fs=SAMPLE_RATE_HZ)
    return normalized(scipy.signal.lfilter(b, a, blows) + 0.2 * blows)
