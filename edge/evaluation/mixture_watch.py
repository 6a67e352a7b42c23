"""Hours of mixed scenes in which no alarm sounds, listened to as a device in a busy home would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edge import catalogue
from edge.dataset.labels import IGNORED, STEP_SAMPLES, TARGET
from edge.dataset.mixtures import PlacedEvent, Scene
from edge.evaluation import false_sources
from edge.evaluation.clips import ALARMS
from edge.evaluation.detector_figures import FALSE_TRIGGER_GAP_S, STAGES
from edge.evaluation.stages import Scorers, SentClips, judge_trigger
from edge.native import SAMPLE_RATE_HZ, DetectedEvent

STEP_HOURS = STEP_SAMPLES / SAMPLE_RATE_HZ / 3600
# scenes that a device hears one after another without a fresh start: seven minutes
SCENES_PER_STRETCH = 10


@dataclass(frozen=True)
class Stretch:
    """Consecutive scenes: int16[n], labels uint8[steps, events], and what was placed, times from the beginning."""

    pcm: np.ndarray
    labels: np.ndarray
    placed: tuple[PlacedEvent, ...] = ()


def stretch_count(hours: float, scene_s: int) -> int:
    """Return how many stretches hold at least `hours`."""
    return int(np.ceil(hours * 3600 / scene_s / SCENES_PER_STRETCH))


def stretch(make: Callable[[int], Scene], index: int) -> Stretch:
    """Return the stretch of that number; `make` is given the number of each of its scenes."""
    first = index * SCENES_PER_STRETCH
    scenes = [make(number) for number in range(first, first + SCENES_PER_STRETCH)]
    labels = np.concatenate([one.labels for one in scenes])
    return Stretch(np.concatenate([one.pcm for one in scenes]), labels, placed_in(scenes))


def placed_in(scenes: Sequence[Scene]) -> tuple[PlacedEvent, ...]:
    """Return what was placed in scenes that follow one another, events and others, times from the first's beginning."""
    placed: list[PlacedEvent] = []
    begin_s = 0.0
    for scene in scenes:
        for one in (*scene.events, *scene.others):
            placed.append(replace(one, start_s=begin_s + one.start_s, end_s=begin_s + one.end_s))
        begin_s += len(scene.pcm) / SAMPLE_RATE_HZ
    return tuple(placed)


@dataclass(frozen=True)
class FalseAlarm:
    """A false trigger of an alarm's head that counts.

    Attributes:
        event: its name.
        stage: which counted it.
        source: of `false_sources.GROUPS`, what sounded.
        is_alarm_pitch: whether the strongest tone until then lay where most alarms sound.
        cadence: what the device had measured by then.
    """

    event: str
    stage: str
    source: str
    is_alarm_pitch: bool
    cadence: str


@dataclass(frozen=True)
class Watched:
    """What came of one stretch, by event: hours without it and false triggers of each stage; and the false alarms."""

    clear_hours: dict[str, float]
    false_triggers: dict[str, dict[str, int]]
    false_alarms: tuple[FalseAlarm, ...] = field(default=())


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
    alarms: list[FalseAlarm] = []
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
                if event.name in ALARMS:
                    alarms.append(_false_alarm(heard, event, stage))
    hours = {name: float(is_clear.sum()) * STEP_HOURS for name, is_clear in clear.items()}
    return Watched(hours, false, tuple(alarms))


def _false_alarm(heard: Stretch, event: DetectedEvent, stage: str) -> FalseAlarm:
    """Return what is known of a false alarm's cause."""
    suspected = heard.pcm[event.start_sample : event.trigger_sample]
    from_s, to_s = event.start_sample / SAMPLE_RATE_HZ, event.trigger_sample / SAMPLE_RATE_HZ
    return FalseAlarm(
        event.name,
        stage,
        false_sources.source_of(heard.placed, from_s, to_s),
        false_sources.is_alarm_pitch(false_sources.strongest_tone_hz(suspected)),
        event.cadence.kind,
    )


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
        if name in ALARMS:
            figures[name] |= _causes([alarm for one in watched for alarm in one.false_alarms if alarm.event == name])
    return figures


def _causes(alarms: list[FalseAlarm]) -> dict[str, Any]:
    """Return false alarms by what sounded, most first, and those of stage 1 by the cadence that was measured."""
    sources: dict[str, dict[str, int]] = {}
    for group, _ in Counter(one.source for one in alarms).most_common():
        of_group = [one for one in alarms if one.source == group]
        sources[group] = {stage: sum(one.stage == stage for one in of_group) for stage in STAGES}
        sources[group]["stage1_at_alarm_pitch"] = sum(one.is_alarm_pitch for one in of_group if one.stage == STAGES[0])
    cadences = Counter(one.cadence for one in alarms if one.stage == STAGES[0])
    return {"sources": sources, "cadences": dict(cadences.most_common())}
