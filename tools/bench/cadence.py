"""Plays the cadence grid to the device's ears: front end, trunk, heads and tracker as a board runs them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge import native
from edge.dataset.manifest import read_manifest
from edge.dataset.rooms import measured_rooms
from edge.dataset.synthesis import acoustics, cadence_trials
from edge.dataset.synthesis.tones import Audio
from edge.errors import HarkenError
from edge.evaluation import cadence as grid
from edge.evaluation.cadence import Evidence, Heard, Listener, Outcome
from firmware_gen.build import build_host_library

DEFAULT_TRIALS = 504
LEAST_TRIALS = 2
# how often the device's evidence is looked at; the tracker itself looks every 100 ms
_LOOK_SAMPLES = 2 * native.STEP_SAMPLES
# rooms in which sound takes longer than this to decay by 60 dB are larger than those of a home
_HOME_REVERBERATION_S = 1.1


@dataclass(frozen=True)
class GridResult:
    """Outcomes of all trials, their figures as printed, and the measured rooms that are no home's (name: RT60)."""

    outcomes: list[Outcome]
    figures: dict[str, Any]
    large_rooms: dict[str, float]


def device_listener(library: Path) -> Listener:
    """Return a device's ears at rest, built from a library of core and model."""
    detector = native.load(library)

    def listen(pcm: npt.NDArray[np.int16]) -> Heard:
        evidence, alarms = [], []
        last = None
        for first in range(0, len(pcm), _LOOK_SAMPLES):
            events = detector.push(pcm[first : first + _LOOK_SAMPLES])
            alarms += [event.name for event in events if event.name in grid.EVENT_OF.values()]
            found = detector.cadence
            if found != last:
                at_s = min(first + _LOOK_SAMPLES, len(pcm)) / native.SAMPLE_RATE_HZ
                times_ms = (found.on_ms, found.off_ms, found.pause_ms)
                evidence.append(Evidence(at_s, found.kind, found.periods, *times_ms))
                last = found
        return Heard(tuple(evidence), tuple(alarms))

    return listen


def measured_responses() -> dict[str, Audio]:
    """Return the impulse responses of the recordings that HARKEN_DATA names, by room; empty where it is unset."""
    folder = os.environ.get("HARKEN_DATA")
    if not folder:
        return {}
    rooms = measured_rooms(read_manifest(Path(folder)))
    return {room.name: room.responses[0] for room in rooms}


def measure(trials: int = DEFAULT_TRIALS, seed: int = 1, model: Path | None = None) -> GridResult:
    """Play the grid: ``trials`` of T3, of T4 and of what is neither.

    Raises:
        HarkenError: too few trials, or the device's library cannot be built.
    """
    if trials < LEAST_TRIALS:
        raise HarkenError(f"--trials {trials} gives no interval: give at least {LEAST_TRIALS}")
    responses = measured_responses()
    names = list(responses)
    played = [
        *(one for kind in grid.STANDARDS for one in cadence_trials.standard_trials(kind, trials, seed, names)),
        *cadence_trials.off_cadence_trials(trials, seed, names),
    ]
    library = build_host_library(model)
    outcomes = grid.run(played, partial(cadence_trials.render, measured=responses), partial(device_listener, library))
    reverberation_s = {name: acoustics.reverberation_s(response) for name, response in responses.items()}
    large = {name: seconds for name, seconds in reverberation_s.items() if seconds > _HOME_REVERBERATION_S}
    return GridResult(outcomes, {**grid.figures(outcomes, large), "seed": seed}, large)


def table(figures: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown, as docs/cadence.md has them."""
    lines = [
        "| | where | trials | named within two periods | 95 % | of these at 0 dB |",
        "|---|---|---|---|---|---|",
    ]
    for kind in grid.STANDARDS:
        row = figures[kind]
        at_0_db = row["at_0_db"]
        lines.append(f"| {kind.upper()} | **all** | {_cells(row)} | {_share(_summed(at_0_db))} |")
        lines += [f"| | {_PLACES[place]} | {_cells(row[place])} | {_share(at_0_db[place])} |" for place in grid.PLACES]
    accepted, trials = figures["off_cadence_accepted"], figures["off_cadence_trials"]
    lines.append(
        f"| neither | all | {trials} | {accepted} named T3 or T4 | {_span(figures['off_cadence_accepted_ci95'])} | |"
    )
    lines.append(f"\nConfused with each other: {figures['confused']}.")
    for kind in grid.STANDARDS:
        seconds = figures[kind]["decision_s"]
        lines.append(
            f"{kind.upper()} is named {seconds['median']} s after its first onset in the median, "
            f"{seconds['latest']} s at the latest."
        )
    for name, room in figures["large_rooms"].items():
        shares = ", ".join(f"{kind.upper()} {_share(room[kind])}" for kind in grid.STANDARDS)
        lines.append(f"In {name} (RT60 {room['reverberation_s']} s): {shares}.")
    return "\n".join(lines)


_PLACES = {
    "dry": "dry",
    "rooms": f"rooms, RT60 up to {_HOME_REVERBERATION_S} s",
    "large_rooms": "larger rooms",
}


def _summed(places: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {name: sum(place[name] for place in places.values()) for name in ("recalled", "trials")}


def _cells(row: dict[str, Any]) -> str:
    return f"{row['trials']} | {row['recalled']} ({_percent(row['recall'])}) | {_span(row['ci95'])}"


def _share(row: dict[str, Any]) -> str:
    return f"{row['recalled']} of {row['trials']}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _span(interval: list[float]) -> str:
    return f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f} %"
