"""Noise beds: what a room sounds like while nothing happens in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized


def colored(rng: np.random.Generator, samples: int, slope_db_per_octave: float = -3.0) -> Audio:
    """Gaussian noise float32[samples] whose power falls (or rises) by the slope, RMS 0.1; white at 0, pink at -3."""
    spectrum = rng.standard_normal(samples // 2 + 1) + 1j * rng.standard_normal(samples // 2 + 1)
    hz = np.fft.rfftfreq(samples, 1.0 / SAMPLE_RATE_HZ)
    # flat below 40 Hz, where the law would grow without limit
    gain = (np.maximum(hz, 40.0) / 1000.0) ** (slope_db_per_octave / 6.0206)
    spectrum *= gain
    spectrum[0] = 0.0
    return with_rms(np.fft.irfft(spectrum, samples), 0.1)


def room(rng: np.random.Generator, samples: int) -> Audio:
    """A quiet room: pink-to-brown noise, mains hum and a slow swell of traffic. RMS 0.1."""
    t = np.arange(samples) / SAMPLE_RATE_HZ
    bed = colored(rng, samples, float(rng.uniform(-5.0, -3.0))).astype(np.float64)
    swell = 1.0 + 0.3 * np.sin(2.0 * np.pi * t / float(rng.uniform(15.0, 40.0)) + rng.uniform(0.0, 6.28))
    hum = sum(np.sin(2.0 * np.pi * 50.0 * k * t + rng.uniform(0.0, 6.28)) / k for k in (1, 2, 3, 5))
    return with_rms(bed * swell + 0.02 * hum, 0.1)


def machine(rng: np.random.Generator, samples: int) -> Audio:
    """A fan or a microwave at work: hum with harmonics over filtered noise. RMS 0.1."""
    t = np.arange(samples) / SAMPLE_RATE_HZ
    base_hz = float(rng.uniform(90.0, 130.0))
    hum = sum(rng.uniform(0.3, 1.0) / k * np.sin(2.0 * np.pi * base_hz * k * t) for k in range(1, 9))
    return with_rms(hum * 0.3 + 3.0 * colored(rng, samples, -4.5), 0.1)


def with_rms(pcm: npt.NDArray[np.floating], rms: float) -> Audio:
    """``pcm`` scaled to a root mean square of ``rms``; silence stays silence. Not limited to a peak of 1."""
    power = float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) if len(pcm) else 0.0
    return np.asarray(pcm * (rms / power) if power > 0.0 else pcm, dtype=np.float32)


def at_snr(signal: Audio, noise: Audio, snr_db: float, peak: float = 0.9) -> Audio:
    """Signal and noise of equal length mixed at ``snr_db``, and scaled to ``peak``.

    The signal's power is that of the moments at which it is loud (within 20 dB of its loudest 50 ms), so that the
    pauses of an alarm do not make it louder.
    """
    block = SAMPLE_RATE_HZ // 20
    whole = signal[: len(signal) // block * block].astype(np.float64)
    power = np.mean(whole.reshape(-1, block) ** 2, axis=1)
    loud = power[power > 0.01 * np.max(power, initial=0.0)]
    signal_power = float(np.mean(loud)) if len(loud) else 0.0
    noise_power = float(np.mean(np.square(noise, dtype=np.float64)))
    if signal_power == 0.0 or noise_power == 0.0:
        return normalized(signal + noise, peak)
    gain = np.sqrt(signal_power / noise_power / 10.0 ** (snr_db / 10.0))
    return normalized(signal + gain * noise, peak)
