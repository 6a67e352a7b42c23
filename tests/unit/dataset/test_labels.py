"""Labels: an alarm is one sound across the pauses of its cadence, and nobody is asked what cannot be known."""

from __future__ import annotations

import numpy as np
import pytest

from edge import catalogue
from edge.dataset import labels
from edge.dataset.labels import IGNORED, SOUNDING, STEPS_PER_SECOND, TARGET
from edge.dataset.sounding import alarm_not_asked, alarm_unlike_machine, machine_knowable_s
from edge.dataset.synthesis import cadences


def _painted(event: str, intervals_s: list[tuple[float, float]], seconds: int = 40) -> np.ndarray:
    painted = np.zeros((seconds * STEPS_PER_SECOND, len(catalogue.load())), np.uint8)
    labels.paint(painted, event, catalogue.load().index(event), intervals_s)
    return painted[:, catalogue.load().index(event)]


def test_a_co_alarm_is_held_across_its_five_second_pauses() -> None:
    column = _painted("co_alarm", cadences.t4().intervals(26.0, start_s=2.0))
    assert (column[9 * STEPS_PER_SECOND : 20 * STEPS_PER_SECOND] & TARGET).all()
    assert not (column[9 * STEPS_PER_SECOND : 13 * STEPS_PER_SECOND] & SOUNDING).any()


def test_a_smoke_alarm_is_held_across_its_pauses() -> None:
    column = _painted("smoke_alarm", cadences.t3().intervals(20.0))
    assert (column[3 * STEPS_PER_SECOND : 17 * STEPS_PER_SECOND] & TARGET).all()


def test_a_fragment_of_an_alarm_is_no_target_and_nothing_is_asked_over_it() -> None:
    for event, intervals_s in (
        ("smoke_alarm", [(1.0, 1.5), (2.0, 2.5)]),
        ("co_alarm", cadences.t4().intervals(3.0, 2.0)),
    ):
        column = _painted(event, intervals_s)
        assert not (column & TARGET).any()
        assert (column[STEPS_PER_SECOND * 2 : round(STEPS_PER_SECOND * 2.5)] & IGNORED).all()


def test_a_sound_may_be_known_later_than_others_of_its_event() -> None:
    painted = np.zeros((20 * STEPS_PER_SECOND, len(catalogue.load())), np.uint8)
    labels.paint(painted, "smoke_alarm", 0, cadences.even(0.5, 0.5).intervals(20.0), grace_s=8.0)
    first = int(np.flatnonzero(painted[:, 0] & TARGET)[0])
    assert first == 8 * STEPS_PER_SECOND


def test_two_barks_far_apart_are_two_sounds() -> None:
    column = _painted("dog_bark", [(1.0, 1.2), (8.0, 8.2)])
    starts = np.flatnonzero(np.diff((column & TARGET).astype(int)) == 1)
    assert len(starts) == 2


def test_nothing_is_asked_at_the_onset_and_after_the_end() -> None:
    column = _painted("smoke_alarm", [(5.0, 10.0)])
    assert column[5 * STEPS_PER_SECOND] & IGNORED
    assert column[11 * STEPS_PER_SECOND] & IGNORED
    assert column[4 * STEPS_PER_SECOND] == 0
    assert column[20 * STEPS_PER_SECOND] == 0


def test_a_step_is_never_both_target_and_ignored() -> None:
    column = _painted("baby_cry", [(1.0, 2.0), (3.5, 4.0), (4.2, 9.0), (12.0, 12.1)])
    assert not ((column & TARGET != 0) & (column & IGNORED != 0)).any()


def test_ignoring_does_not_undo_a_target() -> None:
    painted = np.zeros((500, len(catalogue.load())), np.uint8)
    labels.paint(painted, "door", 4, [(1.0, 1.3)])
    labels.ignore(painted, 4, 0.0, 10.0)
    assert (painted[:, 4] & TARGET).any()
    assert painted[300, 4] & IGNORED


def test_what_is_known_only_when_it_is_over_is_asked_for_then() -> None:
    painted = np.zeros((20 * STEPS_PER_SECOND, len(catalogue.load())), np.uint8)
    index = catalogue.load().index("appliance_beep")
    beeps = cadences.even(0.5, 0.5).intervals(2.6)
    labels.paint(painted, "appliance_beep", index, beeps, grace_s=machine_knowable_s(beeps))
    wanted = np.flatnonzero(painted[:, index] & TARGET) / STEPS_PER_SECOND
    assert wanted[0] > beeps[-1][1] + 1.65, "T3's longest pause is over"
    assert len(wanted) / STEPS_PER_SECOND >= 0.7


@pytest.mark.parametrize(
    ("beeps", "known_s"),
    [
        (cadences.even(0.5, 0.5).intervals(8.0), 3.1),  # a fourth pulse where T3 pauses
        (cadences.even(0.5, 0.5).intervals(0.5), 1.25),  # one pulse, and then none
        (cadences.even(0.5, 0.2).intervals(8.0), 0.8),  # sooner than T3's second
        (cadences.even(0.5, 0.9).intervals(8.0), 1.25),  # later than T3's second
        (cadences.even(0.2, 0.5).intervals(8.0), 0.28),  # shorter than T3's pulses
        (cadences.even(1.5, 0.5).intervals(8.0), 0.72),  # longer
    ],
)
def test_a_machine_is_known_once_its_beeps_are_no_longer_the_pulses_of_t3(
    beeps: list[tuple[float, float]], known_s: float
) -> None:
    assert machine_knowable_s(beeps) == pytest.approx(known_s)


def test_the_appliance_head_waits_for_t3_and_is_not_asked_about_an_even_beat() -> None:
    assert alarm_unlike_machine(cadences.t3().intervals(12.0)) == ()
    (unasked,) = alarm_unlike_machine(cadences.even(0.5, 0.5).intervals(20.0))
    assert (unasked.event, unasked.from_s) == ("appliance_beep", 0.0)
    assert unasked.to_s > 8.0


def test_a_single_burst_is_not_asked_of_the_smoke_head_before_the_next_should_have_come() -> None:
    burst = cadences.t3().intervals(3.0)
    (unasked,) = alarm_not_asked(burst)
    assert unasked.event == "smoke_alarm"
    assert burst[-1][1] + 1.65 < unasked.to_s < burst[-1][1] + 2.5


def test_every_event_of_the_catalogue_has_its_timing() -> None:
    assert set(labels.TIMING) == set(catalogue.load().names)
