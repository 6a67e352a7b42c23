"""Events that synthesis makes: what no recording covers, and more of what few recordings do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.dataset import microphones, recorded
from edge.dataset.sounding import (
    Sound,
    active_intervals,
    alarm_knowable_s,
    alarm_not_asked,
    alarm_unlike_machine,
    machine_knowable_s,
)
from edge.dataset.synthesis import cadences, doors, glass, signals, sounders, steps

_SIGNALS = (signals.end_of_programme, signals.timer, signals.keypad, signals.melody)
_SIGNAL_SHARES = (0.5, 0.2, 0.1, 0.2)


def smoke_alarm(rng: np.random.Generator) -> Sound:
    """A smoke alarm of any cadence and voice, 12-40 s."""
    cadence = recorded.smoke_cadence(rng)
    duration_s = float(rng.uniform(12, 40))
    on_s = cadence.intervals(duration_s, start_s=float(rng.uniform(-1.0, 0.5)))
    pcm = sounders.render(sounders.alarm_voice(rng), on_s, duration_s, rng)
    known_s, unasked = alarm_knowable_s(on_s), alarm_unlike_machine(on_s)
    return Sound(pcm, "smoke_alarm", tuple(on_s), unasked=unasked, knowable_s=known_s, kind="made smoke alarm")


def co_alarm(rng: np.random.Generator) -> Sound:
    """A carbon monoxide alarm: T4 anywhere within its tolerances or at their corners, any voice, 13-40 s."""
    if rng.random() < 0.4:
        corners = cadences.t4_corners()
        cadence = corners[int(rng.integers(len(corners)))]
    else:
        cadence = cadences.random_t4(rng)
    duration_s = float(rng.uniform(13, 40))
    on_s = cadence.intervals(duration_s, start_s=float(rng.uniform(0.0, 0.5)))
    pcm = sounders.render(sounders.alarm_voice(rng), on_s, duration_s, rng)
    return Sound(pcm, "co_alarm", tuple(on_s), kind="made CO alarm")


def appliance_beep(rng: np.random.Generator) -> Sound:
    """Beeps or a tune of a household machine."""
    maker = _SIGNALS[int(rng.choice(len(_SIGNALS), p=_SIGNAL_SHARES))]
    made = signals.at_machine(maker(rng, signals.machine_frequency_hz(rng)), rng)
    # a tune is known by its first notes
    known_s = None if maker is signals.melody else machine_knowable_s(made.on_s)
    unasked, kind = alarm_not_asked(made.on_s), f"made {maker.__name__}"
    return Sound(made.pcm, "appliance_beep", made.on_s, unasked=unasked, knowable_s=known_s, kind=kind)


def glass_break(rng: np.random.Generator) -> Sound:
    """A pane, a bottle or a drinking glass that breaks."""
    pcm = _heard(glass.glass_break(rng), rng)
    return Sound(pcm, "glass_break", active_intervals(pcm), kind="made glass")


def footsteps(rng: np.random.Generator) -> Sound:
    """Somebody walks 4 to 18 steps on any floor."""
    pcm, on_s = steps.walk(rng, int(rng.integers(4, 19)))
    return Sound(_heard(pcm, rng), "footsteps", on_s, kind="made walk")


def door(rng: np.random.Generator) -> Sound:
    """A door that shuts."""
    pcm, blow_s = doors.door(rng)
    # what rattles after the blow is quieter than a door in a room: the blow is what is labelled
    return Sound(_heard(pcm, rng), "door", ((blow_s, blow_s + 0.25),), kind="made door")


def _heard(pcm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a made sound with a spectrum of its own: synthesis prefers some pitches, recordings do not."""
    return microphones.coloured(pcm, rng) if rng.random() < 0.6 else pcm


MAKERS: dict[str, Callable[[np.random.Generator], Sound]] = {
    "smoke_alarm": smoke_alarm,
    "co_alarm": co_alarm,
    "appliance_beep": appliance_beep,
    "glass_break": glass_break,
    "footsteps": footsteps,
    "door": door,
}
# how much of an event is made where there are recordings too: more where originals are few
SHARES = {
    "smoke_alarm": 0.5,
    "co_alarm": 0.7,
    "appliance_beep": 0.75,
    "glass_break": 0.5,
    "footsteps": 0.4,
    "door": 0.3,
}
