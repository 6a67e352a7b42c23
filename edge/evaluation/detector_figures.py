"""The detector's figures from judged clips: recall, false triggers and areas under the curve of every event."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from edge import catalogue
from edge.evaluation.metrics import area_under_curve, count_interval, rate_interval
from edge.evaluation.stages import ClipResult, Trigger

STAGES = ("stage1", "stage2")
# false triggers of one event closer than this are one to a person
FALSE_TRIGGER_GAP_S = 5.0
_CONFIDENCE = 0.95


def event_figures(results: Sequence[ClipResult], event: str, stages: Sequence[str] = STAGES) -> dict[str, Any]:
    """Return one event's figures in the form that `harken eval detector --json` prints.

    Recall is over the clips that hold the event: a hit is a trigger of that very name. False triggers are those on
    clips without it; synthesised clips are no one's negatives. What was not measured, or has no positive, is None.

    Args:
        results: of `stages.judge_clips`.
        event: its name.
        stages: those that were run; figures of others are None.
    """
    positives = [result for result in results if result.event == event]
    against = negatives(results, event)
    recall: dict[str, float | None] = dict.fromkeys(STAGES)
    interval: dict[str, list[float] | None] = dict.fromkeys(STAGES)
    false: dict[str, int | None] = dict.fromkeys(STAGES)
    for stage in stages:
        false[stage] = sum(len(false_triggers(result, event, stage)) for result in against)
        if positives:
            hits = sum(is_hit(result, event, stage) for result in positives)
            recall[stage] = round(hits / len(positives), 4)
            interval[stage] = [round(end, 4) for end in rate_interval(hits, len(positives))]
    return {
        "positives": len(positives),
        "recall": recall,
        "recall_ci95": interval,
        "auc_float": area(results, event, "float"),
        "auc_int8": area(results, event, "int8"),
        "auc_verifier": area(results, event, "verifier"),
        "auc_yamnet": area(results, event, "yamnet"),
        "negative_hours": round(hours(against), 4),
        "false_triggers": false,
    }


def is_hit(result: ClipResult, event: str, stage: str) -> bool:
    """Whether a trigger of `event` came out of `stage`."""
    return bool(_of_stage(result, event, stage))


def negatives(results: Iterable[ClipResult], event: str) -> list[ClipResult]:
    """Return the clips on which a trigger of `event` is false."""
    return [
        result
        for result in results
        if result.event != event and event not in result.excluded and not result.is_synthesised
    ]


def hours(results: Iterable[ClipResult]) -> float:
    """Return the length of clips together, lead-ins and lead-outs not counted."""
    return sum(result.seconds for result in results) / 3600


def false_triggers(result: ClipResult, event: str, stage: str) -> list[Trigger]:
    """Return the triggers of `event` on a clip without it that count: at most one in 5 s."""
    counted: list[Trigger] = []
    for trigger in _of_stage(result, event, stage):
        if not counted or trigger.at_s - counted[-1].at_s >= FALSE_TRIGGER_GAP_S:
            counted.append(trigger)
    return counted


def area(results: Iterable[ClipResult], event: str, engine: str) -> float | None:
    """Return the area under the curve over clips by an engine's highest scores; None without positives or scores.

    Of a baseline with several choices of classes the best counts.
    """
    index = catalogue.load().index(event)
    ranked = [
        result
        for result in results
        if engine in result.highest
        and event not in (*result.excluded, *result.unranked)
        and (result.event == event or not result.is_synthesised)
    ]
    if not ranked:
        return None
    is_positive = np.array([result.event == event for result in ranked])
    scores = np.array([np.atleast_2d(result.highest[engine])[:, index] for result in ranked])
    areas = [area_under_curve(scores[:, choice], is_positive) for choice in range(scores.shape[1])]
    return None if math.isnan(areas[0]) else round(max(areas), 4)


def rate_per_hour(count: int, watched_hours: float) -> tuple[float, float, float]:
    """Return false triggers an hour with their exact 95 % interval (Poisson)."""
    low, high = count_interval(count, _CONFIDENCE)
    return count / watched_hours, low / watched_hours, high / watched_hours


def bound_per_hour(watched_hours: float) -> float:
    """Return the rate that no false trigger in so many hours rules out at 95 % (one-sided): 3.0 over the hours."""
    return -math.log(1 - _CONFIDENCE) / watched_hours


def _of_stage(result: ClipResult, event: str, stage: str) -> list[Trigger]:
    return [
        trigger
        for trigger in result.triggers
        if trigger.event == event and (stage == "stage1" or trigger.is_let_through)
    ]
