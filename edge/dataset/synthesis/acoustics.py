"""The way from a sounder to the microphone: rooms, distance and small loudspeakers."""

from __future__ import annotations

import numpy as np
import scipy.signal

from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio

SPEED_OF_SOUND_M_S = 343.0


def image_source_response(
    rng: np.random.Generator,
    size_m: tuple[float, float, float],
    source_m: tuple[float, float, float],
    microphone_m: tuple[float, float, float],
    rt60_s: float,
    order: int = 4,
) -> Audio:
    """Impulse response float32[n] of a shoebox room: image sources (Allen & Berkley 1979), then a diffuse tail.

    Images up to ``order`` reflections give the early part; after it, noise decaying by 60 dB in ``rt60_s`` takes
    over at the level that the images leave off. Walls absorb as Sabine's formula asks for that ``rt60_s``. The direct
    sound comes first, at sample 0, with amplitude 1: the response tells reverberation, not distance.
    """
    volume = float(np.prod(size_m))
    lx, ly, lz = size_m
    surface = 2.0 * (lx * ly + ly * lz + lx * lz)
    absorption = min(0.161 * volume / (surface * rt60_s), 0.95)
    reflection = np.sqrt(1.0 - absorption)
    indices = np.arange(-order, order + 1)
    grid = np.stack(np.meshgrid(indices, indices, indices, indexing="ij"), -1).reshape(-1, 3)
    grid = grid[np.abs(grid).sum(axis=1) <= order]
    size, source, microphone = np.asarray(size_m), np.asarray(source_m), np.asarray(microphone_m)
    # an even number of reflections along an axis shifts the source by rooms, an odd one mirrors it
    images = grid * size + np.where(grid % 2 == 0, source, size - source)
    distance_m = np.linalg.norm(images - microphone, axis=1)
    direct_m = float(np.linalg.norm(source - microphone))
    delay = np.round((distance_m - direct_m) / SPEED_OF_SOUND_M_S * SAMPLE_RATE_HZ).astype(int)
    amplitude = reflection ** np.abs(grid).sum(axis=1) * direct_m / np.maximum(distance_m, 0.1)
    samples = int(rt60_s * SAMPLE_RATE_HZ) + 1
    response = np.zeros(samples)
    early = delay < samples
    # walls scatter: each reflection has a random sign and grows a little irregular
    signs = np.where(np.abs(grid).sum(axis=1) == 0, 1.0, rng.choice((-1.0, 1.0), len(grid)))
    np.add.at(response, delay[early], (amplitude * signs)[early])
    return _with_tail(rng, response, rt60_s, start_s=order * min(size_m) / SPEED_OF_SOUND_M_S / 2.0)


def exponential_response(rng: np.random.Generator, rt60_s: float, direct_to_reverberant_db: float) -> Audio:
    """Impulse response float32[n]: a direct pulse of 1 and noise that decays by 60 dB in ``rt60_s`` (Moorer 1979)."""
    samples = int(rt60_s * SAMPLE_RATE_HZ) + 1
    t = np.arange(samples) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(samples) * 10.0 ** (-3.0 * t / rt60_s)
    tail[: int(0.002 * SAMPLE_RATE_HZ)] = 0.0
    tail *= np.sqrt(10.0 ** (-direct_to_reverberant_db / 10.0) / np.sum(tail**2))
    tail[0] = 1.0
    return tail.astype(np.float32)


def random_room(rng: np.random.Generator) -> Audio:
    """Impulse response of a furnished room of a home: 8-80 m³, RT60 0.2-0.8 s, source and microphone anywhere."""
    size = np.array([rng.uniform(2.0, 6.0), rng.uniform(2.0, 5.5), rng.uniform(2.3, 2.8)])
    inside = [tuple(float(x) for x in size * rng.uniform(0.12, 0.88, 3)) for _ in range(2)]
    rt60_s = float(rng.uniform(0.2, 0.8))
    size_m = (float(size[0]), float(size[1]), float(size[2]))
    return image_source_response(rng, size_m, inside[0], inside[1], rt60_s)  # type: ignore[arg-type]


def through(pcm: Audio, response: Audio) -> Audio:
    """What a microphone hears of ``pcm`` in a room: same length, not rescaled (the direct sound keeps its level)."""
    return scipy.signal.fftconvolve(pcm, response)[: len(pcm)].astype(np.float32)


def reverberation_s(response: Audio) -> float:
    """RT60 in seconds of an impulse response float32[n], from its decay between -5 and -25 dB (Schroeder 1965)."""
    energy = np.cumsum(np.square(response, dtype=np.float64)[::-1])[::-1]
    decay_db = 10.0 * np.log10(energy / energy[0] + 1e-12)
    start, end = (int(np.argmax(decay_db < level_db)) for level_db in (-5.0, -25.0))
    return 3.0 * (end - start) / SAMPLE_RATE_HZ


def loudspeaker(pcm: Audio, low_hz: float = 200.0, high_hz: float = 7000.0, drive: float = 1.5) -> Audio:
    """A small loudspeaker, as in televisions and radios: band-limited, peaking near 2 kHz, soft-clipping. Same length.

    ``drive`` is how hard it is driven: 0 is linear, 1.5 distorts audibly on peaks.
    """
    band = scipy.signal.butter(2, (low_hz, high_hz), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    out = scipy.signal.sosfilt(band, pcm)
    b, a = scipy.signal.iirpeak(2000.0, 1.2, fs=SAMPLE_RATE_HZ)
    out = out + 0.5 * scipy.signal.lfilter(b, a, out)
    if drive > 0.0:
        out = np.tanh(drive * out) / np.tanh(drive)
    return np.asarray(np.clip(out, -1.0, 1.0), dtype=np.float32)


def _with_tail(rng: np.random.Generator, response: np.ndarray, rt60_s: float, start_s: float) -> Audio:
    start = min(int(start_s * SAMPLE_RATE_HZ), len(response) - 1)
    window = int(0.005 * SAMPLE_RATE_HZ)
    around = response[max(1, start - window) : start + window]
    level = float(np.sqrt(np.mean(around**2))) if len(around) else 0.0
    if level == 0.0:
        level = 0.02
    t = (np.arange(len(response)) - start) / SAMPLE_RATE_HZ
    tail = level * rng.standard_normal(len(response)) * 10.0 ** (-3.0 * t / rt60_s)
    rise = np.clip(t / 0.01 + 0.5, 0.0, 1.0)  # cross-fade of 10 ms from images to tail
    out = response * (1.0 - rise) + tail * rise
    out[0] = 1.0
    return out.astype(np.float32)
