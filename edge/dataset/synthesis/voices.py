"""Sounds with formants: speech-like babble, a crying baby, a barking dog. Source and filter (Klatt 1980), no words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.signal

from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized

# first three formants in Hz of vowels (Peterson & Barney 1952, men, rounded): a, e, i, o, u, schwa
VOWELS = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
    (570, 840, 2410),
    (300, 870, 2240),
    (500, 1500, 2500),
)


def formant_filter(
    source: npt.NDArray[np.float64], formants_hz: tuple[float, ...], bandwidth_hz: float = 90.0
) -> npt.NDArray[np.float64]:
    """``source`` through parallel resonators at ``formants_hz``, each a little weaker than the one below it."""
    out = np.zeros_like(source)
    for index, hz in enumerate(formants_hz):
        if hz < 7600.0:
            b, a = scipy.signal.iirpeak(hz, hz / (bandwidth_hz * (1.0 + 0.5 * index)), fs=SAMPLE_RATE_HZ)
            out += scipy.signal.lfilter(b, a, source) * 0.7**index
    return out


def voiced(
    pitch_hz: npt.NDArray[np.float64], rng: np.random.Generator, breath: float = 0.05
) -> npt.NDArray[np.float64]:
    """Glottal source float64[n] that follows ``pitch_hz`` (one value a sample): a rounded sawtooth and some breath."""
    phase = 2.0 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    buzz = sum(np.sin(k * phase) / k**1.2 * (k * pitch_hz < 7600.0) for k in range(1, 31))
    return np.asarray(buzz + breath * rng.standard_normal(len(pitch_hz)))


def speech(rng: np.random.Generator, duration_s: float, pitch_hz: float | None = None) -> Audio:
    """Speech-like babble: syllables of vowels and hissed or stopped consonants, with pauses between phrases."""
    base_hz = float(rng.uniform(90.0, 230.0)) if pitch_hz is None else pitch_hz
    tract = 1.0 + 0.18 * (base_hz > 160.0)
    samples = round(duration_s * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples)
    at, syllables_left = 0, int(rng.integers(5, 12))
    while at < samples:
        if syllables_left == 0:
            at += round(float(rng.uniform(0.2, 0.6)) * SAMPLE_RATE_HZ)
            syllables_left = int(rng.integers(5, 12))
            continue
        consonant = _consonant(rng)
        vowel = _syllable(rng, base_hz * (1.0 + 0.02 * syllables_left), tract)
        for part in (consonant, vowel):
            end = min(at + len(part), samples)
            if at < end:
                pcm[at:end] += part[: end - at]
            at += len(part)
        syllables_left -= 1
    return normalized(pcm)


def baby_cry(rng: np.random.Generator, duration_s: float = 5.0) -> Audio:
    """A crying baby: wails of 0.6-1.4 s at 350-550 Hz that rise and fall, with an intake of breath between them."""
    samples = round(duration_s * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples)
    base_hz = float(rng.uniform(350.0, 550.0))
    at = round(float(rng.uniform(0.0, 0.3)) * SAMPLE_RATE_HZ)
    while at < samples:
        n = round(float(rng.uniform(0.6, 1.4)) * SAMPLE_RATE_HZ)
        x = np.linspace(0.0, 1.0, n)
        vibrato = 1.0 + 0.02 * np.sin(2.0 * np.pi * rng.uniform(5.0, 8.0) * x * n / SAMPLE_RATE_HZ)
        pitch = base_hz * (0.85 + 0.3 * np.sin(np.pi * x**0.7)) * vibrato
        wail = formant_filter(voiced(pitch, rng, 0.15), (1100.0, 2200.0, 3800.0), 200.0)
        wail *= np.minimum(1.0, np.minimum(x / 0.08, (1.0 - x) / 0.2))
        end = min(at + n, samples)
        pcm[at:end] += wail[: end - at] / (np.max(np.abs(wail)) + 1e-9)
        at += n + round(float(rng.uniform(0.15, 0.45)) * SAMPLE_RATE_HZ)
    return normalized(pcm)


def dog_bark(rng: np.random.Generator, barks: int = 3) -> Audio:
    """A barking dog: ``barks`` barks of 0.12-0.25 s; a pitch that jumps up and falls, rough, through a short snout."""
    size = float(rng.uniform(0.7, 1.6))
    pieces: list[npt.NDArray[np.float64]] = [np.zeros(round(0.1 * SAMPLE_RATE_HZ))]
    for _ in range(barks):
        n = round(float(rng.uniform(0.12, 0.25)) * SAMPLE_RATE_HZ)
        x = np.linspace(0.0, 1.0, n)
        pitch = 420.0 / size * (0.7 + 0.6 * np.sin(np.pi * np.minimum(x * 1.6 + 0.1, 1.0)))
        rough = 1.0 + 0.6 * np.sin(2.0 * np.pi * float(rng.uniform(40.0, 80.0)) * x * n / SAMPLE_RATE_HZ)
        bark = formant_filter(voiced(pitch, rng, 0.5) * rough, (700.0 / size, 1500.0 / size, 2900.0 / size), 250.0)
        bark *= np.minimum(x / 0.05, 1.0) * np.exp(-3.0 * x)
        pieces += [
            bark / (np.max(np.abs(bark)) + 1e-9),
            np.zeros(round(float(rng.uniform(0.12, 0.5)) * SAMPLE_RATE_HZ)),
        ]
    return normalized(np.concatenate(pieces))


def _consonant(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    n = round(float(rng.uniform(0.03, 0.1)) * SAMPLE_RATE_HZ)
    if rng.random() < 0.5:  # a stop: silence, then a burst
        burst = rng.standard_normal(n) * 0.3
        burst[: n * 2 // 3] = 0.0
        return burst
    low = float(rng.uniform(2000.0, 4500.0))
    band = scipy.signal.butter(2, (low, min(low * 1.7, 7600.0)), "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    return np.asarray(0.35 * scipy.signal.sosfilt(band, rng.standard_normal(n)) * np.hanning(n))


def _syllable(rng: np.random.Generator, pitch_hz: float, tract: float) -> npt.NDArray[np.float64]:
    n = round(float(rng.uniform(0.08, 0.22)) * SAMPLE_RATE_HZ)
    glide = np.linspace(float(rng.uniform(0.95, 1.1)), float(rng.uniform(0.85, 1.05)), n)
    formants = tuple(hz * tract for hz in VOWELS[int(rng.integers(len(VOWELS)))])
    out = formant_filter(voiced(pitch_hz * glide, rng), formants)
    out *= np.minimum(1.0, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.02 * SAMPLE_RATE_HZ))
    return np.asarray(out / (np.max(np.abs(out)) + 1e-9) * rng.uniform(0.6, 1.0))
