"""The cadence grid: what a device makes of both standards and of what is neither, trial by trial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.dataset.synthesis.cadence_trials import DRY, Trial
from edge.evaluation.metrics import rate_interval

STANDARDS = ("t3", "t4")
EVENT_OF = {"t3": "smoke_alarm", "t4": "co_alarm"}
# where a standard is played: without a room, in rooms as a home's, and in larger ones
PLACES = ("dry", "rooms", "large_rooms")
# a pattern is named by two periods of it; one is a hint
PERIODS_TO_NAME = 2


@dataclass(frozen=True)
class Evidence:
    """What the device's tracker held at a time: seconds, kind, whole periods, and the measured times in ms."""

    at_s: float
    kind: str
    periods: int
    on_ms: int
    off_ms: int
    pause_ms: int


@dataclass(frozen=True)
class Heard:
    """What a device made of one trial: its cadence evidence over time, and the names of the alarms that it raised."""

    evidence: tuple[Evidence, ...]
    alarms: tuple[str, ...]


# a device from rest: int16[n] to what it made of it
Listener = Callable[[npt.NDArray[np.int16]], Heard]


@dataclass(frozen=True)
class Outcome:
    """One trial judged.

    Attributes:
        trial: what was played.
        decided_s: when the right standard was named, seconds after the first onset, if within two periods.
        named: standards that were named at any time, in order of name.
        hinted: standards that one period hinted at.
        named_first: the evidence that first named a standard.
        alarms: names of the alarm events that the device raised.
    """

    trial: Trial
    decided_s: float | None
    named: tuple[str, ...]
    hinted: tuple[str, ...]
    named_first: Evidence | None
    alarms: tuple[str, ...]

    @property
    def is_recalled(self) -> bool:
        """Whether the right standard was named within two periods."""
        return self.decided_s is not None

    @property
    def is_confused(self) -> bool:
        """Whether a standard was called by the other's name."""
        return self.trial.kind in STANDARDS and any(kind != self.trial.kind for kind in self.named)

    @property
    def is_accepted(self) -> bool:
        """Whether something that is no standard was called one."""
        return self.trial.kind not in STANDARDS and bool(self.named)


def judge(trial: Trial, heard: Heard) -> Outcome:
    """Return what a device's evidence means for a trial."""
    names = [one for one in heard.evidence if one.kind in STANDARDS and one.periods >= PERIODS_TO_NAME]
    in_time = [one for one in names if one.kind == trial.kind and one.at_s <= trial.deadline_s + 1e-6]
    hints = {one.kind for one in heard.evidence if one.kind in STANDARDS and one.periods < PERIODS_TO_NAME}
    return Outcome(
        trial=trial,
        decided_s=in_time[0].at_s - trial.onset_s if in_time else None,
        named=tuple(sorted({one.kind for one in names})),
        hinted=tuple(sorted(hints)),
        named_first=names[0] if names else None,
        alarms=heard.alarms,
    )


def run(
    trials: Iterable[Trial], render: Callable[[Trial], npt.NDArray[np.int16]], listener: Callable[[], Listener]
) -> list[Outcome]:
    """Play every trial to a device from rest. ``listener`` makes one; ``render`` makes a trial's sound."""
    return [judge(trial, listener()(render(trial))) for trial in trials]


def figures(outcomes: Sequence[Outcome], large_rooms: Mapping[str, float]) -> dict[str, Any]:
    """Return the grid's figures, as ``harken eval cadence --json`` prints them.

    Args:
        outcomes: of all trials; every one counts in ``t3``, ``t4`` and what is off.
        large_rooms: measured rooms that are larger than a home's, with their reverberation time in seconds: what was
            heard in them is given apart as well.
    """
    off = [one for one in outcomes if one.trial.kind not in STANDARDS]
    return {
        **{kind: _standard([one for one in outcomes if one.trial.kind == kind], large_rooms) for kind in STANDARDS},
        "confused": sum(one.is_confused for one in outcomes),
        "off_cadence_trials": len(off),
        "off_cadence_accepted": sum(one.is_accepted for one in off),
        "off_cadence_accepted_ci95": _interval(sum(one.is_accepted for one in off), len(off)),
        "off_cadence_hinted": sum(bool(one.hinted) for one in off),
        "large_rooms": {
            room: {
                "reverberation_s": round(seconds, 2),
                **{
                    kind: _rate([one for one in outcomes if one.trial.room == room and one.trial.kind == kind])
                    for kind in STANDARDS
                },
            }
            for room, seconds in large_rooms.items()
        },
    }


def cells(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return recall of the standards by corner, level, tone, room and background, and acceptances by form."""
    counts: dict[str, dict[str, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for one in outcomes:
        trial = one.trial
        if trial.kind not in STANDARDS:
            counts["off cadence"][trial.form].append(one)
            continue
        place = "dry" if trial.room == DRY else "in rooms"
        counts[f"{trial.kind} corner"][trial.form].append(one)
        counts[f"{trial.kind} level"][f"{trial.snr_db:g} dB, {place}"].append(one)
        counts[f"{trial.kind} tone"][trial.tone].append(one)
        counts[f"{trial.kind} room"][trial.room].append(one)
        counts[f"{trial.kind} background"][trial.background].append(one)
    return {
        group: {name: _rate(members, is_off=group == "off cadence") for name, members in sorted(rows.items())}
        for group, rows in counts.items()
    }


def _standard(outcomes: Sequence[Outcome], large_rooms: Container[str]) -> dict[str, Any]:
    decided_s = [one.decided_s for one in outcomes if one.decided_s is not None]
    event = EVENT_OF[outcomes[0].trial.kind] if outcomes else ""
    # its times as measured, against those played: the evidence that goes with a trigger
    off_by_ms = [
        abs(one.named_first.on_ms - 1000.0 * one.trial.cadence.pulses_s[0][0])
        for one in outcomes
        if one.is_recalled and one.named_first is not None
    ]
    return {
        **_rate(outcomes),
        **_by_place(outcomes, large_rooms),
        "at_0_db": _by_place([one for one in outcomes if one.trial.snr_db == 0.0], large_rooms),
        "decision_s": {
            "median": round(float(np.median(decided_s)), 2) if decided_s else None,
            "latest": round(max(decided_s), 2) if decided_s else None,
        },
        "on_error_ms_median": round(float(np.median(off_by_ms)), 1) if off_by_ms else None,
        "alarms": sum(bool(one.alarms) for one in outcomes),
        "alarms_named_right": sum(event in one.alarms for one in outcomes),
    }


def _by_place(outcomes: Sequence[Outcome], large_rooms: Container[str]) -> dict[str, dict[str, Any]]:
    places: dict[str, list[Outcome]] = {place: [] for place in PLACES}
    for one in outcomes:
        room = one.trial.room
        places["dry" if room == DRY else "large_rooms" if room in large_rooms else "rooms"].append(one)
    return {place: _rate(members) for place, members in places.items()}


def _rate(outcomes: Sequence[Outcome], is_off: bool = False) -> dict[str, Any]:
    hits = sum(one.is_accepted if is_off else one.is_recalled for one in outcomes)
    name = "accepted" if is_off else "recalled"
    share = round(hits / len(outcomes), 4) if outcomes else None
    return {
        "trials": len(outcomes),
        name: hits,
        **({} if is_off else {"recall": share}),
        "ci95": _interval(hits, len(outcomes)),
    }


def _interval(hits: int, trials: int) -> list[float]:
    return [round(end, 4) for end in rate_interval(hits, trials)]
