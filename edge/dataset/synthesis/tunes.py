"""Sustained pitches that are taken for crying, barking or alarms: singing, bowed strings, whistling, birds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.dataset.synthesis import voices
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized


def singing(rng: np.random.Generator, duration_s: float) -> Audio:
    """A voice on vowels, notes of 0.3-1.6 s with vibrato, men's to children's range."""
    root_hz = float(np.exp(rng.uniform(np.log(130.0), np.log(600.0))))
    pitch, gain = _line(rng, duration_s, root_hz, vibrato=float(rng.uniform(0.005, 0.03)))
    source = voices.voiced(pitch, rng, float(rng.uniform(0.02, 0.2)))
    size = 1.0 + 0.35 * (root_hz > 250.0) * float(rng.uniform(0.3, 1.0))
    out = np.zeros(len(source))
    # a vowel holds for a second or so
    hold = round(float(rng.uniform(0.4, 1.4)) * SAMPLE_RATE_HZ)
    for start in range(0, len(source), hold):
        formants = tuple(hz * size for hz in voices.VOWELS[int(rng.integers(len(voices.VOWELS)))])
        piece = voices.formant_filter(source[start : start + hold], formants, float(rng.uniform(80.0, 160.0)))
        out[start : start + hold] = piece
    return normalized(out * gain)


def bowed_string(rng: np.random.Generator, duration_s: float) -> Audio:
    """A violin or cello: a sawtooth with vibrato through a body of a few resonances."""
    root_hz = float(np.exp(rng.uniform(np.log(130.0), np.log(900.0))))
    pitch, gain = _line(rng, duration_s, root_hz, vibrato=float(rng.uniform(0.004, 0.015)))
    phase = np.cumsum(pitch) / SAMPLE_RATE_HZ
    bow = _partials(phase, pitch, [k**-1.0 for k in range(1, 16)]) + 0.03 * rng.standard_normal(len(phase))
    body = tuple(float(hz) for hz in np.sort(rng.uniform(280.0, 3500.0, 4)))
    return normalized((0.4 * bow + voices.formant_filter(bow, body, 150.0)) * gain)


def whistle(rng: np.random.Generator, duration_s: float) -> Audio:
    """Somebody whistles a tune: nearly a sine of 0.8-2.6 kHz with breath."""
    pitch, gain = _line(rng, duration_s, float(rng.uniform(800.0, 1800.0)), vibrato=0.006)
    phase = np.cumsum(pitch) / SAMPLE_RATE_HZ
    return normalized((_partials(phase, pitch, [1.0, 0.06]) + 0.02 * rng.standard_normal(len(phase))) * gain)


def bird(rng: np.random.Generator, duration_s: float) -> Audio:
    """A song bird: one syllable over and over, each a quick glide between 1.8 and 6.5 kHz."""
    samples = round(duration_s * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples)
    length = round(float(rng.uniform(0.03, 0.25)) * SAMPLE_RATE_HZ)
    ends = rng.uniform(1800.0, 6500.0, 3)
    x = np.linspace(0.0, 1.0, length)
    glide = np.interp(x, (0.0, float(rng.uniform(0.3, 0.7)), 1.0), ends)
    syllable = np.sin(2.0 * np.pi * np.cumsum(glide) / SAMPLE_RATE_HZ) * np.hanning(length)
    at, left = 0.05, int(rng.integers(1, 9))
    gap_s = float(rng.uniform(0.03, 0.4))
    while True:
        start = round(at * SAMPLE_RATE_HZ)
        if start + length >= samples:
            break
        pcm[start : start + length] += syllable * rng.uniform(0.6, 1.0)
        left -= 1
        at += length / SAMPLE_RATE_HZ + gap_s
        if left == 0:
            at, left = at + float(rng.uniform(0.4, 2.0)), int(rng.integers(1, 9))
    return normalized(pcm)


def _line(
    rng: np.random.Generator, duration_s: float, root_hz: float, vibrato: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A tune: its pitch in Hz and its loudness 0-1, a value a sample each."""
    samples = round(duration_s * SAMPLE_RATE_HZ)
    pitch, gain = np.full(samples, root_hz), np.zeros(samples)
    scale, index, at = (0, 2, 4, 5, 7, 9, 11, 12), 0, round(0.02 * SAMPLE_RATE_HZ)
    while at < samples:
        index = int(np.clip(index + rng.integers(-3, 4), 0, len(scale) - 1))
        length = min(round(float(rng.uniform(0.2, 1.6)) * SAMPLE_RATE_HZ), samples - at)
        x = np.arange(length) / SAMPLE_RATE_HZ
        waver = 1.0 + vibrato * np.sin(2.0 * np.pi * float(rng.uniform(4.5, 7.0)) * x) * np.minimum(1.0, x / 0.3)
        pitch[at : at + length] = root_hz * 2.0 ** (scale[index] / 12.0) * waver
        gain[at : at + length] = np.minimum(1.0, np.minimum(x, x[::-1]) / 0.04) * float(rng.uniform(0.5, 1.0))
        at += length + (round(float(rng.uniform(0.1, 0.8)) * SAMPLE_RATE_HZ) if rng.random() < 0.25 else 0)
    return pitch, gain


def _partials(
    phase: npt.NDArray[np.float64], pitch: npt.NDArray[np.float64], amplitudes: list[float]
) -> npt.NDArray[np.float64]:
    out = np.zeros(len(phase))
    highest = float(np.max(pitch))
    for order, amplitude in enumerate(amplitudes, 1):
        if order * highest < 7600.0:
            turns = ((order * phase) % 1.0).astype(np.float32)
            out += amplitude * np.sin(np.float32(2.0 * np.pi) * turns)
    return out
