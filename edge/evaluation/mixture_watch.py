"""Hours of mixed scenes in which no alarm sounds, listened to as a device in a busy home would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge import catalogue
from edge.dataset.labels import IGNORED, STEP_SAMPLES, TARGET
from edge.dataset.mixtures import Scene
from edge.evaluation.clips import ALARMS
from edge.evaluation.detector_figures import FALSE_TRIGGER_GAP_S, STAGES
from edge.evaluation.stages import Scorers, SentClips, judge_trigger
from edge.native import SAMPLE_RATE_HZ

STEP_HOURS = STEP_SAMPLES / SAMPLE_RATE_HZ / 3600
# scenes that a device hears one after another without a fresh start: seven minutes
SCENES_PER_STRETCH = 10


@dataclass(frozen=True)
class Stretch:
    """Consecutive scenes: int16[n] and labels uint8[steps, events]."""

    pcm: np.ndarray
    labels: np.ndarray


def stretch_count(hours: float, scene_s: int) -> int:
    """Return how many stretches hold at least `hours`."""
    return int(np.ceil(hours * 3600 / scene_s / SCENES_PER_STRETCH))


def stretch(make: Callable[[int], Scene], index: int) -> Stretch:
    """Return the stretch of that number; `make` is given the number of each of its scenes."""
    first = index * SCENES_PER_STRETCH
    scenes = [make(number) for number in range(first, first + SCENES_PER_STRETCH)]
    return Stretch(np.concatenate([one.pcm for one in scenes]), np.concatenate([one.labels for one in scenes]))


@dataclass(frozen=True)
class Watched:
    """What came of one stretch, by event: hours without the event, and false triggers of each stage."""

    clear_hours: dict[str, float]
    false_triggers: dict[str, dict[str, int]]


def watch(heard: Stretch, scorers: Scorers) -> Watched:
    """Let the device hear a stretch; count what it reports where the event is not.

    Where the label leaves it open (an onset, a reverberant tail) a trigger is neither; an alarm's head has no such
    excuse, since no alarm sounds.
    """
    clear = {
        name: np.ones(len(heard.labels), bool) if name in ALARMS else (heard.labels[:, index] & (TARGET | IGNORED)) == 0
        for index, name in enumerate(catalogue.load().names)
    }
    false = {name: dict.fromkeys(STAGES, 0) for name in clear}
    last = {name: dict.fromkeys(STAGES, -FALSE_TRIGGER_GAP_S) for name in clear}
    sent = SentClips(heard.pcm)
    for event in scorers.device.hear(heard.pcm).events:
        step = min(event.trigger_sample // STEP_SAMPLES, len(heard.labels)) - 1
        if not clear[event.name][step]:
            continue
        trigger = judge_trigger(event, sent, scorers.verifier, 0)
        for stage in STAGES if trigger.is_let_through else STAGES[:1]:
            if trigger.at_s - last[event.name][stage] >= FALSE_TRIGGER_GAP_S:
                false[event.name][stage] += 1
                last[event.name][stage] = trigger.at_s
    return Watched({name: float(is_clear.sum()) * STEP_HOURS for name, is_clear in clear.items()}, false)


def total(watched: list[Watched], stages: tuple[str, ...]) -> dict[str, Any]:
    """Return the sums in the form that `harken eval detector --mixtures-hours` prints under `mixtures`."""
    figures = {}
    for name in catalogue.load().names:
        figures[name] = {
            "hours": round(sum(one.clear_hours[name] for one in watched), 3),
            "false_triggers": {
                stage: sum(one.false_triggers[name][stage] for one in watched) if stage in stages else None
                for stage in STAGES
            },
        }
    return figures
