"""The noise in which a recording was made, going on before and after it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, signal

_SHARE = 15  # percentile of the levels over time that is a recording's floor, in every frequency bin
_WINDOW = 512
_SMOOTHING_BINS = 33  # 1 kHz: a tone that goes through a whole recording is its sound, not its floor
_LEAST_RMS = 10 ** (-76 / 20)


def floor_noise(pcm: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return float64[samples] of stationary noise with the spectrum of the quietest moments of `pcm` float[n].

    Both are relative to a full scale of 1.
    """
    padded = np.pad(pcm, (0, max(0, 2 * _WINDOW - len(pcm))), mode="symmetric")
    _, _, bins = signal.stft(padded, nperseg=_WINDOW, boundary=None, padded=False)
    level = np.percentile(np.abs(bins), _SHARE, axis=1)
    level = ndimage.median_filter(level, _SMOOTHING_BINS, mode="nearest")
    # exponentially distributed powers: their 15th percentile lies at 0.16 of the mean
    level = level / np.sqrt(-np.log(1 - _SHARE / 100))
    white = rng.standard_normal(samples)
    _, _, noise = signal.stft(white, nperseg=_WINDOW)
    noise = noise / np.sqrt(np.mean(np.abs(noise) ** 2))
    _, shaped = signal.istft(noise * level[:, None], nperseg=_WINDOW)
    return np.resize(shaped, samples) + _LEAST_RMS * rng.standard_normal(samples)
