"""What a teacher says of recordings: asked once, and taken as doubt about a label, never as a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge import catalogue
from edge.dataset.manifest import read_manifest
from edge.errors import HarkenError
from edge.training import teacher
from tests import made_recordings


class _Listener:
    """Stands for the model: hears the class it is told to in everything, and counts what it is asked."""

    digest = "0123"

    def __init__(self, heard: int) -> None:
        self.heard = heard
        self.asked = 0

    def scores(self, pcm: np.ndarray, hop_samples: int) -> np.ndarray:
        self.asked += 1
        out = np.zeros((max(1, len(pcm) // hop_samples), teacher.CLASSES), np.float32)
        out[0, self.heard] = 0.95
        return out


def test_every_event_has_classes_that_the_teacher_knows() -> None:
    assert tuple(teacher.EVENT_CLASSES) == catalogue.load().names
    assert all(0 <= number < teacher.CLASSES for numbers in teacher.EVENT_CLASSES.values() for number in numbers)


def test_event_scores_are_the_highest_of_the_events_classes() -> None:
    scores = np.zeros((3, teacher.CLASSES), np.float32)
    scores[1, teacher.EVENT_CLASSES["dog_bark"][1]] = 0.7
    events = teacher.event_scores(scores)
    assert events.shape == (3, len(catalogue.load()))
    assert events[1, catalogue.load().index("dog_bark")] == pytest.approx(0.7)
    assert np.count_nonzero(events) == 1


def test_recordings_are_asked_about_once(tmp_path: Path) -> None:
    recordings = read_manifest(made_recordings.make_folder(tmp_path))
    listener = _Listener(0)
    first = teacher.scores_of(recordings, listener, tmp_path / "cache")  # type: ignore[arg-type]
    asked = listener.asked
    assert 0 < asked <= len(recordings)
    second = teacher.scores_of(recordings, listener, tmp_path / "cache")  # type: ignore[arg-type]
    assert listener.asked == asked
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[path], second[path]) for path in first)


def test_doubt_is_about_events_that_the_label_does_not_name(tmp_path: Path) -> None:
    recordings = read_manifest(made_recordings.make_folder(tmp_path))
    listener = _Listener(teacher.EVENT_CLASSES["dog_bark"][0])
    scores = teacher.scores_of(recordings, listener, tmp_path / "cache")  # type: ignore[arg-type]
    doubted = teacher.also_holds(recordings, scores)
    assert {recording.path for recording in recordings if recording.label == "dog_bark"}.isdisjoint(doubted)
    assert set(doubted.values()) == {("dog_bark",)}


def test_what_is_no_teacher_is_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    with pytest.raises(HarkenError, match="cannot be loaded"):
        teacher.Teacher(tmp_path / "missing.tflite")
    with pytest.raises(HarkenError, match="YAMNet"):
        teacher.Teacher(Path(__file__).parents[2] / "models" / "lstm64x2_heads8_i8.tflite")
