"""Figures of a detector or a verifier over clips and scenes, whatever engine gave the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edge import catalogue, native
from edge.dataset.labels import IGNORED, TARGET
from edge.dataset.shards import Shards
from edge.evaluation import operating_points
from edge.evaluation.clips import ALARMS, LEAD_IN_S, LEAD_OUT_S, EvaluationClip
from edge.evaluation.metrics import area_under_curve, count_interval, rate_interval
from edge.evaluation.operating_points import SENSITIVITIES, STEP_S, TRIGGER_RULES, ScoredStretch

# an engine from rest: int8[steps, 80] to scores float32 or uint8 [steps, events] of 0–255
Scorer = Callable[[np.ndarray], np.ndarray]

_LEAD_IN_STEPS = round(LEAD_IN_S / STEP_S)
_LEAD_OUT_STEPS = round(LEAD_OUT_S / STEP_S)
# a trigger belongs to an event of a scene if it comes before this long after the event's end
_LATEST_TRIGGER_S = 2.5


def clip_stretches(clips: Sequence[EvaluationClip], scores: Sequence[np.ndarray], event: str) -> list[ScoredStretch]:
    """Return one event's scores over all clips that say something about it, without lead-in and lead-out."""
    index = catalogue.load().index(event)
    stretches = []
    for clip, score in zip(clips, scores, strict=True):
        if event in clip.excluded:
            continue
        is_positive = clip.event == event
        clipped = slice(_LEAD_IN_STEPS, len(score) - _LEAD_OUT_STEPS)
        is_brief = native.brief_beeps(native.log_mel_q8(clip.pcm))[clipped] if event in ALARMS else None
        is_ranked = event not in clip.unranked
        stretches.append(ScoredStretch(score[clipped, index], is_positive, None, is_ranked, is_brief))
    return stretches


def scene_stretches(shards: Shards, scores: Sequence[np.ndarray], event: str) -> list[ScoredStretch]:
    """Return one event's scores over scenes; a trigger is false where the label is neither set nor ignored.

    A trigger of one alarm's head while the other alarm sounds is not false either: the cadence names it.
    """
    index = catalogue.load().index(event)
    alarm_indices = [catalogue.load().index(name) for name in ALARMS] if event in ALARMS else [index]
    stretches = []
    for score, label, features in zip(scores, shards.labels, shards.features, strict=True):
        is_clear = ((label[:, alarm_indices] & (TARGET | IGNORED)) == 0).all(axis=1)
        is_brief = native.brief_beeps(native.log_mel_of_features(features)) if event in ALARMS else None
        has_event = bool((label[:, index] & TARGET).any())
        stretches.append(ScoredStretch(score[:, index], has_event, is_clear, is_brief=is_brief))
    return stretches


def clip_area(stretches: Sequence[ScoredStretch], event: str) -> float:
    """Return the area under the curve over clips, each scored by its highest smoothed score; NaN without positives."""
    shift = TRIGGER_RULES[event].smoothing_shift
    ranked = [stretch for stretch in stretches if stretch.is_ranked]
    highest = [float(operating_points.smoothed(stretch.scores, shift).max()) for stretch in ranked]
    return area_under_curve(np.array(highest), np.array([stretch.is_positive for stretch in ranked]))


def choose_operating_points(
    clips: Sequence[EvaluationClip],
    clip_scores: Sequence[np.ndarray],
    shards: Shards,
    scene_scores: Sequence[np.ndarray],
) -> dict[str, dict[str, int]]:
    """Return thresholds by event and sensitivity, from the clips and scenes of the validation part."""
    return {
        spec.name: operating_points.choose(
            spec.name,
            [
                *clip_stretches(clips, clip_scores, spec.name),
                *scene_stretches(shards, scene_scores, spec.name),
            ],
        )
        for spec in catalogue.load()
    }


def detector_figures(
    clips: Sequence[EvaluationClip],
    clip_scores: Sequence[np.ndarray],
    shards: Shards,
    scene_scores: Sequence[np.ndarray],
    points: Mapping[str, Mapping[str, int]],
) -> dict[str, dict[str, Any]]:
    """Return each event's figures: clips (recall, AUC, false triggers) and scenes (recall, false triggers)."""
    figures: dict[str, dict[str, Any]] = {}
    for event in catalogue.load().names:
        of_clips = clip_stretches(clips, clip_scores, event)
        of_scenes = scene_stretches(shards, scene_scores, event)
        made = sum(clip.event == event and clip.is_synthesised for clip in clips)
        positives = sum(stretch.is_positive for stretch in of_clips)
        figures[event] = {
            "positives": positives,
            "positives_synthesised": made,
            "auc": _rounded(clip_area(of_clips, event), 4),
            "sensitivities": {
                name: _at(points[event][name], event, of_clips, of_scenes, shards) for name in SENSITIVITIES
            },
        }
    return figures


def _at(
    threshold: int,
    event: str,
    of_clips: Sequence[ScoredStretch],
    of_scenes: Sequence[ScoredStretch],
    shards: Shards,
) -> dict[str, Any]:
    rule = operating_points.rule_without_cadence(event)
    hits, positives = operating_points.recall(of_clips, threshold, rule)
    placed_hits, placed = _scene_recall(event, threshold, shards, of_scenes)
    return {
        "threshold": threshold,
        "clips": {
            "hits": hits,
            "recall": _rounded(hits / positives, 3) if positives else None,
            "recall_ci95": [_rounded(end, 3) for end in rate_interval(hits, positives)],
            **_false_figures(of_clips, threshold, event),
        },
        "scenes": {
            "events": placed,
            "hits": placed_hits,
            "recall": _rounded(placed_hits / placed, 3) if placed else None,
            **_false_figures(of_scenes, threshold, event),
        },
    }


def _false_figures(stretches: Sequence[ScoredStretch], threshold: int, event: str) -> dict[str, Any]:
    hours = sum(stretch.negative_hours for stretch in stretches)
    count = operating_points.false_triggers(stretches, threshold, operating_points.rule_without_cadence(event))
    interval = [_rounded(end / hours, 2) for end in count_interval(count)] if hours else None
    return {
        "false_triggers": count,
        "negative_hours": _rounded(hours, 3),
        "false_per_hour": _rounded(count / hours, 2) if hours else None,
        "false_per_hour_ci95": interval,
    }


def _scene_recall(event: str, threshold: int, shards: Shards, of_scenes: Sequence[ScoredStretch]) -> tuple[int, int]:
    """Return how many placed events trigger, of those long enough in their scene to be able to."""
    rule = operating_points.rule_without_cadence(event)
    hits = count = 0
    for placed, stretch in zip(shards.events, of_scenes, strict=True):
        shortest_s = rule.least_steps * STEP_S / 2
        wanted = [one for one in placed if one.name == event and one.end_s - one.start_s >= shortest_s]
        if not wanted:
            continue
        at_s = [step * STEP_S for step in stretch.triggers(threshold, rule)]
        for one in wanted:
            # an alarm that goes on from another is the same sound to the tracker
            earliest_s = one.start_s - rule.gap_steps * STEP_S
            hits += any(earliest_s <= time_s <= one.end_s + _LATEST_TRIGGER_S for time_s in at_s)
            count += 1
    return hits, count


def _rounded(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(float(value), digits)
