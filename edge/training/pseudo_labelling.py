"""Lets a teacher listen to recordings that nobody labelled sound by sound, and keeps what it is confident of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge import catalogue
from edge.dataset.labels import merged
from edge.dataset.manifest import Recording
from edge.dataset.pseudo_labels import SURE, UNSURE, Heard
from edge.training.teacher import event_scores

WINDOW_S, HOP_S = 0.975, 0.5
# labels that name a room or a voice and not each sound in it: what else is to be heard there, nobody wrote down.
# Music and advertisements are what we must not fire on, whatever they hold; telephones and monitors likewise.
UNSURE_LABELS = ("household", "other", "speech")


@dataclass(frozen=True)
class PseudoLabelRule:
    """How the teacher's scores become labels.

    Attributes:
        sure: from this score on the event is there.
        unsure: from this score on nobody can say that it is not there.
    """

    sure: float = 0.5
    unsure: float = 0.1


def heard_in(scores: np.ndarray, rule: PseudoLabelRule) -> list[Heard]:
    """Return what the teacher's scores [windows, 521], half a second apart, say of the events, by event and time."""
    by_event = event_scores(np.asarray(scores, np.float32))
    found = []
    for index, event in enumerate(catalogue.load().names):
        score = by_event[:, index]
        for kind, low, high in ((SURE, rule.sure, np.inf), (UNSURE, rule.unsure, rule.sure)):
            windows = np.flatnonzero((score >= low) & (score < high))
            spans = [(HOP_S * window, HOP_S * window + WINDOW_S) for window in windows]
            found += [Heard(event, round(start, 3), round(end, 3), kind) for start, end in merged(spans, 0.0)]
    return found


def pseudo_labels(
    recordings: Sequence[Recording], scores: Mapping[Path, np.ndarray], rule: PseudoLabelRule
) -> dict[str, list[Heard]]:
    """Return what the teacher hears in the recordings of `UNSURE_LABELS`, by folder and file name.

    Recordings in which it hears nothing of ours are left out.
    """
    heard = {
        "/".join(recording.path.parts[-2:]): heard_in(scores[recording.path], rule)
        for recording in recordings
        if recording.label in UNSURE_LABELS and recording.path in scores
    }
    return {name: found for name, found in heard.items() if found}


def is_recognised(recording: Recording, scores: np.ndarray, rule: PseudoLabelRule) -> bool:
    """Say whether the teacher alone would have given a recording of an event the label that it has."""
    index = catalogue.load().index(recording.label)
    return bool(event_scores(np.asarray(scores, np.float32))[:, index].max() >= rule.sure)


def seconds_by_event(labels: Mapping[str, Sequence[Heard]]) -> dict[str, dict[str, float]]:
    """Return by event how many seconds are sure and how many unsure."""
    seconds = {event: {SURE: 0.0, UNSURE: 0.0} for event in catalogue.load().names}
    for heard in labels.values():
        for one in heard:
            seconds[one.event][one.kind] += one.end_s - one.start_s
    return {event: {kind: round(value, 1) for kind, value in kinds.items()} for event, kinds in seconds.items()}
