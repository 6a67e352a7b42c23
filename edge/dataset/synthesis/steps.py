"""Footsteps by granular synthesis: heel and sole on floors of wood, stone, carpet, gravel, snow and metal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.signal

from edge.dataset.synthesis.bodies import Mode, driven, unit
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized

STEPS_PER_SECOND = (1.4, 2.4)
FLOORS = ("wood", "stone", "carpet", "gravel", "snow", "metal")


@dataclass(frozen=True)
class Walker:
    """Who walks on what.

    ``modes``: the floor's. ``click``: the shoe's own blow beside them. ``shoe_hz``: up to where that reaches; soft
    soles stay low. ``blow_s``: how long the heel's contact lasts. ``grain``: strength of what crunches or scuffs,
    ``grain_hz`` where it lies and ``grains`` how many pieces a step has. ``roll_s``: from heel to sole. ``toe``: the
    sole's strength.
    """

    modes: tuple[Mode, ...]
    click: float
    shoe_hz: float
    blow_s: float
    grain: float
    grain_hz: tuple[float, float]
    grains: int
    roll_s: float
    toe: float


def walker(rng: np.random.Generator, floor: str | None = None) -> Walker:
    """Draw somebody on one of ``FLOORS``."""
    kind = floor or FLOORS[int(rng.integers(len(FLOORS)))]
    # lowest and highest mode (Hz), their decay (s), shoe, grain strength, number and band
    low, high, decay_s, shoe_hz, grain, grains, band = {
        "wood": (60.0, 700.0, 0.05, 3500.0, 0.08, 20, (800.0, 4000.0)),
        "stone": (120.0, 1800.0, 0.015, 6500.0, 0.15, 30, (1500.0, 6500.0)),
        "carpet": (40.0, 250.0, 0.03, 500.0, 0.1, 60, (300.0, 2500.0)),
        "gravel": (80.0, 500.0, 0.015, 2500.0, 1.2, 140, (1200.0, 7000.0)),
        "snow": (60.0, 300.0, 0.02, 900.0, 0.8, 260, (500.0, 5000.0)),
        "metal": (150.0, 3200.0, 0.12, 5000.0, 0.05, 10, (1500.0, 6000.0)),
    }[kind]
    count = int(rng.integers(5, 10))
    low *= float(rng.uniform(1.0, 3.0))
    high = max(high * float(rng.uniform(0.7, 2.0)), 2.0 * low)
    hz = np.exp(rng.uniform(np.log(low), np.log(high), count))
    decay = decay_s * rng.uniform(0.4, 1.6, count) * (hz / low) ** -0.3
    amplitude = rng.uniform(0.3, 1.0, count) * (hz / low) ** -float(rng.uniform(0.1, 0.7))
    modes = tuple((float(f), float(d), float(a)) for f, d, a in zip(hz, decay, amplitude, strict=True))
    return Walker(
        modes,
        float(np.exp(rng.uniform(np.log(0.15), np.log(3.0)))),
        shoe_hz * float(np.exp(rng.normal(0.0, 0.5))),
        float(np.exp(rng.uniform(np.log(0.0004), np.log(0.008)))),
        grain * float(np.exp(rng.normal(0.5, 0.7))),
        band,
        max(3, int(grains * rng.uniform(0.5, 1.5))),
        float(rng.uniform(0.04, 0.16)),
        float(rng.uniform(0.15, 0.8)),
    )


def step(rng: np.random.Generator, who: Walker | None = None, strength: float = 1.0) -> Audio:
    """One step, float32[n] of 0.45 s, peak 0.9 times ``strength``. One step alone is no event."""
    of = who or walker(rng)
    samples = round(0.45 * SAMPLE_RATE_HZ)
    blows = np.zeros(samples)
    heel = round(0.004 * SAMPLE_RATE_HZ)
    roll_s = of.roll_s * float(rng.uniform(0.8, 1.2))
    sole = heel + round(roll_s * SAMPLE_RATE_HZ)
    for at, force, contact_s in (
        (heel, 1.0, of.blow_s),
        (sole, of.toe * float(rng.uniform(0.6, 1.2)), 2.5 * of.blow_s),
    ):
        width = max(2, round(contact_s * float(rng.uniform(0.7, 1.4)) * SAMPLE_RATE_HZ))
        pulse = np.hanning(width + 2)[1:-1] * (1.0 + 0.3 * rng.standard_normal(width))
        blows[at : at + width] += force * pulse[: samples - at] / width**0.5
    floor = [(hz, decay_s, amplitude * float(rng.uniform(0.7, 1.3))) for hz, decay_s, amplitude in of.modes]
    ring = driven(floor, blows)
    cut = scipy.signal.butter(1, min(of.shoe_hz, 7500.0), "lowpass", fs=SAMPLE_RATE_HZ, output="sos")
    click = scipy.signal.sosfilt(cut, blows * rng.standard_normal(samples))
    crunch = _grains(rng, of, samples, heel, sole)
    pcm = unit(ring) + of.click * float(rng.uniform(0.6, 1.4)) * unit(click) + of.grain * unit(crunch)
    pcm[-800:] *= np.linspace(1.0, 0.0, 800)
    return normalized(pcm, 0.9 * strength)


def walk(
    rng: np.random.Generator, steps: int, floor: str | None = None
) -> tuple[Audio, tuple[tuple[float, float], ...]]:
    """Somebody walks ``steps`` steps at 1.4-2.4 a second: float32[n], and when each step sounds (seconds).

    Left and right differ a little, steps more so, and the loudness changes as they come nearer or go away.
    """
    who = walker(rng, floor)
    interval_s = 1.0 / float(rng.uniform(*STEPS_PER_SECOND))
    feet = (1.0, float(rng.uniform(0.6, 1.0)))
    approach = 10.0 ** (rng.uniform(-16.0, 0.0, 2) / 20.0)
    pcm = np.zeros(round((steps * interval_s + 1.2) * SAMPLE_RATE_HZ), np.float32)
    limp_s = float(rng.normal(0.0, 0.02))
    times = []
    for index in range(steps):
        at_s = max(0.02, 0.05 + index * interval_s + limp_s * (index % 2) + float(rng.normal(0.0, 0.02)))
        sound = step(rng, who, feet[index % 2] * float(rng.uniform(0.75, 1.0)))
        gain = approach[0] + (approach[1] - approach[0]) * index / max(1, steps - 1)
        start = round(at_s * SAMPLE_RATE_HZ)
        pcm[start : start + len(sound)] += gain * sound
        times.append((at_s, at_s + 0.18))
    end = round((times[-1][1] + 0.35) * SAMPLE_RATE_HZ)
    return normalized(pcm[:end]), tuple(sorted(times))


def _grains(rng: np.random.Generator, of: Walker, samples: int, heel: int, sole: int) -> npt.NDArray[np.float64]:
    """What gives way under the shoe: small blows spread from heel to sole and after it."""
    out = np.zeros(samples)
    spread = (sole - heel) + 0.06 * SAMPLE_RATE_HZ
    at = (heel + spread * rng.beta(1.3, 2.2, of.grains)).astype(int)
    at = at[at < samples - 1]
    np.add.at(out, at, rng.standard_normal(len(at)) * rng.lognormal(0.0, 0.6, len(at)))
    # each grain rings for a few milliseconds: noise shaped like one grain
    low, high = of.grain_hz
    band = scipy.signal.butter(1, (low, min(high, 7600.0)), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    grain = rng.standard_normal(64) * np.exp(-np.arange(64) / float(rng.uniform(6.0, 25.0)))
    return np.asarray(scipy.signal.sosfilt(band, scipy.signal.fftconvolve(out, grain)[:samples]))
