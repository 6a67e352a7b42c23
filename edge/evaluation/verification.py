"""The verifier judged on what the detector sends it: four seconds around each trigger."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from edge import catalogue, native
from edge.dataset import clips as clip_cuts
from edge.dataset.labels import IGNORED, TARGET
from edge.dataset.shards import Shards, through_codec
from edge.evaluation import operating_points
from edge.evaluation.calibration import expected_error, threshold_that_keeps
from edge.evaluation.clips import ALARMS, LEAD_IN_S, LEAD_OUT_S, EvaluationClip
from edge.evaluation.metrics import area_under_curve, rate_interval
from edge.evaluation.operating_points import STEP_S
from edge.evaluation.tflite_runtime import open_interpreter

CLIP_FRAMES = 400
_FRAMES_PER_STEP = 2
_FRAMES_PER_SECOND = 100
_WINDOW_HOP_FRAMES = 100
# What of true clips of the validation part a threshold keeps: five points of recall may be given for fewer false
# triggers. It is half of what these reach, so that a new recording may score lower; of recordings that a fold has not
# heard, of which that is known, it is nearly what they reach.
_KEPT_SHARE, _MARGIN, _UNHEARD_MARGIN = 0.95, 0.5, 0.7
_OTHER_RANGE = (0.02, 0.3)
# Of an alarm it is a quarter of what all but one in fifty of its true triggers reach: only what the verifier is
# sure of is rejected. (What is rejected nevertheless is told once it has gone on, and a measured T3 or T4 in any case.)
_ALARM_SHARE, _ALARM_MARGIN = 0.98, 0.25
_ALARM_RANGE = (0.0005, 0.1)
# Recordings that a verifier has heard score so much (in logits) above others of the event: 0.3 (glass) to 1.9 (steps)
# between what is shipped and its folds. It stands in where no fold says how others score.
_HEARD_GAIN = 1.5
# clips of each scene by which probabilities are compared with rates
_RELIABILITY_PER_SCENE = 8
# where the loudest moment of a recording lies in the clips that are cut around it (s)
_OFFSETS_S = (1.0, 1.5, 2.0, 2.5, 3.0)

# int8[400, 40] to float32[events]
ClipScorer = Callable[[np.ndarray], np.ndarray]


class TfliteClipScorer:
    """Scores clips by the runtime that the cloud uses.

    Args:
        model_path: the verifier's .tflite.

    Raises:
        HarkenError: no runtime is installed, or it does not take the model.
    """

    def __init__(self, model_path: Path) -> None:
        self._interpreter = open_interpreter(model_path)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Return probabilities float32[events] of features int8[400, 40]."""
        self._interpreter.set_tensor(self._input, frames.astype(np.float32)[None, :, :, None] / np.float32(32))
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output)[0])


@dataclass(frozen=True)
class Suspect:
    """A trigger of the detector: its event, whether the event is really there, and what the verifier says of it.

    Of smoke and CO alarms, which vouch for each other, `score` is the higher of both.
    """

    event: str
    is_true: bool
    score: float


def clip_frames(clip: EvaluationClip) -> np.ndarray:
    """Return the features of a clip as the cloud gets them, int8[frames, 40], leads included, through the codec."""
    return native.features(through_codec(clip.pcm))


def window(frames: np.ndarray, start: int) -> np.ndarray:
    """Return `CLIP_FRAMES` of int8[frames, 40] from `start`; what is missing is mirrored from what is there."""
    if len(frames) < CLIP_FRAMES:
        return np.pad(frames, ((0, CLIP_FRAMES - len(frames)), (0, 0)), mode="symmetric")
    start = int(np.clip(start, 0, len(frames) - CLIP_FRAMES))
    return frames[start : start + CLIP_FRAMES]


def windows(clip: EvaluationClip) -> np.ndarray:
    """Return what the cloud may get of a clip: int8[n, 400, 40], a second apart; a short clip lies in the middle."""
    frames = clip_frames(clip)
    first = round(LEAD_IN_S * _FRAMES_PER_SECOND)
    last = len(frames) - round(LEAD_OUT_S * _FRAMES_PER_SECOND)
    if last - first <= CLIP_FRAMES:
        starts = [(first + last - CLIP_FRAMES) // 2]
    else:
        starts = [*range(first, last - CLIP_FRAMES, _WINDOW_HOP_FRAMES), last - CLIP_FRAMES]
    return np.stack([window(frames, start) for start in starts])


def highest_scores(clips: Sequence[EvaluationClip], scorer: ClipScorer) -> np.ndarray:
    """Return each clip's highest score over its windows, float32[clips, events]."""
    return highest_of(clips, lambda pictures: np.stack([scorer(picture) for picture in pictures]))


def highest_of(clips: Sequence[EvaluationClip], judge: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return each clip's highest score over its windows, float32[clips, events].

    Args:
        clips: to be judged.
        judge: int8[n, 400, 40] to float32[n, events]; it is given all windows of a clip at once.
    """
    return np.array([judge(windows(clip)).max(axis=0) for clip in clips])


def areas(clips: Sequence[EvaluationClip], highest: np.ndarray) -> dict[str, float | None]:
    """Return each event's area under the curve over the clips that say something about it, None without positives."""
    figures: dict[str, float | None] = {}
    for index, event in enumerate(catalogue.load().names):
        asked = np.array([event not in (*clip.excluded, *clip.unranked) for clip in clips])
        is_positive = np.array([clip.event == event for clip in clips])
        area = area_under_curve(highest[asked, index], is_positive[asked])
        figures[event] = None if np.isnan(area) else round(area, 4)
    return figures


def clip_suspects(
    clips: Sequence[EvaluationClip],
    detector_scores: Sequence[np.ndarray],
    points: Mapping[str, Mapping[str, int]],
    sensitivity: str,
    scorer: ClipScorer,
) -> Iterator[Suspect]:
    """Yield every trigger over the clips, judged."""
    lead_in_steps = round(LEAD_IN_S / STEP_S)
    for clip, scores in zip(clips, detector_scores, strict=True):
        frames = clip_frames(clip)
        for index, event in enumerate(catalogue.load().names):
            if event in clip.excluded:
                continue
            for step in _triggers(scores[:, index], event, points[event][sensitivity]):
                if step < lead_in_steps:
                    continue
                start = step * _FRAMES_PER_STEP - CLIP_FRAMES // 2
                yield Suspect(event, clip.event == event, _score_of(event, scorer(window(frames, start))))


def scene_suspects(
    coded: Shards,
    detector_scores: Sequence[np.ndarray],
    points: Mapping[str, Mapping[str, int]],
    sensitivity: str,
    scorer: ClipScorer,
) -> Iterator[Suspect]:
    """Yield every trigger over scenes where the label is clear, judged.

    Args:
        coded: the scenes through the clip codec.
        detector_scores: of the same scenes as the device hears them, uint8[steps, events] each.
        points: the detector's operating points.
        sensitivity: which of them.
        scorer: the verifier.
    """
    for frames, labels, scores in zip(coded.features, coded.labels, detector_scores, strict=True):
        for index, event in enumerate(catalogue.load().names):
            for step in _triggers(scores[:, index], event, points[event][sensitivity]):
                if labels[step, index] & IGNORED or _is_other_alarm(labels[step], event):
                    continue
                start = step * _FRAMES_PER_STEP - CLIP_FRAMES // 2
                is_true = bool(labels[step, index] & TARGET)
                yield Suspect(event, is_true, _score_of(event, scorer(window(frames, start))))


def recording_suspects(clips: Sequence[EvaluationClip], scorer: ClipScorer) -> Iterator[Suspect]:
    """Yield what the verifier says of every clip that holds an event, cut at many offsets, whatever a detector heard.

    A threshold that hung on the triggers of one detector alone would be wrong for the next one, which is late where
    this one is early. The median of the offsets counts, since at some the event may lie outside the cut. Alarms, which
    go on, are judged where a detector triggers: a cut may lie in the pause of one.
    """
    for clip in clips:
        if clip.event is None or clip.event in ALARMS:
            continue
        frames = clip_frames(clip)
        sounding = slice(round(LEAD_IN_S * _FRAMES_PER_SECOND), len(frames) - round(LEAD_OUT_S * _FRAMES_PER_SECOND))
        loudest = sounding.start + int(frames[sounding].astype(np.float32).mean(axis=1).argmax())
        starts = [loudest - round(offset_s * _FRAMES_PER_SECOND) for offset_s in _OFFSETS_S]
        scores = [_score_of(clip.event, scorer(window(frames, start))) for start in starts]
        yield Suspect(clip.event, True, float(np.median(scores)))


def _score_of(event: str, scores: np.ndarray) -> float:
    """Return what counts of a clip's scores float[events] for an event: of either alarm the higher of both."""
    names = ALARMS if event in ALARMS else (event,)
    return float(max(scores[catalogue.load().index(name)] for name in names))


def choose_thresholds(
    suspects: Sequence[Suspect], unheard: Mapping[str, np.ndarray] | None = None, heard: Collection[str] = ()
) -> dict[str, float]:
    """Return each event's threshold from judged clips of the validation part.

    For an alarm it is a quarter of what all but one in fifty true triggers reach, and never above 0.1: the
    verifier may reject only what it is sure of. For the others it is half of what 95 of 100 true clips reach.

    Args:
        suspects: judged triggers, and judged clips that hold an event.
        unheard: scores of recordings of an event, each by a model that has not heard it, for events whose recordings
            in the validation part the judged model has heard: no threshold is higher than these allow.
        heard: such events of which there are no scores by other models: their true clips count as if the model had not
            heard them, `_HEARD_GAIN` lower.
    """
    thresholds = {}
    for spec in catalogue.load():
        true = np.array([suspect.score for suspect in suspects if suspect.event == spec.name and suspect.is_true])
        share, margin, bounds = _KEPT_SHARE, _MARGIN, _OTHER_RANGE
        if spec.name in ALARMS:
            share, margin, bounds = _ALARM_SHARE, _ALARM_MARGIN, _ALARM_RANGE
        if spec.name in heard:
            true = special.expit(special.logit(np.clip(true, 1e-6, 1 - 1e-6)) - _HEARD_GAIN)
            margin = 1.0
        if unheard is not None and spec.name in unheard:
            # how much lower others score is known from these
            of_unheard = threshold_that_keeps(unheard[spec.name], share, _UNHEARD_MARGIN)
            chosen = min(threshold_that_keeps(true, share), of_unheard)
        else:
            chosen = threshold_that_keeps(true, share, margin)
        thresholds[spec.name] = round(float(np.clip(chosen, *bounds)), 4)
    return thresholds


def reliability(coded: Shards, scorer: ClipScorer, seed: int) -> dict[str, dict[str, Any]]:
    """Return by event how far probabilities are from the rates that they promise, over clips cut out of scenes.

    Args:
        coded: scenes through the clip codec; clips lie at moments at which a detector may fire.
        scorer: the verifier.
        seed: draws the moments.

    Returns:
        By event how many clips, how many of them hold it, and the mean distance over ten bins of probability.
    """
    cut = clip_cuts.around_triggers(coded, np.random.default_rng(seed), _RELIABILITY_PER_SCENE)
    scores = np.stack([scorer(frames) for frames in cut.features])
    figures = {}
    for index, event in enumerate(catalogue.load().names):
        asked = cut.asked[:, index]
        is_there = cut.target[asked, index]
        figures[event] = {
            "clips": int(asked.sum()),
            "positives": int(is_there.sum()),
            "error": round(expected_error(scores[asked, index], is_there), 4),
        }
    return figures


def verification_figures(suspects: Sequence[Suspect], thresholds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Return by event how many true triggers are kept and how many false ones removed, with 95 % intervals."""
    figures: dict[str, dict[str, Any]] = {}
    for event, threshold in thresholds.items():
        true = [suspect.score for suspect in suspects if suspect.event == event and suspect.is_true]
        false = [suspect.score for suspect in suspects if suspect.event == event and not suspect.is_true]
        kept = sum(score >= threshold for score in true)
        removed = sum(score < threshold for score in false)
        figures[event] = {
            "true_triggers": len(true),
            "kept": kept,
            "kept_ci95": [round(end, 3) for end in rate_interval(kept, len(true))],
            "false_triggers": len(false),
            "removed": removed,
            "removed_ci95": [round(end, 3) for end in rate_interval(removed, len(false))],
        }
    return figures


def _is_other_alarm(labels: np.ndarray, event: str) -> bool:
    """Say whether only the other alarm sounds in a step: its name is the cadence's to give, not the verifier's."""
    if event not in ALARMS or labels[catalogue.load().index(event)] & TARGET:
        return False
    others = [catalogue.load().index(name) for name in ALARMS if name != event]
    return bool((labels[others] & (TARGET | IGNORED)).any())


def _triggers(scores: np.ndarray, event: str, threshold: int) -> list[int]:
    rule = operating_points.rule_without_cadence(event)
    return operating_points.trigger_steps(operating_points.smoothed(scores, rule.smoothing_shift), threshold, rule)
