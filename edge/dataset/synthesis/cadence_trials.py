"""Seeded trials for the cadence: both standards at every corner of their tolerances, and what must not pass for them.

A trial is a description; :func:`render` makes its sound. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge.dataset.synthesis import acoustics, cadences, noise, tones
from edge.dataset.synthesis.cadences import Cadence
from edge.dataset.synthesis.tones import Audio, Tone

# the first onset lies this long after the trial begins, drawn anew for each
_ONSET_S = (1.0, 1.5)
_PEAK = 0.3
# half of the trials of a standard are at 0 dB, where it is hardest
STANDARD_SNRS_DB = (0.0, 0.0, 6.0, 20.0)
OFF_CADENCE_SNRS_DB = (0.0, 10.0, 20.0)
OFF_CADENCE_S = 16.0
# a time of a standard is off when it is wrong by this much, or more
_WRONG_BY = (0.25, 0.6)

DRY = "dry"
SIMULATED = "simulated room"


@dataclass(frozen=True)
class Trial:
    """One trial of the grid.

    Attributes:
        kind: what a perfect listener would call it: ``t3``, ``t4`` or ``off`` (anything else).
        form: the corner of the tolerances, or what makes it no standard cadence.
        cadence: the sounder's times.
        repeats: how many periods it sounds; None: to the end.
        tone: name of the tone, a key of :data:`TONES`.
        room: :data:`DRY`, :data:`SIMULATED` or the name of a measured room.
        background: name of the noise, a key of :data:`BACKGROUNDS`.
        snr_db: of the sounder while it is loud against the noise.
        onset_s: first onset, seconds.
        duration_s: length, seconds.
        seed: of everything else that is drawn.
    """

    kind: str
    form: str
    cadence: Cadence
    repeats: int | None
    tone: str
    room: str
    background: str
    snr_db: float
    onset_s: float
    duration_s: float
    seed: tuple[int, ...]

    @property
    def deadline_s(self) -> float:
        """By when two periods have been heard: the latest time for a decision."""
        return self.onset_s + 2.0 * self.cadence.period_s


def _piezo(low_hz: float, high_hz: float) -> Callable[[np.random.Generator], Tone]:
    return lambda rng: tones.piezo(float(rng.uniform(low_hz, high_hz)), float(rng.uniform(0.0, 0.35)))


TONES: dict[str, Callable[[np.random.Generator], Tone]] = {
    "2.4 kHz": _piezo(2400.0, 2500.0),
    "3.1 kHz": _piezo(3000.0, 3200.0),
    "3.6 kHz": _piezo(3500.0, 3600.0),
    "520 Hz square": lambda rng: tones.square(float(rng.uniform(468.0, 572.0))),
    "harmonic-rich": lambda rng: tones.harmonic_rich(
        float(rng.uniform(350.0, 500.0)), float(rng.uniform(2000.0, 3000.0)), float(rng.uniform(0.4, 0.9))
    ),
}

BACKGROUNDS: dict[str, Callable[[np.random.Generator, int], Audio]] = {
    "white": lambda rng, samples: noise.colored(rng, samples, 0.0),
    "pink": lambda rng, samples: noise.colored(rng, samples, -3.0),
    "room": noise.room,
    "machine": noise.machine,
}


def standard_trials(kind: str, count: int, seed: int, measured_rooms: Sequence[str] = ()) -> list[Trial]:
    """Return ``count`` trials of ``t3`` or ``t4``: every corner of its tolerances with every tone, dry and in rooms.

    Of the trials in rooms, every other one is in a measured room where there are any.
    """
    corners = _corners(kind)
    trials = []
    for index in range(count):
        rng = np.random.default_rng((seed, {"t3": 3, "t4": 4}[kind], index))
        name, cadence = corners[index % len(corners)]
        rest = index // len(corners)
        room = _room(rest % 2 == 1, rest // 2, measured_rooms)
        # shifted by the rest, so that neither tone nor level keeps step with the corners
        tone = list(TONES)[(rest // 2 + index) % len(TONES)]
        snr_db = STANDARD_SNRS_DB[(rest // 2) % len(STANDARD_SNRS_DB)]
        onset_s = float(rng.uniform(*_ONSET_S))
        trials.append(
            Trial(
                kind=kind,
                form=name,
                cadence=cadence,
                repeats=None,
                tone=tone,
                room=room,
                background=str(rng.choice(list(BACKGROUNDS))),
                snr_db=snr_db,
                onset_s=onset_s,
                duration_s=onset_s + 2.0 * cadence.period_s + 0.5,
                seed=(seed, {"t3": 3, "t4": 4}[kind], index, 1),
            )
        )
    return trials


def off_cadence_trials(count: int, seed: int, measured_rooms: Sequence[str] = ()) -> list[Trial]:
    """Return ``count`` trials that are neither T3 nor T4, each form of :data:`OFF_CADENCES` equally often."""
    forms = list(OFF_CADENCES)
    trials = []
    for index in range(count):
        rng = np.random.default_rng((seed, 5, index))
        form = forms[index % len(forms)]
        rest = index // len(forms)
        cadence, repeats = OFF_CADENCES[form](rng)
        trials.append(
            Trial(
                kind="off",
                form=form,
                cadence=cadence,
                repeats=repeats,
                tone=list(TONES)[(rest + index) % len(TONES)],
                room=_room(rest % 2 == 1, rest // 2, measured_rooms),
                background=str(rng.choice(list(BACKGROUNDS))),
                snr_db=OFF_CADENCE_SNRS_DB[rest % len(OFF_CADENCE_SNRS_DB)],
                onset_s=float(rng.uniform(*_ONSET_S)),
                duration_s=OFF_CADENCE_S,
                seed=(seed, 5, index, 1),
            )
        )
    return trials


def render(trial: Trial, measured: dict[str, Audio] | None = None) -> npt.NDArray[np.int16]:
    """Return the trial's sound, int16[n] at 16 kHz. ``measured``: impulse response of each measured room, by name."""
    rng = np.random.default_rng(trial.seed)
    on_s = trial.cadence.intervals(trial.duration_s, trial.onset_s, trial.repeats)
    pcm = tones.render(TONES[trial.tone](rng), on_s, trial.duration_s, rng)
    if trial.room == SIMULATED:
        pcm = acoustics.through(pcm, acoustics.random_room(rng))
    elif trial.room != DRY:
        pcm = acoustics.through(pcm, (measured or {})[trial.room])
    bed = BACKGROUNDS[trial.background](rng, len(pcm))
    mixed = noise.at_snr(pcm, bed, trial.snr_db, _PEAK)
    return np.clip(np.round(mixed * 32767.0), -32768, 32767).astype(np.int16)


def _room(is_reverberant: bool, turn: int, measured_rooms: Sequence[str]) -> str:
    if not is_reverberant:
        return DRY
    if measured_rooms and turn % 2 == 1:
        return measured_rooms[turn // 2 % len(measured_rooms)]
    return SIMULATED


def _corners(kind: str) -> list[tuple[str, Cadence]]:
    made = cadences.t3_corners() if kind == "t3" else cadences.t4_corners()
    named = []
    for cadence in made:
        on_s, off_s = cadence.pulses_s[0]
        named.append((f"on {on_s:.2f} off {off_s:.2f} pause {cadence.pulses_s[-1][1]:.2f} s", cadence))
    return named


_Made = tuple[Cadence, int | None]
_OffCadence = Callable[[np.random.Generator], _Made]


def _one_time_wrong(make: Callable[..., Cadence], nominal_s: tuple[float, float, float], which: int) -> _OffCadence:
    """The standard with one of its times wrong by a quarter or more; half of the time by a quarter exactly."""

    def draw(rng: np.random.Generator) -> _Made:
        times_s = list(nominal_s)
        by = _WRONG_BY[0] if rng.random() < 0.5 else float(rng.uniform(*_WRONG_BY))
        times_s[which] *= 1.0 + by * float(rng.choice((-1.0, 1.0)))
        return Cadence("other", make(*times_s).pulses_s), None

    return draw


def _scaled(make: Callable[..., Cadence], nominal_s: tuple[float, float, float]) -> _OffCadence:
    def draw(rng: np.random.Generator) -> _Made:
        by = 1.0 + float(rng.uniform(*_WRONG_BY)) * float(rng.choice((-1.0, 1.0)))
        return Cadence("other", make(*(by * time_s for time_s in nominal_s)).pulses_s), None

    return draw


def _pulses_wrong(on_off_s: float, pause_s: float, counts: tuple[int, ...]) -> _OffCadence:
    def draw(rng: np.random.Generator) -> _Made:
        count = int(rng.choice(counts))
        return Cadence("other", ((on_off_s, on_off_s),) * (count - 1) + ((on_off_s, pause_s),)), None

    return draw


def _washing_machine(rng: np.random.Generator) -> _Made:
    return cadences.even(float(rng.uniform(0.45, 0.55)), float(rng.uniform(0.45, 0.55))), None


def _microwave(rng: np.random.Generator) -> _Made:
    return cadences.even(float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.3, 1.0))), int(rng.integers(3, 6))


def _reversing_lorry(rng: np.random.Generator) -> _Made:
    return cadences.even(float(rng.uniform(0.35, 0.65)), float(rng.uniform(0.35, 0.65))), None


def _telephone(rng: np.random.Generator) -> _Made:
    forms = (
        ((2.0, 4.0),),  # North America
        ((0.4, 0.2), (0.4, 2.0)),  # United Kingdom
        ((1.0, 4.0),),  # most of Europe
        ((0.05, 0.05),) * 9 + ((0.05, 1.5),),  # an electronic trill
    )
    return Cadence("other", forms[int(rng.integers(len(forms)))]), None


def _doorbell(rng: np.random.Generator) -> _Made:
    strike = (float(rng.uniform(0.2, 0.6)), float(rng.uniform(0.1, 0.5)))
    last = (float(rng.uniform(0.3, 0.9)), float(rng.uniform(2.0, 6.0)))
    return Cadence("other", (strike, last)), int(rng.integers(1, 4))


def _alarm_clock(rng: np.random.Generator) -> _Made:
    beat_s = float(rng.uniform(0.1, 0.25))
    pulse = (beat_s / 2, beat_s / 2)
    return Cadence("other", (pulse,) * 3 + ((beat_s / 2, float(rng.uniform(0.3, 1.2))),)), None


def _medical_monitor(rng: np.random.Generator) -> _Made:
    """IEC 60601-1-8: three pulses for medium priority, three and two, twice, for high."""
    on_s = float(rng.uniform(0.12, 0.25))
    near, far = (on_s, float(rng.uniform(0.1, 0.2))), (on_s, float(rng.uniform(0.35, 0.6)))
    pause = (on_s, float(rng.uniform(2.5, 8.0)))
    if rng.random() < 0.5:
        return Cadence("other", (near, near, pause)), None
    return Cadence("other", (near, near, far, near, (on_s, 0.8), near, near, far, near, pause)), None


_T3_S, _T4_S = (0.5, 0.5, 1.5), (0.1, 0.1, 5.0)
OFF_CADENCES: dict[str, _OffCadence] = {
    "T3, on wrong": _one_time_wrong(cadences.t3, _T3_S, 0),
    "T3, off wrong": _one_time_wrong(cadences.t3, _T3_S, 1),
    "T3, pause wrong": _one_time_wrong(cadences.t3, _T3_S, 2),
    "T3, too fast or slow": _scaled(cadences.t3, _T3_S),
    "T3 with 2, 4 or 5 pulses": _pulses_wrong(0.5, 1.5, (2, 4, 5)),
    "T4, on wrong": _one_time_wrong(cadences.t4, _T4_S, 0),
    "T4, off wrong": _one_time_wrong(cadences.t4, _T4_S, 1),
    "T4, pause wrong": _one_time_wrong(cadences.t4, _T4_S, 2),
    "T4, too fast or slow": _scaled(cadences.t4, _T4_S),
    "T4 with 2, 3, 5 or 6 pulses": _pulses_wrong(0.1, 5.0, (2, 3, 5, 6)),
    "washing machine": _washing_machine,
    "microwave": _microwave,
    "reversing lorry": _reversing_lorry,
    "telephone": _telephone,
    "doorbell": _doorbell,
    "alarm clock": _alarm_clock,
    "medical monitor": _medical_monitor,
}
