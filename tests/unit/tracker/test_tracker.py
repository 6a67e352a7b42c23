"""The tracker's rules: hysteresis, durations, refractory time, choices of the user, and what cadence may do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edge import catalogue
from edge.dataset.synthesis import alarms, cadences, noise, tones
from edge.evaluation.operating_points import LONE_ALARM_STEPS, TRIGGER_RULES, TriggerRule
from tests.unit.tracker.library import (
    CO_ALARM,
    ERROR_ARGUMENT,
    HIGH,
    LOW,
    NORMAL,
    SMOKE_ALARM,
    SOUND,
    STEP_S,
    STEP_SAMPLES,
    T3,
    T4,
    AlarmParams,
    Core,
    EventParams,
    Params,
    Tracker,
    frames_of,
)

SMOKE, CO, BEEP = 0, 1, 2


def plain(role: int = SOUND, **changes: object) -> EventParams:
    """An event that is easy to reckon with: no smoothing, 100 ms, gaps of 200 ms, 1 s of refractory time."""
    event = EventParams((200, 150, 100), 60, NORMAL, 0, role, True, False, 100, 200, 1000, 0)
    for name, value in changes.items():
        setattr(event, name, value)
    return event


def params(*events: EventParams, doubt_wait_ms: int = 3500) -> Params:
    made = Params()
    for index, event in enumerate(events):
        made.events[index] = event
    made.event_count = len(events)
    made.doubt_margin, made.doubt_wait_ms, made.cadence_interval_ms = 64, doubt_wait_ms, 200
    made.hint_confidence, made.naming_wait_ms = 215, 1000
    made.alarm = AlarmParams(60, (255, 255, 255), 0, 30000, 0, 2, 100, 3, 240)
    return made


def alarm_params() -> Params:
    """Smoke, CO and beeps as the product has them, but with no smoothing."""
    times = {"min_duration_ms": 500, "max_gap_ms": 7000, "refractory_ms": 10000}
    return params(plain(SMOKE_ALARM, **times), plain(CO_ALARM, **times), plain(max_gap_ms=2500))


def course(*parts: tuple[int, float]) -> npt.NDArray[np.uint8]:
    """Scores uint8[steps, 1]: (score, seconds) one after the other."""
    return np.concatenate([np.full((round(s / 0.02), 1), score, np.uint8) for score, s in parts])


def sounding(pattern: cadences.Cadence, duration_s: float) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """Frames of an alarm that starts after 1 s, over noise, and for each step whether its tone is on."""
    rng = np.random.default_rng(11)
    alarm = alarms.sound(pattern, tones.piezo(3100.0), duration_s, rng, 1.0)
    mixed = noise.at_snr(alarm.pcm, noise.colored(rng, len(alarm.pcm)), 15.0, 0.3)
    at = (np.arange(round(duration_s / 0.02)) + 0.5) * 0.02
    is_on = np.zeros(len(at), bool)
    for start, end in alarm.on_s:
        is_on |= (at >= start) & (at < end)
    return frames_of(mixed), is_on


def test_defaults_follow_the_catalogue_and_are_accepted(core: Core) -> None:
    defaults = core.default_params()
    events = catalogue.load().events
    assert defaults.event_count == len(events)
    roles = {"t3": SMOKE_ALARM, "t4": CO_ALARM, "none": SOUND}
    for spec, event in zip(events, defaults.events[: len(events)], strict=True):
        assert event.role == roles[spec.cadence], spec.name
        assert event.is_armed_only == spec.is_armed_only, spec.name
        assert event.is_enabled == spec.is_enabled_by_default, spec.name
        assert ("low", "normal", "high")[event.sensitivity] == spec.default_sensitivity, spec.name
    assert Tracker(core, defaults).status == 0


def test_the_state_is_small(core: Core) -> None:
    assert core.tracker_bytes < 4096


def test_a_sound_triggers_once_it_has_lasted_long_enough(core: Core) -> None:
    found = Tracker(core, params(plain())).run(course((0, 1.0), (180, 1.0)))
    assert [round(t, 2) for t, _ in found] == [1.10]
    event = found[0][1]
    assert event.start_sample == 50 * STEP_SAMPLES
    assert event.trigger_sample == 55 * STEP_SAMPLES
    assert (event.score, event.scores[0]) == (180, 180)


def test_a_shorter_sound_does_not_trigger(core: Core) -> None:
    assert Tracker(core, params(plain())).run(course((0, 1.0), (255, 0.08), (0, 3.0))) == []


def test_duration_adds_up_over_gaps_that_are_short_enough(core: Core) -> None:
    pulse = ((255, 0.06), (0, 0.2))
    assert len(Tracker(core, params(plain())).run(course(*pulse, *pulse))) == 1
    apart = ((255, 0.06), (0, 0.24))
    assert Tracker(core, params(plain())).run(course(*apart, *apart, *apart)) == []


def test_hysteresis_holds_a_sound_between_release_and_threshold(core: Core) -> None:
    wavering = course((160, 0.06), *((95, 0.5), (160, 0.06)) * 4)  # 95 lies above 60 % of 150
    assert len(Tracker(core, params(plain())).run(wavering)) == 1
    never_reached = course((140, 5.0))
    assert Tracker(core, params(plain())).run(never_reached) == []


def test_smoothing_ignores_a_spike_and_reaches_a_lasting_score(core: Core) -> None:
    tracker = Tracker(core, params(plain(smoothing_shift=3, min_duration_ms=20)))
    assert tracker.run(course((0, 1.0), (255, 0.04), (0, 1.0))) == []
    found = tracker.run(course((255, 3.0)))
    assert len(found) == 1
    assert tracker.run(course((255, 3.0))) == []
    steady = Tracker(core, params(plain(smoothing_shift=3, thresholds=(255, 255, 255))))
    assert len(steady.run(course((255, 3.0)))) == 1


def test_refractory_time_runs_from_the_end_of_the_sound(core: Core) -> None:
    tracker = Tracker(core, params(plain()))
    assert len(tracker.run(course((255, 0.5)))) == 1
    assert tracker.run(course((0, 0.5), (255, 0.3), (0, 0.3))) == []
    assert len(tracker.run(course((0, 1.2), (255, 0.5)))) == 1


def test_a_sound_that_goes_on_is_reported_once_or_every_so_often(core: Core) -> None:
    assert len(Tracker(core, params(plain())).run(course((255, 30.0)))) == 1
    found = Tracker(core, params(plain(repeat_ms=10000))).run(course((255, 25.0)))
    assert [round(t, 1) for t, _ in found] == [0.1, 10.1, 20.1]
    assert [e.is_repeat for _, e in found] == [False, True, True]


def test_sensitivity_chooses_the_threshold_and_may_change_at_any_time(core: Core) -> None:
    for sensitivity, least in ((LOW, 200), (NORMAL, 150), (HIGH, 100)):
        for score, count in ((least - 1, 0), (least, 1)):
            tracker = Tracker(core, params(plain()))
            assert tracker.set_event(0, True, sensitivity) == 0
            found = tracker.run(course((score, 1.0)))
            assert len(found) == count
            assert all(e.sensitivity == sensitivity for _, e in found)
    tracker = Tracker(core, params(plain()))
    assert tracker.run(course((120, 1.0))) == []
    tracker.set_event(0, True, HIGH)
    assert len(tracker.run(course((120, 1.0)))) == 1


def test_a_new_heads_thresholds_take_effect(core: Core) -> None:
    tracker = Tracker(core, params(plain()))
    assert tracker.set_thresholds(0, (90, 60, 30)) == 0
    assert len(tracker.run(course((60, 1.0)))) == 1


def test_an_event_for_armed_hours_is_quiet_while_disarmed(core: Core) -> None:
    tracker = Tracker(core, params(plain(is_armed_only=True)))
    assert tracker.run(course((255, 5.0))) == []
    tracker.set_armed(True)
    found = tracker.run(course((255, 1.0)))
    assert len(found) == 1
    assert found[0][1].is_armed
    assert found[0][1].start_sample >= 250 * STEP_SAMPLES  # what came before arming does not count


def test_a_disabled_event_is_quiet_and_the_others_go_on(core: Core) -> None:
    tracker = Tracker(core, params(plain(), plain()))
    tracker.set_event(0, False)
    both = np.repeat(course((255, 2.0)), 2, axis=1)
    assert [e.event for _, e in tracker.run(both)] == [1]
    tracker.set_event(0, True)
    assert [e.event for _, e in tracker.run(both)] == [0]


@pytest.mark.parametrize("armed", [False, True])
def test_alarms_do_not_care_whether_anyone_is_at_home(core: Core, armed: bool) -> None:
    tracker = Tracker(core, core.default_params())
    tracker.set_armed(armed)
    scores = np.zeros((600, 8), np.uint8)
    scores[:, SMOKE] = 250
    assert [e.event for _, e in tracker.run(scores)] == [SMOKE]


def test_bad_parameters_are_refused(core: Core) -> None:
    bad = [params(plain(thresholds=(0, 0, 0))), params(plain(thresholds=(100, 150, 200)))]
    bad += [params(plain(release_percent=0)), params(plain(release_percent=101)), params(plain(sensitivity=3))]
    bad += [params(plain(role=3)), params(plain(smoothing_shift=8)), params()]
    for case in bad:
        assert Tracker(core, case).status == ERROR_ARGUMENT
    tracker = Tracker(core, params(plain()))
    assert tracker.set_event(1, True) == ERROR_ARGUMENT
    assert tracker.set_event(0, True, 3) == ERROR_ARGUMENT
    assert tracker.set_thresholds(1, (3, 2, 1)) == ERROR_ARGUMENT
    assert tracker.set_thresholds(0, (1, 2, 3)) == ERROR_ARGUMENT


# ---- alarms and cadence ----


def test_an_alarm_needs_no_cadence_and_waits_only_a_second_for_it_without_doubt(core: Core) -> None:
    scores = np.zeros((200, 3), np.uint8)
    scores[50:, SMOKE] = 250
    found = Tracker(core, alarm_params()).run(scores)
    assert [(e.event, round(t, 2)) for t, e in found] == [(SMOKE, 2.5)]


def test_a_doubtful_alarm_triggers_after_the_longest_wait_even_if_no_cadence_is_heard(core: Core) -> None:
    scores = np.zeros((400, 3), np.uint8)
    scores[50:, SMOKE], scores[50:, CO] = 200, 220
    found = Tracker(core, alarm_params()).run(scores)
    assert [e.event for _, e in found] == [CO]
    assert found[0][0] == pytest.approx(1.0 + 0.5 + 3.5, abs=0.1)


@pytest.mark.parametrize(
    ("pattern", "kind", "right"), [(cadences.t3(), T3, SMOKE), (cadences.t4(), T4, CO)], ids=["t3", "t4"]
)
def test_in_doubt_the_cadence_names_the_alarm_against_the_higher_score(
    core: Core, pattern: cadences.Cadence, kind: int, right: int
) -> None:
    frames, is_on = sounding(pattern, 16.0)
    scores = np.zeros((len(is_on), 3), np.uint8)
    scores[is_on, right], scores[is_on, 1 - right] = 190, 230
    found = Tracker(core, alarm_params()).run(scores, frames)
    assert [e.event for _, e in found] == [right]
    assert found[0][1].cadence.kind == kind
    assert not found[0][1].is_renamed


def test_a_clear_burst_of_t4_names_a_co_alarm_that_only_the_smoke_head_hears(core: Core) -> None:
    frames, is_on = sounding(cadences.t4(), 16.0)
    scores = np.zeros((len(is_on), 3), np.uint8)
    scores[50:125, SMOKE] = 240
    made = alarm_params()
    made.events[SMOKE].min_duration_ms = 1000
    found = Tracker(core, made).run(scores, frames)
    assert [e.event for _, e in found] == [CO]
    assert found[0][1].cadence.kind == T4
    assert found[0][0] < 1.0 + 2.0


@pytest.mark.parametrize(
    ("periods", "score", "from_s", "to_s"),
    [(1, 190, 1.0, 3.0), (2, 190, 6.0, 9.0), (2, 196, 1.0, 3.0)],
    ids=["one is asked", "two are asked", "one beside a sure score"],
)
def test_as_many_bursts_of_t4_as_are_asked_bear_a_score_out(
    core: Core, periods: int, score: int, from_s: float, to_s: float
) -> None:
    frames, is_on = sounding(cadences.t4(), 16.0)
    scores = np.zeros((len(is_on), 3), np.uint8)
    scores[is_on, CO] = score
    made = alarm_params()
    made.alarm.lone_duration_ms, made.alarm.t4_periods, made.alarm.t4_sure_score = 10000, periods, 196
    made.events[CO].min_duration_ms = 300  # one burst sounds for 0.4 s
    found = Tracker(core, made).run(scores, frames)
    assert [e.event for _, e in found] == [CO]
    assert from_s < found[0][0] < to_s


@pytest.mark.parametrize(("pattern", "right"), [(cadences.t3(), SMOKE), (cadences.t4(), CO)], ids=["t3", "t4"])
def test_two_periods_correct_a_name_that_was_given_too_early(core: Core, pattern: cadences.Cadence, right: int) -> None:
    frames, is_on = sounding(pattern, 20.0)
    scores = np.zeros((len(is_on), 3), np.uint8)
    scores[50:, 1 - right] = 240  # the wrong head alone, as sure as can be
    made = alarm_params()
    made.naming_wait_ms = 0
    found = Tracker(core, made).run(scores, frames)
    assert [e.event for _, e in found] == [1 - right, right]
    assert found[0][0] < 2.0
    assert found[1][1].is_renamed
    assert found[1][1].cadence.periods >= 2
    assert found[1][0] <= 1.0 + 2 * pattern.period_s


def test_a_finding_raises_the_score_that_is_reported(core: Core) -> None:
    frames, is_on = sounding(cadences.t3(), 14.0)
    scores = np.zeros((len(is_on), 3), np.uint8)
    scores[415:, SMOKE] = 160  # the head wakes up late
    found = Tracker(core, alarm_params()).run(scores, frames)
    assert [e.event for _, e in found] == [SMOKE]
    assert found[0][1].cadence.periods >= 2
    assert found[0][1].score > 240
    assert found[0][1].scores[SMOKE] == 160


@pytest.mark.parametrize(
    "pattern",
    [cadences.t3(), cadences.t4(), cadences.even(0.5, 0.5), cadences.unbroken(), cadences.even(0.27, 0.06)],
    ids=["t3", "t4", "washing machine", "unbroken", "old"],
)
@pytest.mark.parametrize("which", [SMOKE, CO])
def test_no_cadence_silences_an_alarm(core: Core, pattern: cadences.Cadence, which: int) -> None:
    frames, is_on = sounding(pattern, 16.0)
    scores = np.zeros((len(is_on), 3), np.uint8)
    scores[is_on, which] = 240
    found = Tracker(core, alarm_params()).run(scores, frames)
    assert found
    assert found[0][0] <= 1.0 + 8.0
    assert {e.event for _, e in found} <= {SMOKE, CO}


def test_an_alarm_whose_right_name_is_switched_off_keeps_the_other(core: Core) -> None:
    frames, is_on = sounding(cadences.t4(), 16.0)
    scores = np.zeros((len(is_on), 3), np.uint8)
    scores[is_on, SMOKE] = 240
    tracker = Tracker(core, alarm_params())
    tracker.set_event(CO, False)
    assert [e.event for _, e in tracker.run(scores, frames)] == [SMOKE]


def test_an_alarm_of_three_minutes_is_one_event_with_its_periods_counted(core: Core) -> None:
    frames, is_on = sounding(cadences.t3(), 60.0)
    scores = np.zeros((len(is_on), 3), np.uint8)
    scores[is_on, SMOKE] = 240
    made = alarm_params()
    made.events[SMOKE].repeat_ms = 40000
    found = Tracker(core, made).run(scores, frames)
    assert [e.is_repeat for _, e in found] == [False, True]
    assert found[1][1].cadence.kind == T3
    assert 8 <= found[1][1].cadence.periods <= 12


def test_the_same_input_gives_the_same_events_whatever_the_scores(core: Core) -> None:
    rng = np.random.default_rng(12)
    frames = rng.integers(0, 12800, (2000, 40), dtype=np.int16)
    scores = rng.integers(0, 256, (1000, 8), dtype=np.uint8)
    runs = [Tracker(core, core.default_params()).run(scores, frames) for _ in range(2)]
    assert [(t, bytes(e)) for t, e in runs[0]] == [(t, bytes(e)) for t, e in runs[1]]


def test_thresholds_are_chosen_by_the_trackers_own_durations(core: Core) -> None:
    step_ms = 20
    events = core.default_params().events
    own = {
        spec.name: TriggerRule(
            events[index].smoothing_shift,
            events[index].min_duration_ms // step_ms,
            events[index].max_gap_ms // step_ms,
            events[index].refractory_ms // step_ms,
        )
        for index, spec in enumerate(catalogue.load())
    }
    assert own == TRIGGER_RULES
    assert step_ms * LONE_ALARM_STEPS == core.default_params().alarm.lone_duration_ms


# ---- what bears an alarm out ----


def beeping(beeps: int, on_s: float, off_s: float, score: int = 250) -> npt.NDArray[np.uint8]:
    """Scores uint8[steps, 8] of the smoke head over so many beeps and 10 s of silence after them."""
    one = course(*((score, on_s), (0, off_s)) * beeps, (0, 10.0))
    scores = np.zeros((len(one), 8), np.uint8)
    scores[:, SMOKE] = one[:, 0]
    return scores


@pytest.mark.parametrize(("on_s", "off_s"), [(0.2, 0.2), (0.3, 0.3), (0.4, 1.0)])
def test_five_beeps_are_no_alarm_however_sure_the_head_is(core: Core, on_s: float, off_s: float) -> None:
    assert Tracker(core, core.default_params()).run(beeping(5, on_s, off_s)) == []


@pytest.mark.parametrize(("on_s", "off_s"), [(0.3, 0.3), (0.5, 0.5), (0.2, 3.0), (0.2, 1.5)])
def test_thirty_seconds_of_any_cadence_are_an_alarm(core: Core, on_s: float, off_s: float) -> None:
    beeps = round(40.0 / (on_s + off_s))
    found = Tracker(core, core.default_params()).run(beeping(beeps, on_s, off_s, 255))
    assert [e.event for _, e in found][:1] == [SMOKE]
    assert found[0][0] <= 30.0 + on_s + off_s + 5.0


@pytest.mark.parametrize(("seconds", "count"), [(9.0, 0), (12.0, 1)])
def test_a_steady_tone_is_an_alarm_once_it_has_lasted_ten_seconds(core: Core, seconds: float, count: int) -> None:
    frames, is_on = sounding(cadences.unbroken(), seconds + 2.0)
    scores = np.zeros((len(is_on), 8), np.uint8)
    scores[50 : 50 + round(seconds / STEP_S), SMOKE] = 250
    found = Tracker(core, core.default_params()).run(scores, frames)
    assert [e.event for _, e in found] == [SMOKE] * count
    assert all(time_s <= 1.0 + 10.5 for time_s, _ in found)


@pytest.mark.parametrize(
    ("on_s", "off_s", "least_s", "most_s"),
    [(0.15, 0.85, 29.0, 32.0), (0.1, 0.5, 29.0, 32.0), (0.45, 0.5, 8.0, 11.0), (0.3, 0.45, 8.0, 11.0)],
)
def test_brief_beeps_are_an_alarm_only_after_thirty_seconds(
    core: Core, on_s: float, off_s: float, least_s: float, most_s: float
) -> None:
    frames, is_on = sounding(cadences.even(on_s, off_s), 36.0)
    scores = np.zeros((len(is_on), 8), np.uint8)
    scores[75:, SMOKE] = 250  # half a second into the beeps, as a head goes on over their gaps
    found = Tracker(core, core.default_params()).run(scores, frames)
    assert [e.event for _, e in found] == [SMOKE]
    assert least_s <= found[0][0] - 1.5 <= most_s


def test_a_peak_that_leaves_no_doubt_needs_no_more_evidence(core: Core) -> None:
    tracker = Tracker(core, core.default_params())
    assert tracker.set_alarm(AlarmParams(60, (250, 240, 230), 5000, 30000, 33, 2, 1, 3, 240)) == 0
    found = tracker.run(beeping(5, 0.5, 0.5))
    assert [e.event for _, e in found] == [SMOKE]


def test_a_finding_lets_an_alarm_through_below_its_threshold(core: Core) -> None:
    frames, is_on = sounding(cadences.t3(), 20.0)
    scores = np.zeros((len(is_on), 3), np.uint8)
    scores[is_on, SMOKE] = 100  # two thirds of the threshold of 150
    found = Tracker(core, alarm_params()).run(scores, frames)
    assert [(e.event, e.cadence.kind) for _, e in found] == [(SMOKE, T3)]
    assert found[0][1].cadence.periods >= 2
    steady = np.full((len(is_on), 3), (100, 0, 0), np.uint8)
    assert Tracker(core, alarm_params()).run(steady) == []


@pytest.mark.parametrize(
    ("pattern", "event"), [(cadences.t3(), SMOKE), (cadences.t4(), CO), (cadences.even(0.5, 0.5), None)]
)
def test_a_standard_beyond_doubt_is_an_alarm_though_no_head_knows_its_voice(
    core: Core, pattern: cadences.Cadence, event: int | None
) -> None:
    frames, is_on = sounding(pattern, 25.0)
    scores = np.full((len(is_on), 8), (4, 4, 0, 0, 0, 0, 0, 0), np.uint8)
    found = Tracker(core, core.default_params()).run(scores, frames)
    assert [e.event for _, e in found] == ([] if event is None else [event])
    assert all(e.cadence.periods >= 3 or e.cadence.confidence >= 240 for _, e in found)
    assert Tracker(core, core.default_params()).run(np.zeros_like(scores), frames) == []


def test_evidence_out_of_range_is_refused(core: Core) -> None:
    tracker = Tracker(core, core.default_params())
    for bad in ((0, (255, 255, 255)), (101, (255, 255, 255)), (60, (100, 150, 200)), (60, (0, 0, 0))):
        assert tracker.set_alarm(AlarmParams(*bad, 5000, 30000, 33, 2, 1, 3, 240)) == ERROR_ARGUMENT


def test_sensitivity_as_a_number_lies_between_the_names(core: Core) -> None:
    for level, least in ((0, 200), (25, 175), (50, 150), (75, 125), (100, 100)):
        for score, count in ((least - 1, 0), (least, 1)):
            tracker = Tracker(core, params(plain()))
            assert tracker.set_level(0, True, level) == 0
            assert len(tracker.run(course((score, 1.0)))) == count
    tracker = Tracker(core, params(plain()))
    assert tracker.set_level(0, True, 101) == ERROR_ARGUMENT
