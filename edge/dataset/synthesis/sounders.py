"""The many voices of alarms and beepers: tones drawn widely, and what real sounders do that ideal ones do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.signal

from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, gate, normalized

_HIGHEST_HZ = 7800.0
_QUIETEST = 1e-3


@dataclass(frozen=True)
class Voice:
    """What a sounder does while it is on.

    ``partials``: (frequency in Hz, amplitude) each. The frequency of all of them moves together: ``drift`` is the
    fraction gained each minute; each pulse begins ``glide`` (a fraction) off its pitch and settles in ``glide_ms``;
    ``sweep`` is the fraction of a swing at ``sweep_hz``, as a sine or (``is_whoop``) rising and dropping at once.
    ``second`` is another sounder beside it, that fraction off in pitch: the two beat. ``step_hz`` > 0 changes between
    two pitches, ``step_ratio`` apart, that many times a second. ``roughness`` is the depth of a modulation at
    ``roughness_hz``. ``click`` is the strength of the switch's own noise, ``decay_s`` > 0 makes pulses die away.
    """

    partials: tuple[tuple[float, float], ...]
    attack_ms: float = 4.0
    release_ms: float = 8.0
    drift: float = 0.0
    glide: float = 0.0
    glide_ms: float = 12.0
    sweep: float = 0.0
    sweep_hz: float = 0.0
    is_whoop: bool = False
    second: float = 0.0
    step_hz: float = 0.0
    step_ratio: float = 1.0
    roughness: float = 0.0
    roughness_hz: float = 0.0
    click: float = 0.0
    decay_s: float = 0.0


def render(voice: Voice, on_s: Sequence[tuple[float, float]], duration_s: float, rng: np.random.Generator) -> Audio:
    """The voice sounding at ``on_s`` (seconds, sorted): float32[duration_s * 16000], peak 0.9."""
    samples = round(duration_s * SAMPLE_RATE_HZ)
    level = gate(on_s, samples, voice.attack_ms, voice.release_ms)
    since = _since_onset(on_s, samples)
    if voice.decay_s > 0.0:
        level *= np.exp(-since / voice.decay_s)
    heard = np.flatnonzero(level > _QUIETEST)
    t = heard / SAMPLE_RATE_HZ
    pitch = 1.0 + voice.drift * np.arange(samples) / SAMPLE_RATE_HZ / 60.0
    if voice.glide != 0.0:
        pitch += voice.glide * np.exp(-since / (voice.glide_ms / 1000.0))
    if voice.sweep > 0.0:
        turns = np.arange(samples) / SAMPLE_RATE_HZ * voice.sweep_hz + rng.uniform()
        pitch += voice.sweep * (2.0 * (turns % 1.0) - 1.0 if voice.is_whoop else np.sin(2.0 * np.pi * turns))
    if voice.step_hz > 0.0:
        is_second = (np.arange(samples) / SAMPLE_RATE_HZ * voice.step_hz).astype(int) % 2 == 1
        pitch = np.where(is_second, pitch * voice.step_ratio, pitch)
    seconds = (np.cumsum(pitch) / SAMPLE_RATE_HZ)[heard]
    tone = np.zeros(len(heard), np.float32)
    highest = float(np.max(pitch, initial=1.0))
    for hz, amplitude in voice.partials:
        if 20.0 < hz * highest < _HIGHEST_HZ:
            tone += amplitude * _sine(hz * seconds + rng.uniform())
            if voice.second != 0.0:
                tone += 0.7 * amplitude * _sine(hz * (1.0 + voice.second) * seconds + rng.uniform())
    if voice.roughness > 0.0:
        tone *= 1.0 - voice.roughness * 0.5 * (1.0 + _sine(voice.roughness_hz * t))
    pcm = np.zeros(samples, np.float32)
    pcm[heard] = tone * level[heard]
    pcm = normalized(pcm, 0.9)
    if voice.click > 0.0:
        _add_clicks(pcm, on_s, voice.click, rng)
    return normalized(pcm, 0.9)


def alarm_voice(rng: np.random.Generator) -> Voice:
    """A voice of the kinds that smoke and CO alarms have, with a real sounder's imperfections."""
    form = rng.random()
    sweep = sweep_hz = step_hz = 0.0
    is_whoop, step_ratio = False, 1.0
    if form < 0.45:  # a piezo disc in its horn
        partials = _harmonics(float(rng.uniform(2350.0, 3700.0)), (1.0, *rng.uniform(0.0, 0.4, 2)))
    elif form < 0.57:  # the square wave of sleeping rooms, through a small loudspeaker
        partials = _shaped(float(rng.uniform(468.0, 572.0)), 2, rng)
    elif form < 0.73:  # horns and buzzers: many partials, strongest where the horn resonates
        partials = _shaped(float(rng.uniform(200.0, 900.0)), 1, rng)
    elif form < 0.80:  # two discs
        low = float(rng.uniform(2300.0, 2900.0))
        partials = ((low, 1.0), (low * float(rng.uniform(1.04, 1.4)), float(rng.uniform(0.5, 1.0))))
    elif form < 0.88:  # a warble
        partials = _harmonics(float(rng.uniform(900.0, 3600.0)), (1.0, *rng.uniform(0.0, 0.5, 2)))
        sweep, sweep_hz = float(rng.uniform(0.03, 0.25)), float(rng.uniform(2.0, 14.0))
        is_whoop = bool(rng.random() < 0.4)
    elif form < 0.94:  # high and low by turns
        partials = _harmonics(float(rng.uniform(800.0, 3000.0)), (1.0, *rng.uniform(0.0, 0.6, 2)))
        step_hz, step_ratio = float(rng.uniform(1.5, 10.0)), float(rng.uniform(1.1, 1.5))
    else:  # outside the usual band, as old or cheap ones are
        partials = _harmonics(float(np.exp(rng.uniform(np.log(700.0), np.log(4600.0)))), (1.0, *rng.uniform(0, 0.5, 2)))
    return _imperfect(partials, rng, sweep, sweep_hz, is_whoop, step_hz, step_ratio)


def beeper_voice(rng: np.random.Generator, frequency_hz: float) -> Voice:
    """A voice of a household machine's buzzer at ``frequency_hz``: sine, square or pulse, some ringing out."""
    form = rng.random()
    if form < 0.5:
        partials = _harmonics(frequency_hz, (1.0, *rng.uniform(0.0, 0.4, 2)))
    elif form < 0.8:
        partials = _shaped(frequency_hz, 2, rng)
    else:
        partials = _shaped(frequency_hz, 1, rng)
    voice = _imperfect(partials, rng)
    if rng.random() < 0.15:
        voice = Voice(**{**voice.__dict__, "decay_s": float(rng.uniform(0.05, 0.4))})
    return voice


def beep_frequency_hz(rng: np.random.Generator) -> float:
    """A buzzer's pitch: nearly half of them in the band of alarms, the others anywhere from 0.8 to 5 kHz."""
    if rng.random() < 0.45:
        return float(rng.uniform(2400.0, 3600.0))
    return float(np.exp(rng.uniform(np.log(800.0), np.log(5000.0))))


def _imperfect(
    partials: tuple[tuple[float, float], ...],
    rng: np.random.Generator,
    sweep: float = 0.0,
    sweep_hz: float = 0.0,
    is_whoop: bool = False,
    step_hz: float = 0.0,
    step_ratio: float = 1.0,
) -> Voice:
    has = rng.random(6)
    return Voice(
        partials,
        attack_ms=float(rng.uniform(0.5, 15.0)),
        release_ms=float(rng.uniform(1.0, 30.0)),
        drift=float(rng.normal(0.0, 0.01)),
        glide=float(rng.normal(0.0, 0.03)) if has[0] < 0.4 else 0.0,
        glide_ms=float(rng.uniform(3.0, 40.0)),
        sweep=sweep if sweep > 0.0 else float(rng.uniform(0.001, 0.01)) if has[1] < 0.2 else 0.0,
        sweep_hz=sweep_hz if sweep > 0.0 else float(rng.uniform(3.0, 12.0)),
        is_whoop=is_whoop,
        second=float(rng.normal(0.0, 0.008)) if has[2] < 0.15 else 0.0,
        step_hz=step_hz,
        step_ratio=step_ratio,
        roughness=float(rng.uniform(0.1, 0.8)) if has[3] < 0.25 else 0.0,
        roughness_hz=float(rng.uniform(20.0, 180.0)),
        click=float(rng.uniform(0.05, 0.4)) if has[4] < 0.2 else 0.0,
    )


def _harmonics(frequency_hz: float, amplitudes: Sequence[float]) -> tuple[tuple[float, float], ...]:
    return tuple((frequency_hz * (k + 1), float(a)) for k, a in enumerate(amplitudes))


def _shaped(frequency_hz: float, stride: int, rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    """Every ``stride``-th harmonic of a square or pulse wave, through a resonance as horns and discs have."""
    resonance_hz, octaves = float(rng.uniform(1200.0, 3800.0)), float(rng.uniform(0.3, 1.5))
    gain = float(rng.uniform(0.0, 6.0))
    slope = float(rng.uniform(0.5, 1.5))
    orders = np.arange(1, int(_HIGHEST_HZ / frequency_hz) + 1, stride)
    hz = orders * frequency_hz
    bell = np.exp(-0.5 * (np.log2(hz / resonance_hz) / octaves) ** 2)
    amplitude = orders.astype(float) ** -slope * (0.15 + gain * bell)
    amplitude /= np.max(amplitude)
    return tuple((float(f), float(a)) for f, a in zip(hz, amplitude, strict=True) if a > 0.01)[:24]


def _since_onset(on_s: Sequence[tuple[float, float]], samples: int) -> npt.NDArray[np.float64]:
    """Seconds since the last onset, for every sample; counted from 0 before the first."""
    since = np.arange(samples, dtype=np.float64)
    for start_s, _ in on_s:
        start = round(start_s * SAMPLE_RATE_HZ)
        if 0 <= start < samples:
            since[start:] = np.arange(samples - start)
    return since / SAMPLE_RATE_HZ


def _sine(turns: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    # the fraction of a turn in double precision, its sine in single: long sounds keep their pitch, and it is quick
    return np.sin(np.float32(2.0 * np.pi) * (turns % 1.0).astype(np.float32))


def _add_clicks(pcm: Audio, on_s: Sequence[tuple[float, float]], strength: float, rng: np.random.Generator) -> None:
    high = scipy.signal.butter(1, float(rng.uniform(500.0, 3000.0)), "highpass", fs=SAMPLE_RATE_HZ, output="sos")
    length = SAMPLE_RATE_HZ // 100
    click = scipy.signal.sosfilt(high, rng.standard_normal(length) * np.exp(-np.arange(length) / 30.0))
    click *= strength / (np.max(np.abs(click)) + 1e-9)
    for start_s, _ in on_s:
        start = round(start_s * SAMPLE_RATE_HZ)
        end = min(start + length, len(pcm))
        if 0 < start < end:
            pcm[start:end] += click[: end - start].astype(np.float32)
