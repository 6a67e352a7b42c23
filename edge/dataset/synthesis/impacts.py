"""Things that hit other things: breaking glass, footsteps and walks, doors and knocks, by modal synthesis."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.signal

from edge.dataset.synthesis.noise import colored
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized

STEPS_PER_SECOND_MIN = 1.4
STEPS_PER_SECOND_MAX = 2.4


def modes(
    samples: int, hz: npt.NDArray[np.float64], decay_s: npt.NDArray[np.float64], amplitude: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Sum of damped sines float64[samples]: a struck object. The three arrays are of one length, one mode each."""
    t = np.arange(samples) / SAMPLE_RATE_HZ
    audible = (hz > 20.0) & (hz < 7800.0)
    ring = np.exp(-t[:, None] / decay_s[audible]) * np.sin(2.0 * np.pi * hz[audible] * t[:, None])
    return np.asarray(ring @ amplitude[audible])


def glass_break(rng: np.random.Generator, duration_s: float = 2.0) -> Audio:
    """A pane that breaks: the blow, the crack (dense high modes) and shards that fall and tinkle for a second or so."""
    samples = round(duration_s * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples)
    hit = round(0.05 * SAMPLE_RATE_HZ)
    # the blow on the pane: a few low modes
    n = samples - hit
    low = rng.uniform(150.0, 900.0, 5)
    pcm[hit:] += 0.5 * modes(n, low, rng.uniform(0.02, 0.08, 5), rng.uniform(0.3, 1.0, 5))
    # the crack: noise above 2 kHz that dies within 50-150 ms, and the pane's own modes
    crack = rng.standard_normal(n) * np.exp(-np.arange(n) / SAMPLE_RATE_HZ / float(rng.uniform(0.03, 0.09)))
    high = scipy.signal.butter(2, float(rng.uniform(1800.0, 3000.0)), "highpass", fs=SAMPLE_RATE_HZ, output="sos")
    pcm[hit:] += 0.6 * scipy.signal.sosfilt(high, crack)
    count = int(rng.integers(20, 40))
    pane = rng.uniform(1500.0, 7500.0, count)
    pcm[hit:] += 0.25 * modes(n, pane, rng.uniform(0.02, 0.12, count), rng.uniform(0.2, 1.0, count))
    # shards: small pieces of high pitch; many at once, then fewer, bouncing
    shards = int(rng.integers(25, 70))
    times_s = 0.08 + rng.exponential(float(rng.uniform(0.15, 0.4)), shards)
    for time_s in times_s:
        bounce_s, strength = float(time_s), float(rng.uniform(0.05, 0.35))
        base = float(rng.uniform(2200.0, 6500.0))
        ratio = np.array([1.0, rng.uniform(1.3, 1.7), rng.uniform(1.9, 2.6)])
        for _ in range(int(rng.integers(1, 4))):
            start = round(bounce_s * SAMPLE_RATE_HZ)
            if start >= samples:
                break
            length = min(samples - start, SAMPLE_RATE_HZ // 4)
            decay = rng.uniform(0.01, 0.06, 3)
            pcm[start : start + length] += strength * modes(length, base * ratio, decay, np.array([1.0, 0.6, 0.3]))
            bounce_s += float(rng.uniform(0.03, 0.15))
            strength *= 0.5
    return normalized(pcm)


def footstep(rng: np.random.Generator) -> Audio:
    """One step, 0.25 s: heel, then sole, on a floor that has low modes. One step alone is no event."""
    return _step(rng, _floor(rng), 1.0)


def walk(rng: np.random.Generator, duration_s: float = 5.0, steps_per_second: float | None = None) -> Audio:
    """Someone walks: steps of one person on one floor, 1.4-2.4 a second, left and right not quite alike."""
    if steps_per_second is None:
        steps_per_second = float(rng.uniform(STEPS_PER_SECOND_MIN, STEPS_PER_SECOND_MAX))
    samples = round(duration_s * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples + SAMPLE_RATE_HZ)
    floor = _floor(rng)
    feet = (1.0, float(rng.uniform(0.7, 1.0)))
    at_s, index = float(rng.uniform(0.05, 0.4)), 0
    approach = rng.uniform(0.4, 1.0, 2)  # loudness at the start and at the end: coming or going
    while at_s < duration_s:
        step = _step(rng, floor, feet[index % 2])
        gain = approach[0] + (approach[1] - approach[0]) * at_s / duration_s
        start = round(at_s * SAMPLE_RATE_HZ)
        pcm[start : start + len(step)] += step * gain * rng.uniform(0.8, 1.1)
        at_s += (1.0 + float(rng.normal(0.0, 0.04))) / steps_per_second
        index += 1
    return normalized(pcm[:samples])


def door_thump(rng: np.random.Generator) -> Audio:
    """A door that shuts, 1 s: the leaf's low modes, the frame's knock a moment later, and the latch."""
    samples = SAMPLE_RATE_HZ
    pcm = np.zeros(samples)
    start = round(0.15 * SAMPLE_RATE_HZ)
    latch = start + round(float(rng.uniform(0.01, 0.06)) * SAMPLE_RATE_HZ)
    count = 10
    leaf = rng.uniform(50.0, 400.0, count)
    pcm[start:] += modes(samples - start, leaf, rng.uniform(0.03, 0.15, count), rng.uniform(0.3, 1.0, count))
    blow = colored(rng, samples - start, -6.0) * np.exp(-np.arange(samples - start) / SAMPLE_RATE_HZ / 0.04)
    pcm[start:] += 8.0 * blow
    metal = rng.uniform(1200.0, 5000.0, 6)
    pcm[latch:] += 0.3 * modes(samples - latch, metal, rng.uniform(0.005, 0.03, 6), rng.uniform(0.2, 1.0, 6))
    if rng.random() < 0.4:  # hinges creak before it shuts
        creak = np.arange(start) / SAMPLE_RATE_HZ
        pcm[:start] += 0.1 * scipy.signal.sawtooth(2.0 * np.pi * (300.0 + 900.0 * creak) * creak)
    return normalized(pcm)


def knock(rng: np.random.Generator, knocks: int = 3) -> Audio:
    """Knuckles on a door: ``knocks`` equal blows, 0.15-0.3 s apart."""
    gap_s = float(rng.uniform(0.15, 0.3))
    samples = round((knocks * gap_s + 0.4) * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples)
    wood = rng.uniform(120.0, 1400.0, 8)
    amplitude = rng.uniform(0.2, 1.0, 8)
    decay = rng.uniform(0.01, 0.05, 8)
    for index in range(knocks):
        start = round((0.05 + index * gap_s * float(rng.uniform(0.92, 1.08))) * SAMPLE_RATE_HZ)
        length = min(samples - start, SAMPLE_RATE_HZ // 3)
        pcm[start : start + length] += modes(length, wood, decay, amplitude) * rng.uniform(0.8, 1.0)
    return normalized(pcm)


def _floor(rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Mode frequencies (Hz), their decays (s), and how hard the shoes are (0 socks, 1 heels)."""
    count = 6
    return rng.uniform(50.0, 500.0, count), rng.uniform(0.015, 0.06, count), float(rng.uniform(0.0, 1.0))


def _step(
    rng: np.random.Generator, floor: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float], strength: float
) -> Audio:
    hz, decay, hardness = floor
    samples = SAMPLE_RATE_HZ // 4
    pcm = modes(samples, hz, decay, rng.uniform(0.5, 1.0, len(hz)))
    t = np.arange(samples) / SAMPLE_RATE_HZ
    click = rng.standard_normal(samples) * np.exp(-t / 0.004)
    cut = scipy.signal.butter(1, 500.0 + 5000.0 * hardness, "lowpass", fs=SAMPLE_RATE_HZ, output="sos")
    pcm += (0.5 + 2.5 * hardness) * scipy.signal.sosfilt(cut, click)
    sole = round(float(rng.uniform(0.05, 0.1)) * SAMPLE_RATE_HZ)
    scuff = rng.standard_normal(samples - sole) * np.exp(-t[: samples - sole] / 0.025)
    pcm[sole:] += 0.25 * scipy.signal.sosfilt(cut, scuff)
    return normalized(pcm, 0.9 * strength)
