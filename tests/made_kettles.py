"""Whistling kettles that nobody had to record: a new event for tests and for the page on adding one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE_HZ = 16_000


def kettle_whistle(seed: int) -> np.ndarray:
    """Return int16[n] of 2.5–5 s: a whistle that rises as the steam builds up, with its octave, a flutter and hiss."""
    rng = np.random.default_rng((5, seed))
    samples = int(rng.uniform(2.5, 5) * SAMPLE_RATE_HZ)
    t = np.arange(samples) / SAMPLE_RATE_HZ
    flutter_hz = 20 * rng.uniform(1, 5) * np.sin(2 * np.pi * rng.uniform(5, 12) * t)
    pitch_hz = np.minimum(1, t / rng.uniform(0.5, 1.2)) * rng.uniform(1800, 2600) + flutter_hz
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    whistle = (np.sin(phase) + 0.3 * np.sin(2 * phase)) * np.minimum(1, t / 0.3) * np.minimum(1, (t[-1] - t) / 0.05)
    pcm = whistle + 0.15 * rng.standard_normal(samples)
    return np.round(8000 * pcm / np.abs(pcm).max()).astype(np.int16)


def in_a_kitchen(seed: int) -> np.ndarray:
    """Return int16[n]: 3 s of faint noise, a kettle, 3 s of faint noise."""
    rng = np.random.default_rng((6, seed))
    pcm = np.concatenate([np.zeros(48_000), 0.4 * kettle_whistle(seed), np.zeros(48_000)])
    return np.round(pcm + 30 * rng.standard_normal(len(pcm))).astype(np.int16)


def make_folder(root: Path, count: int) -> Path:
    """Fill `root` with `count` recordings."""
    root.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        soundfile.write(root / f"kettle_{seed:02d}.wav", kettle_whistle(seed), SAMPLE_RATE_HZ, subtype="PCM_16")
    return root
