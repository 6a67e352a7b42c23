"""The cadence grid: what its trials cover, and how they are judged."""

from __future__ import annotations

import numpy as np
import pytest

from edge.dataset.synthesis import acoustics, cadence_trials, cadences
from edge.dataset.synthesis.cadence_trials import DRY, SIMULATED
from edge.evaluation import cadence
from edge.evaluation.cadence import Evidence, Heard


def test_every_corner_is_played_with_every_tone_dry_and_in_rooms() -> None:
    for kind, corners in (("t3", cadences.t3_corners()), ("t4", cadences.t4_corners())):
        trials = cadence_trials.standard_trials(kind, 405, 1)
        assert {one.cadence for one in trials} == set(corners)
        assert {(one.cadence, one.room) for one in trials} == {(c, room) for c in corners for room in (DRY, SIMULATED)}
        assert {one.tone for one in trials} == set(cadence_trials.TONES)
        assert min(one.snr_db for one in trials) == 0.0


def test_what_is_off_has_one_time_wrong_by_a_quarter_at_least() -> None:
    nominal = {"T3": (0.5, 0.5, 1.5), "T4": (0.1, 0.1, 5.0)}
    for trial in cadence_trials.off_cadence_trials(170, 2):
        pattern, _, which = trial.form.partition(", ")
        if not which.endswith("wrong"):
            continue
        times_s = (*trial.cadence.pulses_s[0], trial.cadence.pulses_s[-1][1])
        off = [abs(time / right - 1.0) for time, right in zip(times_s, nominal[pattern], strict=True)]
        assert sum(share > 1e-9 for share in off) == 1
        assert max(off) >= 0.25 - 1e-9


def test_a_trial_sounds_the_same_every_time() -> None:
    trial = cadence_trials.standard_trials("t4", 12, 3)[11]
    once = cadence_trials.render(trial)
    assert once.dtype == np.int16
    assert np.array_equal(once, cadence_trials.render(trial))


def evidence(at_s: float, kind: str, periods: int) -> Evidence:
    return Evidence(at_s, kind, periods, 500, 500, 1500)


def test_a_name_counts_only_within_two_periods_and_takes_two() -> None:
    trial = cadence_trials.standard_trials("t3", 1, 1)[0]
    in_time, late = trial.deadline_s - 0.1, trial.deadline_s + 0.1
    assert cadence.judge(trial, Heard((evidence(in_time, "t3", 2),), ())).is_recalled
    assert not cadence.judge(trial, Heard((evidence(late, "t3", 2),), ())).is_recalled
    hinted = cadence.judge(trial, Heard((evidence(in_time, "t3", 1),), ()))
    assert not hinted.is_recalled
    assert hinted.hinted == ("t3",)
    assert cadence.judge(trial, Heard((evidence(late, "t4", 2),), ())).is_confused


def test_figures_count_every_room_and_say_where() -> None:
    trials = [*cadence_trials.standard_trials("t3", 36, 1, ["hall"]), *cadence_trials.standard_trials("t4", 36, 1)]
    trials += cadence_trials.off_cadence_trials(17, 1)
    outcomes = [
        cadence.judge(one, Heard((evidence(5.0, "t3", 1 if one.room == "hall" else 2),), ("smoke_alarm",)))
        for one in trials
    ]
    found = cadence.figures(outcomes, {"hall": 2.5})
    in_hall = sum(one.room == "hall" for one in trials)
    assert in_hall > 0
    assert (found["t3"]["trials"], found["t3"]["recalled"]) == (36, 36 - in_hall)
    assert found["t3"]["dry"]["recall"] == found["t3"]["rooms"]["recall"] == 1.0
    assert (found["t3"]["large_rooms"]["trials"], found["t3"]["large_rooms"]["recalled"]) == (in_hall, 0)
    for at in (found["t3"], found["t4"], found["t3"]["at_0_db"]):
        assert sum(at[place]["trials"] for place in cadence.PLACES) == 36
    assert found["t4"]["recall"] == 0.0
    assert found["confused"] == 36
    assert (found["off_cadence_trials"], found["off_cadence_accepted"]) == (17, 17)
    assert found["large_rooms"]["hall"]["t3"]["trials"] == in_hall


def test_reverberation_time_is_that_of_the_decay() -> None:
    response = acoustics.exponential_response(np.random.default_rng(1), 0.6, -10.0)
    assert acoustics.reverberation_s(response) == pytest.approx(0.6, rel=0.15)
