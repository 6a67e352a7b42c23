"""What devices in homes make of a sound: real renderings, heard by the device's own code.

Each home is a small loudspeaker (for a broadcast), a room and household noise of its own; the compiled detector and
fingerprinter hear it, and the clip goes through the device's codec. These renderings are the pool that a crowd of
thousands draws from (`tools.sim.broadcast`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cloud.media.tones import HOP_SAMPLES, Tones, tones_of
from edge import native
from edge.contracts import limits
from edge.dataset.synthesis import acoustics, advertisement, alarms, noise, voices
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio, normalized
from edge.evaluation.broadcasts import as_pcm

AD_S, EVENT_AT_S, ALARM_S = 16.0, 7.0, 6.0
WATCHED_S = 80.0
"""An alarm that goes on is reported again after a minute: so long a home with one is watched."""
TRIGGER_STEPS = 2 * limits.TRIGGER_FINGERPRINT_WORDS
ALARMS = ("smoke_alarm", "co_alarm")
SNR_DB = (5.0, 25.0)
OWN_ALARM_DB = (-3.0, 15.0)
"""Of an alarm in the room over the television there."""
OWN_ALARM_WITHIN_S = 4.0
CADENCE_PERIODS, CADENCE_CONFIDENCE = 2, 160

Load = Callable[[], native.Detector]


@dataclass(frozen=True)
class Trigger:
    """What a device sent. `words` are 20 ms apart, one more than the trigger carries of either phase.

    `start_word`: where the event begins, in words of 40 ms from the first one on; `at_s`: the trigger's time in the
    sound; `tones` are those of its clip, whose first frame lies at word `tones_at`.
    """

    words: native.Words
    start_word: float
    at_s: float
    has_cadence: bool
    tones: Tones
    tones_at: int


def barking_advertisement(rng: np.random.Generator) -> Audio:
    """A broadcast that nobody knows, with a dog that barks in it: music, a voice, and the dog at `EVENT_AT_S`."""
    bed = advertisement.make(rng, AD_S, AD_S, 0.0).pcm
    dog = voices.dog_bark(rng, 5)
    start = round(EVENT_AT_S * SAMPLE_RATE_HZ)
    sound = 0.35 * bed
    sound[start : start + len(dog)] += dog[: len(sound) - start]
    return normalized(sound)


def alarm_advertisement(rng: np.random.Generator) -> Audio:
    """An advertisement that nobody knows: music, a voice, and a T3 alarm from `EVENT_AT_S` on."""
    return advertisement.make(rng, AD_S, EVENT_AT_S, ALARM_S).pcm


def homes_with(sound: Audio, count: int, seed: int) -> Iterator[Audio]:
    """A broadcast in `count` homes."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        yield _beside_noise(rng, acoustics.through(acoustics.loudspeaker(sound), acoustics.random_room(rng)))


def homes_with_own_alarm(sound: Audio, count: int, seed: int) -> Iterator[Audio]:
    """A broadcast in `count` homes, in each of which an alarm goes off about when the broadcast's does, and goes on."""
    samples = round(WATCHED_S * SAMPLE_RATE_HZ)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        television = np.zeros(samples, np.float32)
        television[: len(sound)] = acoustics.through(acoustics.loudspeaker(sound), acoustics.random_room(rng))
        begins_s = EVENT_AT_S + float(rng.uniform(-OWN_ALARM_WITHIN_S, OWN_ALARM_WITHIN_S))
        make = alarms.smoke_alarm if rng.random() < 0.7 else alarms.co_alarm
        alarm = acoustics.through(make(rng, WATCHED_S, begins_s).pcm, acoustics.random_room(rng))
        gain = 10 ** (rng.uniform(*OWN_ALARM_DB) / 20) * np.std(television[: len(sound)])
        yield _beside_noise(rng, television + gain / max(float(np.std(alarm)), 1e-9) * alarm)


def flats_of_one_building(count: int, seed: int) -> Iterator[Audio]:
    """`count` flats in which sounders of one model start at the same moment, each in a room and noise of its own."""
    building = np.random.default_rng((seed, 0))
    make = alarms.smoke_alarm if building.random() < 0.7 else alarms.co_alarm
    alarm = make(building, AD_S, 3.0).pcm
    for number in range(count):
        rng = np.random.default_rng((seed, 1, number))
        yield _beside_noise(rng, acoustics.through(alarm, acoustics.random_room(rng)))


def triggers_of(sounds: Iterable[Audio], names: Collection[str], load: Load) -> list[list[Trigger]]:
    """Return what a fresh device sends of events with these names, for each sound."""
    return [_triggers(as_pcm(sound), names, load()) for sound in sounds]


def suspicions_of(sounds: Iterable[Audio], seed: int) -> list[Trigger]:
    """Return what a device would send that suspects an event at `EVENT_AT_S` of each sound, whatever its model hears.

    It triggers 1.2 s later, and each home's trigger and start of the event differ from that by 0.3 and 0.15 s (RMS).
    """
    found = []
    for number, sound in enumerate(sounds):
        rng = np.random.default_rng((seed, 3, number))
        trigger_s = EVENT_AT_S + 1.2 + float(rng.normal(0, 0.3))
        start_s = EVENT_AT_S + float(rng.normal(0, 0.15))
        pcm = as_pcm(sound)
        samples = (round(start_s * SAMPLE_RATE_HZ), round(trigger_s * SAMPLE_RATE_HZ))
        found.append(_trigger(pcm, native.fingerprint(pcm), *samples, has_cadence=False))
    return found


def _beside_noise(rng: np.random.Generator, sound: Audio) -> Audio:
    bed = noise.room(rng, len(sound)) if rng.random() < 0.7 else noise.machine(rng, len(sound))
    return noise.at_snr(sound, bed, float(rng.uniform(*SNR_DB)), peak=float(rng.uniform(0.05, 0.6)))


def _triggers(pcm: npt.NDArray[np.int16], names: Collection[str], detector: native.Detector) -> list[Trigger]:
    words = native.fingerprint(pcm)
    found = []
    for event in detector.push(pcm):
        if event.name not in names or event.trigger_sample // native.STEP_SAMPLES <= TRIGGER_STEPS:
            continue
        cadence = event.cadence
        is_proven = cadence.periods >= CADENCE_PERIODS and cadence.confidence >= CADENCE_CONFIDENCE
        has_cadence = cadence.kind in ("t3", "t4") and is_proven
        found.append(_trigger(pcm, words, event.start_sample, event.trigger_sample, has_cadence=has_cadence))
    return found


def _trigger(
    pcm: npt.NDArray[np.int16], words: native.Words, start_sample: int, trigger_sample: int, *, has_cadence: bool
) -> Trigger:
    end = trigger_sample // native.STEP_SAMPLES
    first = end - TRIGGER_STEPS - 1
    clip_first = max(0, trigger_sample - limits.CLIP_BEFORE_TRIGGER_SECONDS * SAMPLE_RATE_HZ)
    clip = pcm[clip_first : trigger_sample + limits.CLIP_AFTER_TRIGGER_SECONDS * SAMPLE_RATE_HZ]
    return Trigger(
        words.between(first, end),
        (start_sample / native.STEP_SAMPLES - first) / 2,
        trigger_sample / SAMPLE_RATE_HZ,
        has_cadence,
        tones_of(native.adpcm_decode(native.adpcm_encode(clip), len(clip))),
        round((clip_first - first * native.STEP_SAMPLES) / HOP_SAMPLES),
    )
