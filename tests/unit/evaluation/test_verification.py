"""The verifier's thresholds, and what of a clip it is judged on."""

from __future__ import annotations

import numpy as np
import pytest

from edge import catalogue, native
from edge.evaluation import verification
from edge.evaluation.clips import LEAD_IN_S, LEAD_OUT_S, EvaluationClip
from edge.evaluation.verification import Suspect


def _suspects(event: str, scores: np.ndarray) -> list[Suspect]:
    return [Suspect(event, True, float(score)) for score in scores]


def test_a_threshold_keeps_most_true_triggers_and_hardly_rejects_an_alarm() -> None:
    scores = np.linspace(0.3, 0.9, 200)
    suspects = [*_suspects("dog_bark", scores), *_suspects("smoke_alarm", scores), Suspect("dog_bark", False, 0.2)]
    thresholds = verification.choose_thresholds(suspects)
    assert thresholds.keys() == set(catalogue.load().names)
    assert thresholds["dog_bark"] == pytest.approx(np.quantile(scores, 0.05) / 2, abs=3e-3)
    assert thresholds["smoke_alarm"] == pytest.approx(np.quantile(scores, 0.02) / 4, abs=3e-3)
    assert verification.choose_thresholds(_suspects("dog_bark", scores[:5]))["dog_bark"] < scores[0], "all of a few"


def test_recordings_that_a_model_has_not_heard_lower_its_threshold_and_never_raise_it() -> None:
    scores = np.linspace(0.1, 0.95, 50)
    suspects = _suspects("door", scores)
    reached = np.quantile(scores, 0.05, method="lower")
    assert verification.choose_thresholds(suspects, {"door": np.full(40, 0.1)})["door"] == pytest.approx(0.07)
    chosen = verification.choose_thresholds(suspects, {"door": np.linspace(0.9, 1.0, 40)})["door"]
    assert chosen == pytest.approx(reached, abs=1e-3)
    assert verification.choose_thresholds(suspects)["door"] == pytest.approx(reached / 2, abs=1e-3)


def test_where_no_fold_says_how_others_score_what_was_heard_counts_for_less() -> None:
    suspects = _suspects("door", np.linspace(0.2, 0.95, 50))
    alone = verification.choose_thresholds(suspects)["door"]
    assert 0.02 < verification.choose_thresholds(suspects, heard=["door"])["door"] < alone
    assert verification.choose_thresholds(suspects, heard=["dog_bark"])["door"] == alone


def test_no_alarm_needs_more_than_a_tenth_however_sure_the_verifier_is_of_those_it_knows() -> None:
    suspects = _suspects("smoke_alarm", np.linspace(0.97, 1.0, 50))
    assert verification.choose_thresholds(suspects)["smoke_alarm"] == 0.1


def test_a_recording_counts_however_late_a_detector_may_trigger() -> None:
    samples = round((LEAD_IN_S + 6.0 + LEAD_OUT_S) * native.SAMPLE_RATE_HZ)
    pcm = np.zeros(samples, np.int16)
    moment = round((LEAD_IN_S + 3.0) * native.SAMPLE_RATE_HZ)
    pcm[moment : moment + 800] = np.random.default_rng(1).integers(-8000, 8000, 800)
    seen: list[int] = []

    def scorer(frames: np.ndarray) -> np.ndarray:
        seen.append(int(frames.max(axis=1).argmax()))
        return np.full(len(catalogue.load()), 0.7, np.float32)

    clips = [EvaluationClip("made", "door", "door", (), pcm), EvaluationClip("other", "music", None, (), pcm)]
    suspects = list(verification.recording_suspects(clips, scorer))
    assert [(one.event, one.is_true) for one in suspects] == [("door", True)], "their median"
    assert np.ptp(seen) >= 190
    alarm = EvaluationClip("made", "smoke_alarm", "smoke_alarm", (), pcm)
    assert not list(verification.recording_suspects([alarm], scorer)), "it is judged where a detector triggers"


@pytest.mark.parametrize(("seconds", "count"), [(0.5, 1), (4.0, 1), (6.5, 4)])
def test_windows_lie_a_second_apart_and_a_short_clip_in_the_middle(seconds: float, count: int) -> None:
    samples = round((LEAD_IN_S + seconds + LEAD_OUT_S) * native.SAMPLE_RATE_HZ)
    pcm = np.zeros(samples, np.int16)
    middle = round((LEAD_IN_S + seconds / 2) * native.SAMPLE_RATE_HZ)
    pcm[middle : middle + 800] = np.random.default_rng(1).integers(-8000, 8000, 800)
    pictures = verification.windows(EvaluationClip("made", "made", None, (), pcm))
    assert pictures.shape == (count, 400, 40)
    if seconds <= 4:
        loudest = int(pictures[0].max(axis=1).argmax())
        assert abs(loudest - 200) <= 8
