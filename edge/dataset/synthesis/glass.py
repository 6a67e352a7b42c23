"""Glass that breaks, by modal and granular synthesis: a blow, a crack, and shards that fall and bounce.

A shard is a small body with a few modes; every bounce of it is a short blow on the same body. So each shard is one
resonator bank, driven by the times and strengths of its bounces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.signal

from edge.dataset.synthesis.bodies import bounces, modes, struck, unit
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized


@dataclass(frozen=True)
class Vessel:
    """What breaks.

    ``shard_hz``: where the shards' lowest modes lie. ``shards``: how many. ``ring_s``: their decay at 1 kHz; higher
    modes die faster. ``blow_hz`` and ``blow``: the body's own low modes and how strong they are. ``crack_s`` and
    ``crack``: how long the crack hisses, and how strongly. ``fall_s``: mean time over which shards land.
    """

    shard_hz: tuple[float, float]
    shards: int
    ring_s: float
    blow_hz: tuple[float, float]
    blow: float
    crack_s: float
    crack: float
    fall_s: float


def window(rng: np.random.Generator) -> Vessel:
    """A pane, struck or thrown in: a low blow, much hiss, many shards that ring little, over a second or two."""
    return Vessel(
        (float(rng.uniform(900, 2200)), float(rng.uniform(5500, 7900))),
        int(rng.integers(40, 130)),
        float(rng.uniform(0.02, 0.08)),
        (float(rng.uniform(80, 200)), float(rng.uniform(500, 1200))),
        float(rng.uniform(0.1, 0.8)),
        float(rng.uniform(0.02, 0.12)),
        float(rng.uniform(0.4, 1.5)),
        float(rng.uniform(0.15, 0.6)),
    )


def bottle(rng: np.random.Generator) -> Vessel:
    """A bottle or jar on a hard floor: its own note, thick shards that ring."""
    return Vessel(
        (float(rng.uniform(1300, 2600)), float(rng.uniform(4500, 7500))),
        int(rng.integers(12, 45)),
        float(rng.uniform(0.04, 0.14)),
        (float(rng.uniform(600, 1500)), float(rng.uniform(1800, 3500))),
        float(rng.uniform(0.2, 0.9)),
        float(rng.uniform(0.01, 0.05)),
        float(rng.uniform(0.3, 1.0)),
        float(rng.uniform(0.08, 0.3)),
    )


def drinking_glass(rng: np.random.Generator) -> Vessel:
    """A thin glass: high, bright, soon over."""
    return Vessel(
        (float(rng.uniform(1800, 3400)), float(rng.uniform(6000, 7900))),
        int(rng.integers(15, 60)),
        float(rng.uniform(0.03, 0.12)),
        (float(rng.uniform(900, 2000)), float(rng.uniform(2500, 4500))),
        float(rng.uniform(0.1, 0.6)),
        float(rng.uniform(0.008, 0.04)),
        float(rng.uniform(0.3, 1.0)),
        float(rng.uniform(0.06, 0.25)),
    )


def glass_break(rng: np.random.Generator, vessel: Vessel | None = None) -> Audio:
    """Something of glass breaks: float32[n] of 0.5 to 3 s, the first sound within 50 ms, peak 0.9."""
    kind = vessel or (window, window, bottle, drinking_glass)[int(rng.integers(4))](rng)
    length_s = float(np.clip(0.4 + 3.5 * kind.fall_s * rng.uniform(0.6, 1.2), 0.5, 3.0))
    samples = round(length_s * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples)
    blow_at = round(float(rng.uniform(0.005, 0.04)) * SAMPLE_RATE_HZ)
    # some panes crack a moment before they give way
    breaks_at = blow_at + (round(float(rng.uniform(0.02, 0.15)) * SAMPLE_RATE_HZ) if rng.random() < 0.3 else 0)
    body = modes(rng, kind.blow_hz, 8, ring_s=0.06)
    pcm[blow_at:] += kind.blow * unit(struck(body, samples - blow_at, [(0, 1.0)], rng))
    pcm[breaks_at:] += kind.crack * _crack(rng, kind, samples - breaks_at)
    pcm[breaks_at:] += float(rng.uniform(0.3, 1.3)) * _fragments(rng, kind, samples - breaks_at)
    fade = round(0.03 * SAMPLE_RATE_HZ)
    pcm[-fade:] *= np.linspace(1.0, 0.0, fade)
    return normalized(pcm)


def _crack(rng: np.random.Generator, kind: Vessel, samples: int) -> npt.NDArray[np.float64]:
    """The crack: not smooth noise but hundreds of snaps that thin out, and the hiss of them all."""
    t = np.arange(samples) / SAMPLE_RATE_HZ
    hiss = rng.standard_normal(samples) * np.exp(-t / kind.crack_s)
    snaps = np.zeros(samples)
    at = (rng.exponential(kind.crack_s * 1.5, int(rng.integers(60, 400))) * SAMPLE_RATE_HZ).astype(int)
    at = at[at < samples]
    np.add.at(snaps, at, rng.standard_normal(len(at)) * np.exp(-at / SAMPLE_RATE_HZ / (3.0 * kind.crack_s)))
    high = scipy.signal.butter(1, float(rng.uniform(200.0, 2800.0)), "highpass", fs=SAMPLE_RATE_HZ, output="sos")
    mixed = float(rng.uniform(0.2, 1.0)) * hiss + float(rng.uniform(1.0, 4.0)) * snaps
    return unit(scipy.signal.sosfilt(high, mixed))


def _fragments(rng: np.random.Generator, kind: Vessel, samples: int) -> npt.NDArray[np.float64]:
    out = np.zeros(samples)
    strikes = np.zeros(samples)
    # shards of one piece sound alike: a dozen bodies stand for all
    bodies = min(kind.shards, 14)
    land_s = np.sort(float(rng.uniform(0.0, 0.12)) + rng.exponential(kind.fall_s, kind.shards))
    restitution = float(rng.uniform(0.3, 0.65))
    for body in range(bodies):
        hits: list[tuple[int, float]] = []
        for at_s in land_s[body::bodies]:
            hits += bounces(
                rng, float(at_s), float(rng.lognormal(-1.0, 0.8)), restitution, (samples - 1) / SAMPLE_RATE_HZ
            )
        if hits:
            for at, strength in hits:
                strikes[at] += strength
            out += struck(modes(rng, kind.shard_hz, int(rng.integers(3, 7)), kind.ring_s), samples, hits, rng)
    # what is too small to ring, and the floor that it lands on: a few milliseconds of noise at every blow
    length = round(0.03 * SAMPLE_RATE_HZ)
    grit = rng.standard_normal(length) * np.exp(-np.arange(length) / SAMPLE_RATE_HZ / float(rng.uniform(0.001, 0.008)))
    debris = scipy.signal.fftconvolve(strikes * rng.standard_normal(samples), grit)[:samples]
    return unit(out) + float(np.exp(rng.uniform(np.log(0.1), np.log(1.5)))) * unit(debris)
