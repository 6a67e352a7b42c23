"""Made-up broadcasts: music of chords and drums, a voice, and a smoke alarm that sounds in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.signal

from edge.dataset.synthesis import alarms, cadences, tones, voices
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized


@dataclass(frozen=True)
class Advertisement:
    """A broadcast: ``pcm`` float32[n] as it left the studio, and when (seconds) the alarm in it sounds."""

    pcm: Audio
    alarm_s: tuple[float, float]


def music(rng: np.random.Generator, duration_s: float, beats_per_minute: float | None = None) -> Audio:
    """A bed of music: four chords over and over, a bass, an arpeggio that is never twice the same, and drums."""
    tempo = float(rng.uniform(84.0, 132.0)) if beats_per_minute is None else beats_per_minute
    beat_s = 60.0 / tempo
    samples = round(duration_s * SAMPLE_RATE_HZ)
    pcm = np.zeros(samples + 2 * SAMPLE_RATE_HZ)
    root = int(rng.integers(45, 57))  # MIDI note
    degrees = [(0, 4, 7), (7, 11, 14), (9, 12, 16), (5, 9, 12), (2, 5, 9), (4, 7, 11)]
    chords = [degrees[0], *(degrees[int(k)] for k in rng.permutation(5)[:3] + 1)]
    for beat in range(int(duration_s / beat_s) + 1):
        chord = chords[beat // 4 % 4]
        start_s = beat * beat_s
        if beat % 4 == 0:
            for note in chord:
                _add(pcm, start_s, _note(_hz(root + 12 + note), 4 * beat_s, 0.05, 2.5, (1.0, 0.5, 0.3, 0.15)), 0.16)
        _add(pcm, start_s, _note(_hz(root - 12 + chord[0]), beat_s, 0.005, 0.35, (1.0, 0.6, 0.2)), 0.3)
        for half in (0.0, 0.5):
            note = root + 24 + int(rng.choice(chord)) + 12 * int(rng.integers(2))
            _add(pcm, start_s + half * beat_s, _note(_hz(note), beat_s, 0.003, 0.18, (1.0, 0.3, 0.4, 0.1, 0.1)), 0.15)
            _add(pcm, start_s + half * beat_s, _hat(rng), 0.12)
        _add(pcm, start_s, _kick() if beat % 2 == 0 else _snare(rng), 0.5)
    return normalized(pcm[:samples])


def make(
    rng: np.random.Generator, duration_s: float = 20.0, alarm_at_s: float = 7.0, alarm_s: float = 8.5
) -> Advertisement:
    """An advertisement for smoke alarms: music and a voice throughout, and a T3 alarm in the middle of it.

    The alarm sounds from ``alarm_at_s`` for ``alarm_s`` seconds over the music, which steps back a little for it.
    """
    samples = round(duration_s * SAMPLE_RATE_HZ)
    end_s = min(alarm_at_s + alarm_s, duration_s)
    bed = music(rng, duration_s).astype(np.float64)
    voice = voices.speech(rng, duration_s, float(rng.uniform(100.0, 210.0))).astype(np.float64)
    on_s = [pulse for pulse in cadences.t3().intervals(end_s, alarm_at_s) if pulse[0] < end_s]
    alarm = tones.render(tones.piezo(float(rng.uniform(2900.0, 3300.0))), on_s, duration_s, rng)
    t = np.arange(samples) / SAMPLE_RATE_HZ
    during = (t >= alarm_at_s) & (t < end_s)
    ducked = scipy.signal.lfilter([0.001], [1.0, -0.999], np.where(during, 0.2, 0.0))
    pcm = bed * (0.6 - ducked) + voice * (0.7 - ducked) + alarm * 0.55
    return Advertisement(normalized(np.tanh(1.2 * pcm)), (alarm_at_s, end_s))


def alarm_on_television(rng: np.random.Generator, duration_s: float = 12.0) -> Audio:
    """A broadcast with any alarm of :mod:`alarms` mixed in at -6 to 6 dB under music or speech: a hard negative."""
    bed = music(rng, duration_s) if rng.random() < 0.5 else voices.speech(rng, duration_s)
    maker = alarms.smoke_alarm if rng.random() < 0.7 else alarms.co_alarm
    alarm = maker(rng, duration_s).pcm
    return normalized(bed + alarm * 10.0 ** (float(rng.uniform(-6.0, 6.0)) / 20.0))


def _hz(midi_note: float) -> float:
    return float(440.0 * 2.0 ** ((midi_note - 69.0) / 12.0))


def _note(
    hz: float, duration_s: float, attack_s: float, decay_s: float, harmonics: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    t = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tone = sum(a * np.sin(2.0 * np.pi * hz * (k + 1) * t) for k, a in enumerate(harmonics) if hz * (k + 1) < 7600.0)
    release = np.minimum(1.0, (duration_s - t) / 0.02)
    return np.asarray(tone * np.minimum(1.0, t / attack_s) * np.exp(-t / decay_s) * release)


def _kick() -> npt.NDArray[np.float64]:
    t = np.arange(SAMPLE_RATE_HZ // 4) / SAMPLE_RATE_HZ
    return np.asarray(np.sin(2.0 * np.pi * (50.0 * t + 6.0 * (1.0 - np.exp(-t / 0.03)))) * np.exp(-t / 0.09))


def _snare(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    t = np.arange(SAMPLE_RATE_HZ // 5) / SAMPLE_RATE_HZ
    body = np.sin(2.0 * np.pi * 190.0 * t) * np.exp(-t / 0.04)
    return np.asarray(0.5 * body + 0.4 * rng.standard_normal(len(t)) * np.exp(-t / 0.05))


def _hat(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    t = np.arange(SAMPLE_RATE_HZ // 16) / SAMPLE_RATE_HZ
    return np.asarray(np.diff(rng.standard_normal(len(t) + 1)) * np.exp(-t / 0.012))


def _add(pcm: npt.NDArray[np.float64], start_s: float, sound: npt.NDArray[np.float64], gain: float) -> None:
    start = round(start_s * SAMPLE_RATE_HZ)
    end = min(start + len(sound), len(pcm))
    if start < end:
        pcm[start:end] += gain * sound[: end - start]
