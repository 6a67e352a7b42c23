"""What a teacher hears in recordings that nobody labelled sound by sound: pseudo-labels, and what is not asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge import catalogue
from edge.dataset.labels import merged
from edge.dataset.manifest import Recording
from edge.errors import HarkenError
from edge.training.teacher import event_scores

POSITIVE, IGNORED = "positive", "ignored"
PSEUDO_LABELS_FILE = "labels.json"
WINDOW_S, HOP_S = 0.975, 0.5
# labels that name a room or a voice and not each sound in it: what else is to be heard there, nobody wrote down.
# Music and advertisements are what we must not fire on, whatever they hold; telephones and monitors likewise.
UNSURE_LABELS = ("household", "other", "speech")


@dataclass(frozen=True)
class PseudoLabelRule:
    """How the teacher's scores become labels.

    Attributes:
        positive: from this score on the event is there.
        ignored: from this score on nobody can say that it is not there.
    """

    positive: float = 0.5
    ignored: float = 0.1


@dataclass(frozen=True)
class Heard:
    """What the teacher hears in a recording: an event, when (seconds), and whether it is sure."""

    event: str
    start_s: float
    end_s: float
    kind: str


def heard_in(scores: np.ndarray, rule: PseudoLabelRule) -> list[Heard]:
    """Return what the teacher's scores [windows, 521], half a second apart, say of the events, by event and time."""
    by_event = event_scores(np.asarray(scores, np.float32))
    found = []
    for index, event in enumerate(catalogue.load().names):
        score = by_event[:, index]
        for kind, low, high in ((POSITIVE, rule.positive, np.inf), (IGNORED, rule.ignored, rule.positive)):
            windows = np.flatnonzero((score >= low) & (score < high))
            spans = [(HOP_S * window, HOP_S * window + WINDOW_S) for window in windows]
            found += [Heard(event, round(start, 3), round(end, 3), kind) for start, end in merged(spans, 0.0)]
    return found


def pseudo_labels(
    recordings: Sequence[Recording], scores: Mapping[Path, np.ndarray], rule: PseudoLabelRule
) -> dict[Path, list[Heard]]:
    """Return by path what the teacher hears in the recordings of `UNSURE_LABELS`; those without any are left out."""
    labels = {
        recording.path: heard_in(scores[recording.path], rule)
        for recording in recordings
        if recording.label in UNSURE_LABELS and recording.path in scores
    }
    return {path: heard for path, heard in labels.items() if heard}


def recognised(recording: Recording, scores: np.ndarray, rule: PseudoLabelRule) -> bool:
    """Say whether the teacher alone would have given a recording of an event the label that it has."""
    index = catalogue.load().index(recording.label)
    return bool(event_scores(np.asarray(scores, np.float32))[:, index].max() >= rule.positive)


def save(
    labels: Mapping[Path, Sequence[Heard]], data: Path, teacher_digest: str, rule: PseudoLabelRule, folder: Path
) -> Path:
    """Write pseudo-labels, by path within `data`, with what they come from; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PSEUDO_LABELS_FILE
    content = {
        "teacher": teacher_digest,
        "rule": asdict(rule),
        "seconds": seconds_by_event(labels),
        "recordings": {
            str(name.relative_to(data)): [[one.event, one.start_s, one.end_s, one.kind] for one in heard]
            for name, heard in sorted(labels.items())
        },
    }
    path.write_text(json.dumps(content, indent=1))
    return path


def load(folder: Path) -> dict[str, Any]:
    """Return what `save` wrote.

    Raises:
        HarkenError: there is no such file.
    """
    try:
        return dict(json.loads((folder / PSEUDO_LABELS_FILE).read_text()))
    except FileNotFoundError as error:
        raise HarkenError(f"{folder} holds no pseudo-labels: run `harken train --stage pseudo` first") from error


def seconds_by_event(labels: Mapping[Path, Sequence[Heard]]) -> dict[str, dict[str, float]]:
    """Return by event how many seconds are sure and how many are not to be asked."""
    seconds = {event: {POSITIVE: 0.0, IGNORED: 0.0} for event in catalogue.load().names}
    for heard in labels.values():
        for one in heard:
            seconds[one.event][one.kind] += one.end_s - one.start_s
    return {event: {kind: round(value, 1) for kind, value in kinds.items()} for event, kinds in seconds.items()}
