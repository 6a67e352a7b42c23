"""What microphones, casings and codecs do to a sound, drawn at random."""

from __future__ import annotations

import numpy as np
from scipy import fft, signal

from edge.dataset.manifest import SAMPLE_RATE_HZ

# responses are drawn at this spacing and joined by straight lines
_GRID_HZ = 10.0


def coloured(mix: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hear `mix` float32[n] through a random microphone and casing; float32[n].

    A low cut, a shelf of up to 8 dB either way, two resonances of up to 8 dB, and in one of three a high cut between
    6 and 7.8 kHz; all at once, as one response without delay.
    """
    hz = np.arange(0, SAMPLE_RATE_HZ / 2 + _GRID_HZ, _GRID_HZ)
    octave = np.log2(np.maximum(hz, 1.0))
    corner_hz, order = float(rng.uniform(20, 250)), int(rng.integers(1, 3))
    gain_db = -10 * np.log10(1 + (corner_hz / np.maximum(hz, 1.0)) ** (2 * order))
    shelf_db, shelf_hz = float(rng.uniform(-8, 8)), float(rng.uniform(500, 5000))
    gain_db += shelf_db / (1 + np.exp(-2 * (octave - np.log2(shelf_hz))))
    for _ in range(2):
        centre_hz = float(np.exp(rng.uniform(np.log(300), np.log(7000))))
        width = float(rng.uniform(0.1, 0.6))
        gain_db += float(rng.normal(0, 3.5)) * np.exp(-0.5 * ((octave - np.log2(centre_hz)) / width) ** 2)
    if rng.random() < 0.33:
        cut_hz = float(rng.uniform(6000, 7800))
        gain_db -= 10 * np.log10(1 + (hz / cut_hz) ** 16)
    bins_hz = np.arange(len(mix) // 2 + 1) * (SAMPLE_RATE_HZ / len(mix))
    response = np.interp(bins_hz, hz, 10 ** (gain_db / 20)).astype(np.float32)
    return fft.irfft(fft.rfft(mix) * response, len(mix)).astype(np.float32)


def worn(pcm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return `pcm` float32[n] as a cheap recorder, a narrow line or a lossy codec leaves it, at its own peak."""
    peak = float(np.max(np.abs(pcm))) + 1e-9
    form = int(rng.integers(4))
    if form == 0:
        return _band_limited(pcm, float(rng.choice([3600.0, 5200.0, 6800.0])))
    if form == 1:
        drive = float(rng.uniform(1.5, 6.0))
        return (peak * np.tanh(drive * pcm / peak) / np.tanh(drive)).astype(np.float32)
    if form == 2:
        steps = float(2 ** rng.uniform(5, 8))
        return (np.round(pcm / peak * steps) / steps * peak).astype(np.float32)
    return smeared(pcm, float(rng.uniform(6.0, 18.0)))


def smeared(pcm: np.ndarray, floor_db: float) -> np.ndarray:
    """Return `pcm` float32[n] as a lossy codec codes it: what is `floor_db` under its neighbours is left out.

    Each spectrum of 64 ms keeps its parts that stand out of their third of an octave, coarsely quantised; the
    quantisation spreads over the window, before a blow as well as after it.
    """
    window = 1024
    if len(pcm) < 2 * window:
        return pcm
    _, _, spectra = signal.stft(pcm, SAMPLE_RATE_HZ, nperseg=window, noverlap=window // 2)
    power = np.abs(spectra) ** 2
    around = signal.lfilter([0.15], [1, -0.85], power, axis=0) + 1e-14
    step = np.sqrt(around) * 10 ** (-floor_db / 40)
    coded = np.round(spectra.real / step) * step + 1j * np.round(spectra.imag / step) * step
    _, decoded = signal.istft(coded, SAMPLE_RATE_HZ, nperseg=window, noverlap=window // 2)
    out = np.zeros(len(pcm), np.float32)
    out[: min(len(pcm), len(decoded))] = decoded[: len(pcm)]
    return out


def _band_limited(pcm: np.ndarray, high_hz: float) -> np.ndarray:
    cut = signal.butter(6, high_hz, "lowpass", fs=SAMPLE_RATE_HZ, output="sos")
    return signal.sosfilt(cut, pcm).astype(np.float32)
