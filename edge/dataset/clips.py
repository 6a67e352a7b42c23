"""Clips cut out of scenes as a device would send them: 2 s before a trigger and 2 s after it, with their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge import catalogue
from edge.dataset.labels import IGNORED, SOUNDING, STEPS_PER_SECOND, TARGET
from edge.dataset.mixtures import PlacedEvent
from edge.dataset.shards import FRAMES_PER_STEP, Shards

CLIP_FRAMES = 400
CLIP_STEPS = CLIP_FRAMES // FRAMES_PER_STEP
# steps of a clip before its trigger
LEAD_STEPS = CLIP_STEPS // 2
# an event must sound for this long (s) in a clip to be heard in it: a walk two steps, an alarm a beep or its pulses
PRESENT_S = {
    "smoke_alarm": 0.4,
    "co_alarm": 0.2,
    "glass_break": 0.08,
    "footsteps": 0.16,
    "door": 0.06,
    "appliance_beep": 0.08,
    "dog_bark": 0.1,
    "baby_cry": 0.4,
}
# of the clips of a scene: at an event, at a sound that is none; the others anywhere
_EVENT_SHARE, _OTHER_SHARE = 0.5, 0.38
# how far after it could first be known a detector may be with its trigger
_LATEST_S = 1.6


@dataclass(frozen=True)
class Clips:
    """Labelled clips.

    Attributes:
        features: int8[n, 400, 40], as `edge.native.features` gives them.
        target: bool[n, events]: the event sounds in the clip.
        asked: bool[n, events]: whether anyone could tell; where False, either answer is right.
        scenes: int[n], index of the scene that each clip is from.
        trigger_steps: int[n], step of the scene at which each clip's trigger lies.
    """

    features: np.ndarray
    target: np.ndarray
    asked: np.ndarray
    scenes: np.ndarray
    trigger_steps: np.ndarray


def around_triggers(
    shards: Shards, rng: np.random.Generator, per_scene: int, scenes: np.ndarray | None = None
) -> Clips:
    """Cut `per_scene` clips out of each scene, around moments at which a detector may fire.

    Half lie at an event, from when it can first be known; most others at near misses and household sounds, where it
    fires wrongly; the rest anywhere.

    Args:
        shards: scenes.
        rng: draws the moments.
        per_scene: clips of each scene.
        scenes: int[m], indices of the scenes to cut; all where None.
    """
    chosen = np.arange(len(shards.features)) if scenes is None else scenes
    triggers = np.array([[_trigger(shards, int(scene), rng) for _ in range(per_scene)] for scene in chosen])
    return at(shards, np.repeat(chosen, per_scene), triggers.reshape(-1))


def at(shards: Shards, scenes: np.ndarray, trigger_steps: np.ndarray) -> Clips:
    """Cut the clips around given moments, for example those at which a detector did fire.

    Args:
        shards: scenes.
        scenes: int[n], scene of each clip.
        trigger_steps: int[n], step of the trigger in it; moved inwards where the clip would not fit in the scene.
    """
    last = shards.labels.shape[1] - CLIP_STEPS
    begins = np.clip(trigger_steps - LEAD_STEPS, 0, last)
    count, events = len(scenes), shards.labels.shape[2]
    features = np.empty((count, CLIP_FRAMES, shards.features.shape[2]), np.int8)
    target, asked = np.empty((count, events), bool), np.empty((count, events), bool)
    for row, (scene, begin) in enumerate(zip(scenes, begins, strict=True)):
        features[row] = shards.features[scene, begin * FRAMES_PER_STEP : (begin + CLIP_STEPS) * FRAMES_PER_STEP]
        target[row], asked[row] = truth(shards.labels[scene, begin : begin + CLIP_STEPS])
    return Clips(features, target, asked, np.asarray(scenes), begins + LEAD_STEPS)


def truth(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a clip with step labels uint8[steps, events] holds: target and asked, both bool[events].

    An event is in it where it can be known by then and sounds for long enough; it is not in it where nothing of it
    is. Between the two nothing is asked.
    """
    sounding_s = ((labels & SOUNDING) != 0).sum(axis=0) / STEPS_PER_SECOND
    present_s = np.array([PRESENT_S[name] for name in catalogue.load().names])
    target = (sounding_s >= present_s) & ((labels & TARGET) != 0).any(axis=0)
    has_any = ((labels & (SOUNDING | TARGET | IGNORED)) != 0).any(axis=0)
    return target, target | ~has_any


def _trigger(shards: Shards, scene: int, rng: np.random.Generator) -> int:
    """Draw the step of a trigger in one scene."""
    draw = rng.random()
    events, others = shards.events[scene], shards.others[scene]
    if events and draw < _EVENT_SHARE:
        placed = events[int(rng.integers(len(events)))]
        known = _known_steps(shards.labels[scene], placed)
        if len(known):
            first = int(known[0]) if rng.random() < 0.6 else int(rng.choice(known))
            return first + int(rng.uniform(0, _LATEST_S) * STEPS_PER_SECOND)
    if others and draw < _EVENT_SHARE + _OTHER_SHARE:
        placed = others[int(rng.integers(len(others)))]
        length_s = min(placed.end_s - placed.start_s, 6.0)
        return int((placed.start_s + rng.uniform(0.1, length_s + 0.6)) * STEPS_PER_SECOND)
    return int(rng.integers(shards.labels.shape[1]))


def _known_steps(labels: np.ndarray, placed: PlacedEvent) -> np.ndarray:
    column = labels[:, catalogue.load().names.index(placed.name)]
    start, end = int(placed.start_s * STEPS_PER_SECOND), int(placed.end_s * STEPS_PER_SECOND) + 1
    return start + np.flatnonzero(column[start:end] & TARGET)
