"""Doors that shut, in layers: the leaf's thump, the frame that answers and rattles, the air, the latch."""

from __future__ import annotations

import numpy as np

from edge.dataset.synthesis.bodies import bounces, modes, struck, unit
from edge.dataset.synthesis.noise import colored
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized


def door(rng: np.random.Generator) -> tuple[Audio, float]:
    """A door shuts: float32[n] of 0.7 to 1.5 s, peak 0.9, and when (seconds) the blow comes.

    Room doors, front doors and slammed ones: light or heavy leaf, soft or hard seal, latch before or after the blow.
    """
    samples = round(float(rng.uniform(0.7, 1.5)) * SAMPLE_RATE_HZ)
    blow_s = float(rng.uniform(0.03, 0.3))
    at = round(blow_s * SAMPLE_RATE_HZ)
    slam = float(rng.uniform(0.0, 1.0))
    low = float(rng.uniform(35.0, 140.0))
    leaf = modes(
        rng, (low, low * float(rng.uniform(3.0, 9.0))), int(rng.integers(6, 14)), float(rng.uniform(0.01, 0.05))
    )
    frame = modes(
        rng, (200.0, float(rng.uniform(900.0, 2500.0))), int(rng.integers(6, 14)), float(rng.uniform(0.01, 0.04))
    )
    metal = modes(
        rng, (1000.0, float(rng.uniform(3500.0, 7500.0))), int(rng.integers(4, 9)), float(rng.uniform(0.01, 0.06))
    )
    second = at + round(float(rng.uniform(0.008, 0.06)) * SAMPLE_RATE_HZ)
    pcm = unit(
        struck(leaf, samples, [(at, 1.0), (second, float(rng.uniform(0.1, 0.6)))], rng, int(rng.integers(8, 90)))
    )
    frame_hits = [(at, 1.0), *bounces(rng, blow_s + 0.02, 0.4 * slam, 0.5, samples / SAMPLE_RATE_HZ - 0.1)]
    pcm += float(rng.uniform(0.1, 0.8)) * unit(struck(frame, samples, frame_hits, rng, int(rng.integers(2, 20))))
    air = colored(rng, samples - at, float(rng.uniform(-9.0, -3.0))).astype(np.float64)
    air *= np.exp(-np.arange(samples - at) / SAMPLE_RATE_HZ / float(rng.uniform(0.01, 0.08)))
    pcm[at:] += float(rng.uniform(0.1, 1.0)) * unit(air)
    latch_s = blow_s + float(rng.uniform(-0.06, 0.12))
    clicks = [
        (max(0, round((latch_s + d) * SAMPLE_RATE_HZ)), g)
        for d, g in ((0.0, 1.0), (float(rng.uniform(0.01, 0.06)), 0.5))
    ]
    pcm += float(np.exp(rng.uniform(np.log(0.03), np.log(0.7)))) * unit(struck(metal, samples, clicks, rng, 3))
    pcm *= np.minimum(1.0, np.arange(samples)[::-1] / 800.0)
    return normalized(pcm), blow_s
