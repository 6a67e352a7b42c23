"""The demo's two minutes: a made-up evening in one room, with the truth of what sounds in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edge.dataset.synthesis import acoustics, advertisement, alarms, appliances, cadences, noise, tones
from edge.dataset.synthesis.tones import SAMPLE_RATE_HZ, Audio

DURATION_S = 120.0
ADVERTISEMENT_TITLE = "Advertisement: SureSense smoke alarms"

# -58 dB of full scale: a quiet room through a microphone with the gain that a device across the room needs.
ROOM_NOISE_RMS = 0.0012


@dataclass(frozen=True)
class Truth:
    """One thing that sounds: from ``start_s`` to ``end_s`` seconds, which event it is, and what is to be expected.

    ``label`` is an event's name from the catalogue, or ``media`` for a broadcast.
    """

    start_s: float
    end_s: float
    label: str
    note: str


@dataclass(frozen=True)
class Scene:
    """``pcm`` int16[n] at 16 kHz; ``truth`` in order of time; ``media``: clean recordings (title to int16[m])."""

    pcm: npt.NDArray[np.int16]
    truth: list[Truth]
    media: dict[str, npt.NDArray[np.int16]] = field(default_factory=dict)


def make_scene(seed: int = 2) -> Scene:
    """The demo's scene, about two minutes; the same seed gives the same samples.

    In order: a quiet room; a microwave that has finished; a smoke alarm (T3) in the next room while a fan runs; an
    advertisement from a television with a smoke alarm in it, the clean recording of which is in ``media``; a carbon
    monoxide alarm (T4); a quiet end.
    """
    samples = round(DURATION_S * SAMPLE_RATE_HZ)
    bed = noise.with_rms(noise.room(_rng(seed, "bed"), samples), ROOM_NOISE_RMS).astype(np.float64)
    truth: list[Truth] = []

    def place(
        at_s: float, dry: Audio, peak: float, rt60_s: float, name: str, color: Callable[[Audio], Audio] | None = None
    ) -> None:
        """Add a sound that arrives through its own way in the room, its loudest sample at ``peak``."""
        wet = np.concatenate([dry, np.zeros(SAMPLE_RATE_HZ, np.float32)])
        if color is not None:
            wet = color(wet)
        wet = acoustics.through(wet, _way(seed, name, rt60_s))
        start = round(at_s * SAMPLE_RATE_HZ)
        end = min(start + len(wet), samples)
        bed[start:end] += tones.normalized(wet, peak)[: end - start]

    beeps = appliances.microwave(_rng(seed, "microwave"), beeps=5, frequency_hz=2050.0)
    place(8.0, beeps, 0.05, 0.35, "microwave")
    truth.append(
        Truth(8.0, 8.0 + len(beeps) / SAMPLE_RATE_HZ, "appliance_beep", "a microwave has finished: five beeps")
    )

    rng = _rng(seed, "smoke")
    smoke = alarms.sound(cadences.random_t3(rng), tones.piezo(3100.0), 22.0, rng, start_s=0.2)
    fan = noise.with_rms(noise.machine(_rng(seed, "fan"), 30 * SAMPLE_RATE_HZ), 0.01)
    fade = np.minimum(1.0, np.minimum(np.arange(len(fan)), np.arange(len(fan))[::-1]) / SAMPLE_RATE_HZ)
    start = 20 * SAMPLE_RATE_HZ
    bed[start : start + len(fan)] += fan * fade
    place(24.0, smoke.pcm, 0.25, 0.5, "smoke")
    truth.append(Truth(24.2, 46.0, "smoke_alarm", "a smoke alarm (T3) in the next room, a fan running"))

    spot = advertisement.make(_rng(seed, "advertisement"), duration_s=22.0, alarm_at_s=7.0, alarm_s=9.0)
    place(55.0, spot.pcm, 0.35, 0.35, "television", acoustics.loudspeaker)
    truth.append(
        Truth(55.0, 77.0, "media", "an advertisement that is known, on television: the smoke alarm in it is not real")
    )

    rng = _rng(seed, "co")
    co = alarms.sound(cadences.random_t4(rng), tones.piezo(3350.0), 24.0, rng, start_s=0.2)
    place(85.0, co.pcm, 0.25, 0.5, "co")
    truth.append(Truth(85.2, 109.0, "co_alarm", "a carbon monoxide alarm (T4) down the hall"))

    return Scene(_pcm16(bed), truth, {ADVERTISEMENT_TITLE: _pcm16(spot.pcm)})


def _way(seed: int, name: str, rt60_s: float) -> Audio:
    """The room's response from where ``name`` stands to the device on its shelf."""
    rng = _rng(seed, f"room of {name}")
    source = (float(rng.uniform(0.6, 4.4)), float(rng.uniform(0.6, 3.4)), float(rng.uniform(0.8, 2.3)))
    return acoustics.image_source_response(rng, (5.0, 4.0, 2.5), source, (2.1, 0.4, 1.2), rt60_s)


def _rng(seed: int, name: str) -> np.random.Generator:
    """A generator of its own for each sound, so that changing one leaves the others as they were."""
    return np.random.default_rng([seed, *name.encode()])


def _pcm16(pcm: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
    return np.clip(np.round(pcm * 32767.0), -32768, 32767).astype(np.int16)
