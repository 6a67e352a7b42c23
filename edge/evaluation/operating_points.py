"""From scores to triggers as the tracker makes them, and the thresholds at which it should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import signal, stats

from edge import catalogue
from edge.core import tracker_params

STEP_S = 0.02
SENSITIVITIES = ("low", "normal", "high")
_RELEASE_SHARE = 0.6
# thresholds outside this are of no use: int8 scores are coarse at the bottom, and a head rarely reaches the very top
_LOWEST, _HIGHEST = 26, 245


@dataclass(frozen=True)
class TriggerRule:
    """The tracker's rule for one event, without cadence, as `edge/tracker.toml` has it.

    Attributes:
        smoothing_shift: scores are smoothed over about 2^shift steps.
        least_steps: above the threshold, summed over the pulses of one sound.
        gap_steps: a longer stretch below ends the sound.
        quiet_steps: after a trigger, at least.
        persistent_steps: what has gone on for so long, gaps included, triggers whatever it is; 0: never.
    """

    smoothing_shift: int
    least_steps: int
    gap_steps: int
    quiet_steps: int
    persistent_steps: int = 0


def _rule(sound: tracker_params.SoundParams) -> TriggerRule:
    step_ms = tracker_params.STEP_MS
    return TriggerRule(
        sound.smoothing_shift,
        sound.min_duration_ms // step_ms,
        sound.max_gap_ms // step_ms,
        sound.refractory_ms // step_ms,
    )


TRIGGER_RULES: dict[str, TriggerRule] = {name: _rule(sound) for name, sound in tracker_params.load().sounds.items()}
# an alarm of which no cadence is found must have been above its threshold for so long
LONE_ALARM_STEPS = tracker_params.load().alarm.lone_duration_ms // tracker_params.STEP_MS
# and has then triggered, at the latest, if it goes on for so long
_PERSISTENT_STEPS = tracker_params.load().alarm.persistent_ms // tracker_params.STEP_MS
# false triggers an hour that each sensitivity may have: with a confidence of 95 %, in recordings as they are and in
# scenes of the validation part. Where these are too short to show it, so many may trigger at all.
_FALSE_PER_HOUR = {"low": 1.8, "normal": 6.0, "high": 24.0}
_FALSE_IN_FEW_HOURS = {"low": 0, "normal": 1, "high": 4}
_CONFIDENCE = 0.95
# the same of alarms, on average and whichever have more. They keep their recall even if they then exceed it, up to a
# second limit. That one is high because a miss is worse, and because half of the scenes hold something that beeps like
# an alarm for half a minute, looped monitors and telephones above all, which without a cadence is one for all that a
# head can know.
_FALSE_PER_HOUR_OF_ALARMS = {"low": 0.2, "normal": 0.45, "high": 2.0}
_BEARABLE_PER_HOUR_OF_ALARMS = {
    "smoke_alarm": {"low": 6.0, "normal": 9.0, "high": 20.0},
    "co_alarm": {"low": 1.3, "normal": 2.6, "high": 20.0},
}
# a threshold that hardly anything reaches is no sensitivity: it stays within reach of this share of the positives
_LEAST_RECALL = {"low": 0.3, "normal": 0.4, "high": 0.6}
# of clips and scenes that hold an alarm, by score and duration alone: a CO alarm is nearly always borne out by its T4
# instead
_RECALL_OF_ALARMS = {
    "smoke_alarm": {"low": 0.85, "normal": 0.93, "high": 1.0},
    "co_alarm": {"low": 0.6, "normal": 0.6, "high": 0.95},
}
# a single T4 bears out a sure score and two of them any above the threshold: at a higher one a CO alarm would be missed
_HIGHEST_OF_CO = {"low": _HIGHEST, "normal": 200, "high": 200}


def rule_without_cadence(event: str) -> TriggerRule:
    """Return the tracker's rule for an event in which it finds no cadence."""
    rule = TRIGGER_RULES[event]
    if catalogue.load().by_name(event).cadence == "none":
        return rule
    return replace(rule, least_steps=LONE_ALARM_STEPS, persistent_steps=_PERSISTENT_STEPS)


def smoothed(scores: np.ndarray, shift: int) -> np.ndarray:
    """Return scores uint8[steps] smoothed as the tracker does, float32[steps]."""
    rate = 1.0 / (1 << shift)
    return signal.lfilter([rate], [1.0, rate - 1.0], scores.astype(np.float32)).astype(np.float32)


def trigger_steps(
    smooth: np.ndarray, threshold: int, rule: TriggerRule, is_brief: np.ndarray | None = None
) -> list[int]:
    """Return the steps at which smoothed scores float[steps] trigger at `threshold`, in order.

    Steps in which `is_brief` bool[steps] says that an appliance's beeps are measured do not count for an alarm.
    """
    if not len(smooth) or smooth.max() < threshold:
        return []
    is_high, is_low = smooth >= threshold, smooth < threshold * _RELEASE_SHARE
    index = np.arange(len(smooth))
    latest_high = np.maximum.accumulate(np.where(is_high, index, -1))
    latest_low = np.maximum.accumulate(np.where(is_low, index, -1))
    # with hysteresis: above from where it was reached until it is released
    above = np.flatnonzero(latest_high > latest_low)
    found: list[int] = []
    count, begun, last, quiet_until, is_reported = 0, 0, -(10**9), -1, False
    counts = np.ones(len(smooth), bool) if is_brief is None else ~is_brief
    for step in above:
        if step - last > rule.gap_steps:
            count, begun, is_reported = 0, step, False
        last = step
        count += bool(counts[step])
        is_long = count >= rule.least_steps or 0 < rule.persistent_steps <= step - begun
        if is_long and not is_reported and step >= quiet_until:
            found.append(int(step))
            is_reported = True
            quiet_until = step + rule.quiet_steps
    return found


def reach(smooth: np.ndarray, rule: TriggerRule, is_brief: np.ndarray | None = None) -> int:
    """Return the highest threshold (0–255) at which smoothed scores float[steps] trigger at all."""
    low, high = 0, 255
    while low < high:
        middle = (low + high + 1) // 2
        if trigger_steps(smooth, middle, rule, is_brief):
            low = middle
        else:
            high = middle - 1
    return low


@dataclass(frozen=True)
class ScoredStretch:
    """One event's scores over a clip or a scene.

    Attributes:
        scores: uint8[steps].
        is_positive: whether the event is in it at all.
        is_counted: bool[steps], where a trigger is false; None: everywhere.
        is_ranked: whether it stands in the area under the curve.
        is_brief: bool[steps], where an appliance's beeps are measured; None: nobody looked.
    """

    scores: np.ndarray
    is_positive: bool
    is_counted: np.ndarray | None = None
    is_ranked: bool = True
    is_brief: np.ndarray | None = None

    def triggers(self, threshold: int, rule: TriggerRule) -> list[int]:
        """Return the steps at which it triggers."""
        return trigger_steps(smoothed(self.scores, rule.smoothing_shift), threshold, rule, self.is_brief)

    @property
    def negative_hours(self) -> float:
        """Hours over which a trigger would be false."""
        if self.is_positive and self.is_counted is None:
            return 0.0
        steps = len(self.scores) if self.is_counted is None else int(self.is_counted.sum())
        return steps * STEP_S / 3600


def false_triggers(stretches: Sequence[ScoredStretch], threshold: int, rule: TriggerRule) -> int:
    """Count triggers where the event is not."""
    count = 0
    for stretch in stretches:
        if stretch.is_positive and stretch.is_counted is None:
            continue
        for step in stretch.triggers(threshold, rule):
            count += stretch.is_counted is None or bool(stretch.is_counted[step])
    return count


@dataclass(frozen=True)
class _Falsely:
    """False triggers at one threshold: (count, hours) in clips and in scenes."""

    of_kinds: tuple[tuple[int, float], ...]

    @property
    def per_hour(self) -> float:
        """In clips or in scenes, whichever have more."""
        return max((count / hours for count, hours in self.of_kinds if hours > 0), default=0.0)

    def is_surely_within(self, sensitivity: str) -> bool:
        """Say whether they are as few as the sensitivity allows, in clips and in scenes, beyond reasonable doubt."""
        for count, hours in self.of_kinds:
            # the one-sided bound of a Poisson rate
            bound = float(stats.chi2.ppf(_CONFIDENCE, 2 * count + 2)) / 2
            if bound > _FALSE_PER_HOUR[sensitivity] * hours and count > _FALSE_IN_FEW_HOURS[sensitivity]:
                return False
        return True


def _falsely(stretches: Sequence[ScoredStretch], threshold: int, rule: TriggerRule) -> _Falsely:
    kinds = [[one for one in stretches if (one.is_counted is not None) == is_scene] for is_scene in (False, True)]
    return _Falsely(
        tuple((false_triggers(kind, threshold, rule), sum(one.negative_hours for one in kind)) for kind in kinds)
    )


def choose(event: str, stretches: Sequence[ScoredStretch]) -> dict[str, int]:
    """Return the thresholds {low, normal, high} (low sensitivity is the high threshold) for one event.

    Each is the lowest threshold whose false triggers an hour surely stay within what the sensitivity allows, in clips
    and in scenes (an alarm's: on average). For an alarm it is lowered further, to the share that the sensitivity must
    keep of the clips and scenes that hold the event and that a usable threshold reaches at all, as long as the false
    triggers stay bearable: lower than that it would gain nothing but false triggers. No threshold is out of reach of
    `_LEAST_RECALL` of the clips and scenes that hold the event.

    Args:
        event: name of the event.
        stretches: of the validation part.
    """
    rule = rule_without_cadence(event)
    is_alarm = catalogue.load().by_name(event).cadence != "none"
    reach_of = {
        index: reach(smoothed(stretch.scores, rule.smoothing_shift), rule, stretch.is_brief)
        for index, stretch in enumerate(stretches)
        if stretch.is_positive
    }
    reached_by_all = list(reach_of.values())
    reached = [value for value in reached_by_all if value >= _LOWEST]
    false_at = {at: _falsely(stretches, at, rule) for at in range(_LOWEST, _HIGHEST + 1, 3)}
    points: dict[str, int] = {}
    for sensitivity in SENSITIVITIES:
        if is_alarm:
            within = [at for at, false in false_at.items() if false.per_hour <= _FALSE_PER_HOUR_OF_ALARMS[sensitivity]]
        else:
            within = [at for at, false in false_at.items() if false.is_surely_within(sensitivity)]
        point = min(within, default=_HIGHEST)
        if is_alarm and reached:
            kept = int(np.quantile(reached, 1 - _RECALL_OF_ALARMS[event][sensitivity], method="lower"))
            limit = _BEARABLE_PER_HOUR_OF_ALARMS[event][sensitivity]
            bearable = [at for at, false in false_at.items() if false.per_hour <= limit]
            point = min(point, max(kept, min(bearable, default=_HIGHEST)))
        if reached_by_all:
            within_reach = int(np.quantile(reached_by_all, 1 - _LEAST_RECALL[sensitivity], method="lower"))
            point = min(point, max(within_reach, _LOWEST))
        points[sensitivity] = min(point, _HIGHEST_OF_CO[sensitivity]) if event == "co_alarm" else point
    points["normal"] = min(points["normal"], points["low"])
    points["high"] = min(points["high"], points["normal"])
    return points


def recall(stretches: Sequence[ScoredStretch], threshold: int, rule: TriggerRule) -> tuple[int, int]:
    """Return (clips that trigger, clips) over the positive clips."""
    positives = [stretch for stretch in stretches if stretch.is_positive and stretch.is_counted is None]
    return sum(bool(stretch.triggers(threshold, rule)) for stretch in positives), len(positives)


def as_points(points: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Return plain dictionaries, sensitivities in order, for a manifest."""
    return {event: {name: int(values[name]) for name in SENSITIVITIES} for event, values in points.items()}
