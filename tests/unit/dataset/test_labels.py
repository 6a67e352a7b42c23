"""Labels: an alarm is one sound across the pauses of its cadence, and nobody is asked what cannot be known."""

from __future__ import annotations

import numpy as np

from edge import catalogue
from edge.dataset import labels
from edge.dataset.labels import IGNORED, SOUNDING, STEPS_PER_SECOND, TARGET
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


def test_every_event_of_the_catalogue_has_its_timing() -> None:
    assert set(labels.TIMING) == set(catalogue.load().names)
