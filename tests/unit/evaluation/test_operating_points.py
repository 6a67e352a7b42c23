"""Figures: areas, intervals, triggers and operating points."""

from __future__ import annotations

import numpy as np
import pytest

from edge import catalogue, native
from edge.dataset.synthesis import cadences, tones
from edge.evaluation import metrics, operating_points
from edge.evaluation.operating_points import TRIGGER_RULES, ScoredStretch


def test_area_is_one_when_every_positive_scores_higher() -> None:
    assert metrics.area_under_curve(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1], bool)) == 1.0


def test_ties_count_half() -> None:
    assert metrics.area_under_curve(np.array([5, 5, 5, 5]), np.array([0, 1, 0, 1], bool)) == 0.5


def test_area_needs_both_classes() -> None:
    assert np.isnan(metrics.area_under_curve(np.array([0.3, 0.4]), np.array([True, True])))


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"), [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129)]
)
def test_rate_intervals_are_clopper_pearson(hits: int, trials: int, low: float, high: float) -> None:
    assert metrics.rate_interval(hits, trials) == pytest.approx((low, high), abs=1e-4)


def test_no_event_bounds_the_rate_by_three_point_seven() -> None:
    assert metrics.count_interval(0) == pytest.approx((0.0, 3.6889), abs=1e-3)


def test_pulses_add_up_to_a_trigger_and_a_long_gap_ends_the_sound() -> None:
    rule = operating_points.TriggerRule(smoothing_shift=0, least_steps=10, gap_steps=20, quiet_steps=50)
    pulses = np.zeros(200)
    pulses[10:16] = pulses[30:36] = 200
    assert operating_points.trigger_steps(pulses, 100, rule) == [33]
    far_apart = np.zeros(200)
    far_apart[10:16] = far_apart[60:66] = 200
    assert operating_points.trigger_steps(far_apart, 100, rule) == []


def test_a_sound_that_goes_on_triggers_once() -> None:
    rule = operating_points.TriggerRule(smoothing_shift=0, least_steps=5, gap_steps=20, quiet_steps=50)
    assert len(operating_points.trigger_steps(np.full(1000, 200.0), 100, rule)) == 1


def test_hysteresis_holds_above_the_release() -> None:
    rule = operating_points.TriggerRule(smoothing_shift=0, least_steps=10, gap_steps=5, quiet_steps=50)
    dipping = np.array([120.0] * 3 + [70.0] * 20)
    assert operating_points.trigger_steps(dipping, 100, rule)
    assert not operating_points.trigger_steps(np.array([120.0] * 3 + [50.0] * 20), 100, rule)


def test_time_in_which_brief_beeps_are_measured_does_not_count() -> None:
    rule = operating_points.TriggerRule(0, least_steps=100, gap_steps=350, quiet_steps=50, persistent_steps=400)
    smooth, is_brief = np.full(1000, 200.0), np.zeros(1000, bool)
    assert operating_points.trigger_steps(smooth, 100, rule, is_brief) == [99]
    is_brief[50:150] = True
    assert operating_points.trigger_steps(smooth, 100, rule, is_brief) == [199]
    is_brief[50:] = True
    assert operating_points.trigger_steps(smooth, 100, rule, is_brief) == [400]
    assert operating_points.reach(smooth[:380], rule, is_brief[:380]) == 0


@pytest.mark.parametrize(("on_s", "off_s", "is_brief"), [(0.15, 0.85, True), (0.5, 0.5, False)])
def test_brief_beeps_are_measured_in_frames_and_in_features(on_s: float, off_s: float, is_brief: bool) -> None:
    pulses = cadences.even(on_s, off_s).intervals(12.0, start_s=0.5)
    gate = tones.gate(pulses, 12 * native.SAMPLE_RATE_HZ, 2.0, 5.0)
    tone = 0.3 * gate * np.sin(2 * np.pi * 3000 * np.arange(len(gate)) / native.SAMPLE_RATE_HZ)
    noise = np.random.default_rng(4).normal(0, 0.002, len(gate))
    pcm = np.rint((tone + noise) * 32767).astype(np.int16)
    of_frames = native.brief_beeps(native.log_mel_q8(pcm))
    of_features = native.brief_beeps(native.log_mel_of_features(native.features(pcm)))
    assert len(of_frames) == 600
    assert of_frames[350:].mean() > 0.9 if is_brief else not of_frames.any()
    assert (of_frames == of_features).mean() > 0.95


def test_reach_is_the_highest_threshold_that_triggers() -> None:
    rule = TRIGGER_RULES["smoke_alarm"]
    scores = np.zeros(400, np.uint8)
    scores[100:300] = 180
    smooth = operating_points.smoothed(scores, rule.smoothing_shift)
    reached = operating_points.reach(smooth, rule)
    assert operating_points.trigger_steps(smooth, reached, rule)
    assert not operating_points.trigger_steps(smooth, reached + 1, rule)


def test_smoothing_starts_from_silence_and_reaches_the_level() -> None:
    smooth = operating_points.smoothed(np.full(100, 200, np.uint8), 2)
    assert smooth[0] == pytest.approx(50)
    assert smooth[-1] == pytest.approx(200, abs=0.1)


def test_a_trigger_in_an_ignored_stretch_is_not_false() -> None:
    rule = TRIGGER_RULES["door"]
    scores = np.zeros(500, np.uint8)
    scores[100:120] = 250
    is_counted = np.ones(500, bool)
    assert operating_points.false_triggers([ScoredStretch(scores, False, is_counted)], 128, rule) == 1
    is_counted[90:130] = False
    assert operating_points.false_triggers([ScoredStretch(scores, False, is_counted)], 128, rule) == 0


def test_operating_points_are_ordered_and_keep_safety_recall() -> None:
    rng = np.random.default_rng(1)
    positives = [ScoredStretch(np.full(1000, int(level), np.uint8), True) for level in rng.integers(150, 255, 40)]
    negatives = [ScoredStretch(np.full(180_000, int(level), np.uint8), False) for level in rng.integers(5, 90, 10)]
    points = operating_points.choose("smoke_alarm", [*positives, *negatives])
    assert points["high"] <= points["normal"] <= points["low"]
    hits, count = operating_points.recall(positives, points["normal"], TRIGGER_RULES["smoke_alarm"])
    assert hits >= 0.95 * count


def _hour_with(peaks: int, level: int) -> ScoredStretch:
    """An hour of a scene without the event, in which a head scores `level` so many times."""
    scores = np.zeros(180_000, np.uint8)
    for index in range(peaks):
        scores[1000 + 2000 * index : 1100 + 2000 * index] = level
    return ScoredStretch(scores, False, np.ones(len(scores), bool))


def test_a_threshold_allows_what_surely_stays_within_six_an_hour() -> None:
    heard = [ScoredStretch(np.full(1000, 250, np.uint8), True) for _ in range(10)]
    # four in one hour may be nine, four in each of six hours are at most six
    for hours, is_allowed in ((1, False), (6, True)):
        points = operating_points.choose("dog_bark", [*heard, *[_hour_with(4, 200) for _ in range(hours)]])
        assert (points["normal"] < 200) == is_allowed


def test_recordings_too_short_to_show_it_may_trigger_once() -> None:
    heard = [ScoredStretch(np.full(1000, 250, np.uint8), True) for _ in range(10)]
    quiet = _hour_with(0, 0)
    for false, is_allowed in ((1, True), (2, False)):
        clips = [ScoredStretch(np.full(500, 200 if index < false else 0, np.uint8), False) for index in range(40)]
        points = operating_points.choose("dog_bark", [*heard, quiet, *clips])
        assert (points["normal"] < 200) == is_allowed


def test_an_alarms_threshold_does_not_fall_for_recordings_that_none_reaches() -> None:
    heard = [ScoredStretch(np.full(1000, 220, np.uint8), True) for _ in range(9)]
    unheard = [ScoredStretch(np.full(1000, 3, np.uint8), True) for _ in range(4)]
    beeping = [_hour_with(0, 0) for _ in range(2)]
    for stretch in beeping:  # bearable at any threshold, but no longer within 0.45 an hour below 150
        stretch.scores[5000:7000] = 150
    points = operating_points.choose("smoke_alarm", [*heard, *unheard, *beeping])
    assert 150 < points["normal"] <= 220


def test_every_event_has_a_trigger_rule() -> None:
    assert set(TRIGGER_RULES) == set(catalogue.load().names)
