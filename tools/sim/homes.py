"""What devices in homes make of a sound: real renderings, heard by the device's own code.

Each home is a small loudspeaker (for a broadcast), a room and household noise of its own; the compiled detector and
fingerprinter hear it. These renderings are the pool that a crowd of thousands draws from (`tools.sim.broadcast`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edge import native
from edge.dataset.synthesis import acoustics, advertisement, alarms, noise
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio
from edge.evaluation.broadcasts import as_pcm

LEAD_IN_S = 3.0
"""Of broadcast before what a device is asked about: its means are as ever."""
AD_S, ALARM_AT_S, ALARM_S = 16.0, 7.0, 6.0
TRIGGER_WORDS = 100
ALARM_NAMES = ("smoke_alarm", "co_alarm")
SNR_DB = (5.0, 25.0)
OWN_ALARM_DB = (-3.0, 15.0)
"""Of an alarm in the room over the television there."""


@dataclass(frozen=True)
class Rendering:
    """What one device heard and sent: the words of the trigger, 20 ms apart and one more than it sends of each phase.

    `start_word`: where the event begins, in words of 40 ms from the first one on. `at_s`: the trigger's time, in the
    time of the sound that was rendered.
    """

    words: native.Words
    start_word: float
    at_s: float
    has_cadence: bool


@dataclass(frozen=True)
class Heard:
    """The first trigger of an alarm after `after_s`; None where the device suspected none."""

    trigger: Rendering | None


def advertisement_of(rng: np.random.Generator) -> Audio:
    """An advertisement that nobody knows: music, a voice, and a T3 alarm in the middle of it."""
    return advertisement.make(rng, AD_S, ALARM_AT_S, ALARM_S).pcm


def heard_by_devices(
    sounds: Iterator[Audio], after_s: float, load: Callable[[], native.Detector]
) -> list[Rendering | None]:
    """Let a fresh device hear each sound; return its first alarm trigger after `after_s` seconds, None without one."""
    return [_first_trigger(as_pcm(sound), after_s, load()) for sound in sounds]


def homes_with(sound: Audio, count: int, seed: int) -> Iterator[Audio]:
    """A broadcast in `count` homes."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        played = acoustics.through(acoustics.loudspeaker(sound), acoustics.random_room(rng))
        yield _mixed(rng, played)


def homes_with_own_alarm(sound: Audio, count: int, seed: int, start_s: float) -> Iterator[Audio]:
    """A broadcast in `count` homes, in each of which an alarm goes off within 4 s of second `start_s`, and goes on."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        response = acoustics.random_room(rng)
        played = acoustics.through(acoustics.loudspeaker(sound), response)
        begins_s = start_s + float(rng.uniform(-4.0, 4.0))
        make = alarms.smoke_alarm if rng.random() < 0.7 else alarms.co_alarm
        alarm = acoustics.through(make(rng, len(sound) / SAMPLE_RATE_HZ, begins_s).pcm, acoustics.random_room(rng))
        gain = 10 ** (rng.uniform(*OWN_ALARM_DB) / 20) * np.std(played) / max(float(np.std(alarm)), 1e-9)
        yield _mixed(rng, played + gain * alarm)


def flats_of_one_building(count: int, seed: int) -> Iterator[Audio]:
    """`count` flats in which sounders of one model start at the same moment, each in a room and noise of its own."""
    building = np.random.default_rng((seed, 0))
    make = alarms.smoke_alarm if building.random() < 0.7 else alarms.co_alarm
    alarm = make(building, AD_S, LEAD_IN_S).pcm
    for number in range(count):
        rng = np.random.default_rng((seed, 1, number))
        yield _mixed(rng, acoustics.through(alarm, acoustics.random_room(rng)))


def _mixed(rng: np.random.Generator, sound: Audio) -> Audio:
    bed = noise.room(rng, len(sound)) if rng.random() < 0.7 else noise.machine(rng, len(sound))
    return noise.at_snr(sound, bed, float(rng.uniform(*SNR_DB)), peak=float(rng.uniform(0.05, 0.6)))


def _first_trigger(pcm: np.ndarray, after_s: float, detector: native.Detector) -> Rendering | None:
    words = native.fingerprint(pcm)
    for event in detector.push(pcm):
        if event.name not in ALARM_NAMES or event.trigger_sample < after_s * SAMPLE_RATE_HZ:
            continue
        end = event.trigger_sample // native.STEP_SAMPLES
        first = end - 2 * TRIGGER_WORDS - 1
        if first < 0:
            continue
        start_word = (event.start_sample / native.STEP_SAMPLES - first) / 2
        cadence = event.cadence
        has_cadence = cadence.kind in ("t3", "t4") and cadence.periods >= 2 and cadence.confidence >= 160
        return Rendering(words.between(first, end), start_word, event.trigger_sample / SAMPLE_RATE_HZ, has_cadence)
    return None
