"""Signals that are no alarm though they beep: machines, timers, monitors, telephones, door chimes, vehicles.

Many of them sound at the pitch of an alarm, so that what tells them apart is how long they go on and in what
rhythm. Each maker returns a :class:`Signal`: the sound and the times (seconds) at which it sounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge.dataset.synthesis import cadences, noise, sounders
from edge.dataset.synthesis.sounders import Voice, alarm_voice, beep_frequency_hz, beeper_voice
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized

Times = list[tuple[float, float]]


@dataclass(frozen=True)
class Signal:
    """``pcm`` float32[n] at 16 kHz, peak 0.9, and when it sounds, sorted (start, end) in seconds."""

    pcm: Audio
    on_s: tuple[tuple[float, float], ...]


def machine_frequency_hz(rng: np.random.Generator) -> float:
    """A household machine's pitch. Most divide a watch crystal's 32,768 Hz by 16, many by 12 or 8; a few by others."""
    form = rng.random()
    if form < 0.4:
        return float(rng.uniform(1980.0, 2120.0))
    if form < 0.5:
        return float(rng.uniform(2650.0, 2810.0))
    if form < 0.62:
        return float(rng.uniform(3950.0, 4240.0))
    return float(np.exp(rng.uniform(np.log(900.0), np.log(4500.0))))


def at_machine(signal: Signal, rng: np.random.Generator) -> Signal:
    """A machine's signal as it comes: nearly half of the time out of its own hum, which stops at the first beep or not.

    Its beeps come 1 to 6 s after the beginning then, as a microwave's do at the end of its programme.
    """
    if rng.random() >= 0.45:
        return signal
    lead = round(float(rng.uniform(1.0, 6.0)) * SAMPLE_RATE_HZ)
    pcm = np.concatenate([np.zeros(lead, np.float32), signal.pcm])
    hum = noise.machine(rng, len(pcm))
    if rng.random() < 0.5:  # it has finished
        stop = lead + round(float(rng.uniform(-0.3, 0.1)) * SAMPLE_RATE_HZ)
        fading_s = float(rng.uniform(0.01, 0.3))
        hum[stop:] *= np.exp(-np.arange(len(pcm) - stop) / (fading_s * SAMPLE_RATE_HZ)).astype(np.float32)
    level = float(10 ** (rng.uniform(-36.0, -8.0) / 20)) / (float(np.sqrt(np.mean(hum[:lead] ** 2))) + 1e-9)
    later_s = lead / SAMPLE_RATE_HZ
    times = tuple((start + later_s, end + later_s) for start, end in signal.on_s)
    return Signal(normalized(pcm + level * hum), times)


def end_of_programme(rng: np.random.Generator, frequency_hz: float | None = None) -> Signal:
    """A microwave, washing machine or oven that has finished: 1 to 10 equal beeps, 8 s at most, then no more."""
    form = rng.random()
    if form < 0.3:  # T3's pulses without T3's pause
        on_s, off_s, count = float(rng.uniform(0.45, 0.55)), float(rng.uniform(0.45, 0.55)), int(rng.integers(3, 9))
    elif form < 0.45:
        on_s, off_s, count = float(rng.uniform(0.8, 2.5)), float(rng.uniform(0.4, 1.5)), int(rng.integers(1, 4))
    else:
        on_s, off_s, count = float(rng.uniform(0.06, 0.9)), float(rng.uniform(0.1, 1.2)), int(rng.integers(1, 9))
    count = min(count, max(1, int(8.0 / (on_s + off_s))))
    return _beeps(rng, _even(on_s, off_s, count), frequency_hz or beep_frequency_hz(rng))


def timer(rng: np.random.Generator, frequency_hz: float | None = None) -> Signal:
    """A kitchen timer or alarm clock: groups of 2 to 4 short beeps, 2 to 8 times over."""
    pulse, gap = float(rng.uniform(0.04, 0.13)), float(rng.uniform(0.04, 0.16))
    beeps, groups, pause = int(rng.integers(2, 5)), int(rng.integers(2, 9)), float(rng.uniform(0.3, 1.3))
    times: Times = []
    at = 0.05
    for _ in range(groups):
        group = _even(pulse, gap, beeps, at)
        times += group
        at = group[-1][1] + pause
    return _beeps(rng, times, frequency_hz or beep_frequency_hz(rng))


def keypad(rng: np.random.Generator, frequency_hz: float | None = None) -> Signal:
    """Buttons pressed by a person: 1 to 6 short beeps at uneven times."""
    at, times = 0.05, []
    length = float(rng.uniform(0.03, 0.16))
    for _ in range(int(rng.integers(1, 7))):
        times.append((at, at + length))
        at += length + float(rng.uniform(0.15, 1.0))
    return _beeps(rng, times, frequency_hz or beep_frequency_hz(rng))


def melody(rng: np.random.Generator, frequency_hz: float | None = None) -> Signal:
    """A tune as washing machines and dishwashers play it at the end: 4 to 16 notes, each held or ringing out.

    Its lowest note is at most at ``frequency_hz``.
    """
    step_s = float(rng.uniform(0.1, 0.4))
    root_hz = float(rng.uniform(500.0, min(1800.0, frequency_hz or 1800.0)))
    scale = np.array((0, 2, 4, 5, 7, 9, 11, 12, 14, 16))
    ring_s = float(rng.uniform(0.05, 0.5))
    notes = int(rng.integers(4, 17))
    amplitudes = (1.0, *rng.uniform(0.0, 0.4, 3))
    pcm = np.zeros(round((notes * step_s * 2.0 + 1.5) * SAMPLE_RATE_HZ), np.float32)
    at, times, index = 0.05, [], int(rng.integers(len(scale)))
    for _ in range(notes):
        index = int(np.clip(index + rng.integers(-3, 4), 0, len(scale) - 1))
        length = step_s * float(rng.choice((1.0, 1.0, 1.0, 2.0)))
        hz = root_hz * 2.0 ** (scale[index] / 12.0)
        _strike(pcm, at, hz, amplitudes, ring_s, min(ring_s * 4.0, 1.2))
        times.append((at, at + min(length * 0.95, ring_s * 2.5)))
        at += length
    end = round((at + 0.6) * SAMPLE_RATE_HZ)
    return Signal(normalized(pcm[:end]), tuple(times))


def door_chime(rng: np.random.Generator) -> Signal:
    """Ding-dong: two to four struck bars or bells, once or twice."""
    high_hz = float(rng.uniform(550.0, 1500.0))
    ratios = [(1.0, 0.8), (1.0, 0.75), (1.0, 0.8, 0.67, 1.0)][int(rng.integers(3))]
    step_s, ring_s = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.2, 0.9))
    inharmonic = (1.0, float(rng.uniform(2.6, 2.9)), float(rng.uniform(5.2, 5.6)))
    pcm = np.zeros(8 * SAMPLE_RATE_HZ, np.float32)
    at, times = 0.05, []
    for _ in range(int(rng.integers(1, 3))):
        for ratio in ratios:
            for order, amplitude in zip(inharmonic, (1.0, 0.35, 0.12), strict=True):
                _strike(pcm, at, high_hz * ratio * order, (amplitude,), ring_s / order**0.5, 2.5)
            times.append((at, at + min(step_s, ring_s * 2.0)))
            at += step_s
        at += float(rng.uniform(0.2, 1.0))
    end = min(len(pcm), round((at + 1.0) * SAMPLE_RATE_HZ))
    return Signal(normalized(pcm[:end]), tuple(times))


def telephone(rng: np.random.Generator, longest_rings: int = 4) -> Signal:
    """A telephone's ring: a trill of two pitches (or a bell's roughness), 0.4-2 s, once to `longest_rings` times."""
    low_hz = float(np.exp(rng.uniform(np.log(500.0), np.log(2600.0))))
    ratio = float(rng.uniform(1.1, 1.5))
    length, gap = float(rng.uniform(0.3, 1.0)), float(rng.uniform(0.15, 0.4))
    is_double = rng.random() < 0.5
    pause = float(rng.uniform(1.0, 3.0))
    times: Times = []
    at = 0.05
    for _ in range(int(rng.integers(1, longest_rings + 1))):
        burst = _even(length, gap, 2 if is_double else 1, at)
        times += burst
        at = burst[-1][1] + pause
    partials = tuple((low_hz * (k + 1), float(a)) for k, a in enumerate((1.0, *rng.uniform(0.0, 0.5, 3))))
    voice = Voice(
        partials,
        attack_ms=float(rng.uniform(1.0, 8.0)),
        release_ms=float(rng.uniform(5.0, 40.0)),
        step_hz=float(rng.uniform(16.0, 50.0)),
        step_ratio=ratio,
        roughness=float(rng.uniform(0.0, 0.6)),
        roughness_hz=float(rng.uniform(15.0, 40.0)),
    )
    return Signal(sounders.render(voice, times, times[-1][1] + 0.2, rng), tuple(times))


def monitor(rng: np.random.Generator) -> Signal:
    """A hospital monitor: a short beep with every heartbeat, or its alarm of grouped beeps; 4 to 25 s."""
    duration_s = float(rng.uniform(4.0, 25.0))
    hz = float(rng.uniform(400.0, 1100.0)) if rng.random() < 0.6 else beep_frequency_hz(rng)
    if rng.random() < 0.6:
        period = float(rng.uniform(0.45, 1.3))
        pulse = float(rng.uniform(0.05, min(0.25, 0.28 * period)))
        times = _even(pulse, period - pulse, int(duration_s / period))
    else:  # IEC 60601-1-8: bursts of three or of two and three, with pauses between
        pulse = float(rng.uniform(0.1, 0.22))
        gap, pause = pulse * float(rng.uniform(0.8, 1.6)), float(rng.uniform(2.5, 8.0))
        times, at = [], 0.05
        while at < duration_s:
            group = _even(pulse, gap, int(rng.choice((2, 3, 5))), at)
            times += group
            at = group[-1][1] + pause
    return _beeps(rng, times, hz)


def steady_beeper(rng: np.random.Generator, has_alarm_voice: bool = False) -> Signal:
    """A monitor, truck, metronome or sensor at any pitch: short beeps with long gaps, evenly, for 15 to 38 s.

    No smoke alarm sounds for so little of its time: beeps last 0.03-0.3 s and at most 28 % of it.
    """
    pulse = float(np.exp(rng.uniform(np.log(0.03), np.log(0.3))))
    period = pulse / float(rng.uniform(0.05, 0.28))
    period = min(period, 3.5)
    count = max(3, int(rng.uniform(15.0, 38.0) / period))
    times = _even(pulse, period - pulse, count)
    return _in_alarm_voice(rng, times) if has_alarm_voice else _beeps(rng, times, _any_beep_hz(rng))


def alarm_clock(rng: np.random.Generator, has_alarm_voice: bool = False) -> Signal:
    """An alarm clock or kitchen timer that nobody stops: groups of 2 to 4 short beeps for 12 to 36 s."""
    pulse, gap = float(rng.uniform(0.03, 0.12)), float(rng.uniform(0.04, 0.16))
    beeps, pause = int(rng.integers(2, 5)), float(rng.uniform(0.35, 1.6))
    until_s, at = float(rng.uniform(12.0, 36.0)), 0.05
    times: Times = []
    while at < until_s:
        group = _even(pulse, gap, beeps, at)
        times += group
        at = group[-1][1] + pause
    return _in_alarm_voice(rng, times) if has_alarm_voice else _beeps(rng, times, _any_beep_hz(rng))


def hurrying_clock(rng: np.random.Generator) -> Signal:
    """A travel clock: one beep a second, then two, three, four, each for some seconds; 12 to 36 s."""
    pulse, gap = float(rng.uniform(0.03, 0.09)), float(rng.uniform(0.04, 0.09))
    period = float(rng.uniform(0.8, 1.3))
    times: Times = []
    at, until_s, stage_s = 0.05, float(rng.uniform(12.0, 36.0)), float(rng.uniform(3.0, 9.0))
    while at < until_s:
        beeps = min(4, 1 + int(at / stage_s))
        times += _even(pulse, gap, beeps, at)
        at += max(period, beeps * (pulse + gap) + 0.3)
    return _beeps(rng, times, _any_beep_hz(rng))


def single_burst(rng: np.random.Generator) -> Signal:
    """A burst like T3's that does not come again: somebody tests an alarm, or a machine has its pulses."""
    cadence = cadences.random_t3(rng)
    (on_s, off_s) = cadence.pulses_s[0]
    times = _even(on_s, off_s, int(rng.choice((1, 2, 3, 3, 3))))
    return _in_alarm_voice(rng, times) if rng.random() < 0.6 else _beeps(rng, times, _any_beep_hz(rng))


def steady_tone(rng: np.random.Generator) -> Signal:
    """A motor's whine, feedback, a test tone or a string that is held: one tone of 3 to 30 s at no alarm's pitch."""
    is_low = rng.random() < 0.5
    hz = float(np.exp(rng.uniform(np.log(90.0), np.log(400.0)))) if is_low else float(rng.uniform(640.0, 2000.0))
    duration_s = float(rng.uniform(3.0, 30.0))
    voice = Voice(
        tuple((hz * order, float(rng.uniform(0.1, 1.0)) / order) for order in range(1, int(rng.integers(2, 7)))),
        attack_ms=float(rng.uniform(20.0, 900.0)),
        release_ms=float(rng.uniform(20.0, 600.0)),
        drift=float(rng.normal(0.0, 0.1)),
        sweep=float(rng.uniform(0.0, 0.02)),
        sweep_hz=float(rng.uniform(0.1, 6.0)),
        roughness=float(rng.uniform(0.0, 0.8)),
        roughness_hz=float(rng.uniform(0.5, 30.0)),
    )
    times = [(0.05, duration_s)]
    return Signal(sounders.render(voice, times, duration_s + 1.0, rng), tuple(times))


def reversing_vehicle(rng: np.random.Generator) -> Signal:
    """A lorry that backs: 0.3-0.6 s on and as much off at 1-1.5 kHz (or at an alarm's pitch), up to 8 s."""
    on_s = float(rng.uniform(0.3, 0.6))
    off_s = on_s * float(rng.uniform(0.8, 1.3))
    hz = float(rng.uniform(900.0, 1500.0)) if rng.random() < 0.6 else float(rng.uniform(2000.0, 3200.0))
    return _beeps(rng, _even(on_s, off_s, int(rng.uniform(3.0, 7.9) / (on_s + off_s))), hz)


def low_battery(rng: np.random.Generator, longest_s: float = 36.0) -> Signal:
    """A detector whose battery is low: one chirp of an alarm's pitch, alone or again after 10-60 s."""
    voice = sounders.alarm_voice(rng)
    length = float(rng.uniform(0.02, 0.15))
    period = float(rng.uniform(10.0, 60.0))
    count = int(rng.integers(1, 4))
    times = [(at, at + length) for at in 0.05 + period * np.arange(count) if at < longest_s]
    return Signal(sounders.render(voice, times, times[-1][1] + 0.2, rng), tuple(times))


def emergency_siren(rng: np.random.Generator) -> Signal:
    """A police car or ambulance, 4 to 14 s: a wail, a yelp, or two tones; below 2 kHz."""
    duration_s = float(rng.uniform(4.0, 14.0))
    partials = tuple((hz, 1.0 / k) for k, hz in enumerate(float(rng.uniform(500.0, 900.0)) * np.arange(1, 6), 1))
    if rng.random() < 0.35:
        voice = Voice(
            partials, 20.0, 50.0, step_hz=float(rng.uniform(0.8, 2.2)), step_ratio=float(rng.uniform(1.2, 1.4))
        )
    else:
        voice = Voice(partials, 60.0, 200.0, sweep=float(rng.uniform(0.2, 0.4)), sweep_hz=float(rng.uniform(0.15, 3.5)))
    times = [(0.05, duration_s)]
    return Signal(sounders.render(voice, times, duration_s + 0.3, rng), tuple(times))


def _any_beep_hz(rng: np.random.Generator) -> float:
    """Draw a pitch of beepers, as often an alarm's as a monitor's or a clock's."""
    return float(rng.uniform(2300.0, 3700.0)) if rng.random() < 0.4 else float(np.exp(rng.uniform(6.0, 8.35)))


def _even(on_s: float, off_s: float, count: int, start_s: float = 0.05) -> Times:
    period = on_s + off_s
    return [(start_s + k * period, start_s + k * period + on_s) for k in range(max(1, count))]


def _in_alarm_voice(rng: np.random.Generator, times: Times) -> Signal:
    return Signal(sounders.render(alarm_voice(rng), times, times[-1][1] + 0.25, rng), tuple(times))


def _beeps(rng: np.random.Generator, times: Times, frequency_hz: float) -> Signal:
    voice = beeper_voice(rng, frequency_hz)
    return Signal(sounders.render(voice, times, times[-1][1] + 0.25, rng), tuple(times))


def _strike(pcm: Audio, at_s: float, hz: float, amplitudes: tuple[float, ...], ring_s: float, longest_s: float) -> None:
    """Add a note that rings out to ``pcm``."""
    start = round(at_s * SAMPLE_RATE_HZ)
    t = np.arange(min(round(longest_s * SAMPLE_RATE_HZ), max(0, len(pcm) - start))) / SAMPLE_RATE_HZ
    envelope = np.exp(-t / ring_s) * np.minimum(1.0, t / 0.004)
    for order, amplitude in enumerate(amplitudes, 1):
        if hz * order < 7600.0:
            note = amplitude * envelope * np.sin(2.0 * np.pi * hz * order * t)
            pcm[start : start + len(t)] += note.astype(np.float32)
