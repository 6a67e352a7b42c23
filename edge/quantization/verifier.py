"""From a finished training to the committed verifier: calibrated, converted, judged, described."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from edge import catalogue
from edge.dataset import heard, rooms, shards, splits
from edge.dataset.manifest import Recording
from edge.dataset.shards import Recipe, Shards
from edge.errors import HarkenError
from edge.evaluation import calibration, verification
from edge.evaluation.clips import ALARMS, EvaluationClip, evaluation_clips, iterate_clips
from edge.evaluation.metrics import rate_interval
from edge.evaluation.verification import Suspect, TfliteClipScorer
from edge.quantization.convert import convert_verifier
from edge.quantization.detector import TflmScorer
from edge.training import clip_shards, report, verifier, verifier_network, verifier_stages
from edge.training.clip_shards import FEW_ORIGINALS, FOLDS, Clips, ClipSet
from edge.training.teacher import EVIDENCE_CLASSES, Evidence
from edge.training.verifier import Verifier

# whose triggers thresholds come from: of an alarm all that a device may ever send, of others what it does send unless
# its user asks for more
_ALARMS_FROM, _OTHERS_FROM = "high", "normal"
_PART_SEEDS = {splits.VALIDATION: 21, splits.HELD_OUT: 22}
_FOLD_SEED = 23

# int16[n] to float32[choices, events]
Baseline = Callable[[np.ndarray], np.ndarray]


def deliver(
    run_dir: Path,
    models_dir: Path,
    recipe: Recipe,
    judged_hours: float,
    cache_dir: Path,
    say: Callable[[str], None],
    baseline: Baseline | None = None,
) -> dict[str, Any]:
    """Convert the training in `run_dir` to `models_dir`/verifier, judge it, and write its manifest and card.

    Args:
        run_dir: of the training.
        models_dir: of all models; the detector's is read.
        recipe: of the data and its split.
        judged_hours: of scenes in each judged part.
        cache_dir: for these scenes.
        say: is told what is being done.
        baseline: int16[n] to float32[choices, events], judged beside, or None.

    Probabilities are calibrated and thresholds chosen on the validation part; of events of few originals, on what each
    fold has not heard. Figures come from the held-out part and from the folds. Where the training went on from the
    committed verifier and its own folds are not trained, these events keep the figures of that one's folds, and their
    thresholds come from true clips that are taken to score lower than they do.

    Returns:
        The manifest's content.

    Raises:
        HarkenError: there is no training, no detector to be judged with, or no runtime for the model.
    """
    weights = run_dir / verifier_stages.FINAL / verifier.WEIGHTS_FILE
    if not weights.exists():
        raise HarkenError(f"{run_dir} holds no trained verifier: run `harken train --stage verifier` first")
    content = report.load_provenance(run_dir)
    seed = int(content["training"]["rule"]["shared"]["seed"])
    network = Verifier(seed)
    network.load(weights)
    say("calibrating")
    clip_set = ClipSet.of(run_dir)
    has_folds = all((run_dir / f"fold_{fold}" / verifier.WEIGHTS_FILE).exists() for fold in range(FOLDS))
    model_path = models_dir / "verifier" / "verifier.tflite"
    before = committed(model_path) if model_path.exists() else {}
    if not has_folds and not before:
        raise HarkenError(f"{run_dir} holds no folds: let `harken train --stage verifier` go on to its end")
    few: dict[str, list[np.ndarray]] = {}
    if has_folds:
        few = verifier_stages.out_of_fold_answers(clip_set.clips(splits.TRAIN, recipe), run_dir, seed)
    validation = clip_set.clips(splits.VALIDATION, recipe)
    classes = verifier_network.EVIDENCE if content["training"]["teacher"] else ()
    answers = network.answers(validation.features)
    calibrated = calibrate(answers, validation, {name: np.concatenate(parts) for name, parts in few.items()}, classes)
    model_path.parent.mkdir(parents=True, exist_ok=True)
    parts_of_network = (network.backbone, network.last, network.events, network.teacher)
    shipped = verifier_network.deliverable(*parts_of_network, calibrated.weights, calibrated.offsets)
    say("converting")
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "verifier.keras"
        shipped.save(kept)
        convert_verifier(kept, model_path)
    scorer = TfliteClipScorer(model_path)
    parts = shards.recordings_of_parts(recipe)
    device = _Device(models_dir / "detector", recipe, judged_hours, cache_dir, scorer, say)
    folds = {}
    if has_folds:
        say("judging the folds")
        by_fold = [
            calibrate(answers, validation, {name: _without(arrays, fold) for name, arrays in few.items()}, classes)
            for fold in range(FOLDS)
        ]
        folds = judge_folds(run_dir, seed, recipe, parts, baseline, by_fold)
    few_scores = {name: judgement.scores for name, judgement in folds.items()}
    thresholds = verification.choose_thresholds(
        _genuine_and_suspects(device, recipe, parts, scorer), few_scores, () if has_folds else FEW_ORIGINALS
    )
    k_fold: dict[str, Any] = {"k_fold": fold_figures(folds, thresholds)} if has_folds else _committed_folds(before)
    clips = _clips(recipe, parts[splits.HELD_OUT], splits.HELD_OUT)
    triggers = verification.verification_figures(device.suspects(splits.HELD_OUT, "normal", clips), thresholds)
    content["training"] |= {"curves": _curves(run_dir)}
    content |= {
        "events": list(catalogue.load().names),
        "input_frames": verifier_network.CLIP_FRAMES,
        "parameters": int(shipped.count_params()),
        "calibration": calibrated.described(classes),
        "thresholds": thresholds,
        "figures": {
            "judged_on": "originals kept out of training and thresholds; events of few originals by folds",
            "scene_hours": judged_hours,
            "auc": verification.areas(clips, verification.highest_scores(clips, scorer)),
            "auc_yamnet": None if baseline is None else baseline_areas(clips, baseline),
            "triggers": triggers,
            "reliability": verification.reliability(device.coded(splits.HELD_OUT), scorer, recipe.seed),
            **k_fold,
        },
    }
    also_heard = [one for one in parts[splits.HELD_OUT] if one.label in FEW_ORIGINALS]
    heard.write(model_path.parent, [*parts[splits.TRAIN], *parts[splits.VALIDATION], *also_heard])
    report.write(model_path, content, report.verifier_card(content))
    return content


def choose_again(
    models_dir: Path, recipe: Recipe, judged_hours: float, cache_dir: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Choose the thresholds of the committed verifier anew, on what the present detector triggers on.

    The model stays. An event of few originals, of which the model has heard every recording, has no higher threshold
    than the folds' scores in the manifest allow; where it names none, its true clips are taken to score lower.

    Args:
        models_dir: of both models; the verifier's manifest and card are written anew.
        recipe: of the data and its split.
        judged_hours: of scenes in each judged part.
        cache_dir: for these scenes.
        say: is told what is being done.

    Returns:
        The manifest's content.

    Raises:
        HarkenError: a model is missing, or there is no runtime for it.
    """
    model_path = models_dir / "verifier" / "verifier.tflite"
    content = committed(model_path)
    scorer = TfliteClipScorer(model_path)
    parts = shards.recordings_of_parts(recipe)
    device = _Device(models_dir / "detector", recipe, judged_hours, cache_dir, scorer, say)
    k_fold = content["figures"]["k_fold"]
    unheard = {name: np.array(figure["scores"]) for name, figure in k_fold.items() if "scores" in figure}
    chosen = verification.choose_thresholds(
        _genuine_and_suspects(device, recipe, parts, scorer), unheard, set(FEW_ORIGINALS) - set(unheard)
    )
    clips = _clips(recipe, parts[splits.HELD_OUT], splits.HELD_OUT)
    triggers = verification.verification_figures(device.suspects(splits.HELD_OUT, "normal", clips), chosen)
    content["thresholds"] = chosen
    content["figures"] |= {
        "scene_hours": judged_hours,
        "triggers": triggers,
        "reliability": verification.reliability(device.coded(splits.HELD_OUT), scorer, recipe.seed),
    }
    for name, scores in unheard.items():
        k_fold[name] |= _kept(scores, chosen[name])
    report.write(model_path, content, report.verifier_card(content))
    return content


@dataclass(frozen=True)
class Calibration:
    """What makes probabilities of a network's answers.

    Attributes:
        weights: float[events + evidence, events].
        offsets: float[events].
    """

    weights: np.ndarray
    offsets: np.ndarray

    def __call__(self, answers: np.ndarray) -> np.ndarray:
        """Return probabilities float[n, events] of answers float[n, events + evidence]."""
        return np.asarray(special.expit(answers @ self.weights + self.offsets))

    def described(self, classes: Sequence[int]) -> dict[str, Any]:
        """Return what the manifest says of it, by event."""
        names = catalogue.load().names
        return {
            name: {
                "slope": round(float(self.weights[index, index]), 4),
                "offset": round(float(self.offsets[index]), 4),
                "evidence": {
                    str(number): round(float(self.weights[len(names) + place, index]), 4)
                    for place, number in enumerate(classes)
                    if self.weights[len(names) + place, index]
                },
            }
            for index, name in enumerate(names)
        }


def committed(model_path: Path) -> dict[str, Any]:
    """Return the manifest beside a verifier; raises HarkenError where there is none."""
    try:
        content: dict[str, Any] = json.loads(model_path.with_name("manifest.json").read_text())
    except FileNotFoundError as error:
        raise HarkenError(f"{model_path.parent} holds no verifier: run `harken quantize --model verifier`") from error
    return content


def calibrate(
    answers: np.ndarray, validation: Clips, few: Mapping[str, np.ndarray], classes: Sequence[int]
) -> Calibration:
    """Return the calibration of every event: of its logit, and of what the student of a teacher says of its classes.

    Args:
        answers: of the validation clips by what is shipped, float[n, events + evidence].
        validation: those clips; negatives of every event, and positives of those that are not in `few`.
        few: answers to clips that hold an event of few originals, each by a fold that has not heard it.
        classes: of the teacher, in the order in which they are in the answers; none where there was no teacher.
    """
    names = catalogue.load().names
    weights, offsets = np.zeros((answers.shape[1], len(names))), np.zeros(len(names))
    for index, name in enumerate(names):
        named = EVIDENCE_CLASSES[name] if classes else Evidence((), ())
        numbers = named.speaking_for + named.against
        signs = [1] * len(named.speaking_for) + [-1] * len(named.against)
        columns = [index, *(len(names) + classes.index(number) for number in numbers)]
        asked = validation.asked[:, index]
        at, is_positive = answers[asked][:, columns], validation.target[asked, index]
        counts = np.ones(len(at))
        if len(few.get(name, ())):
            positives, negatives = few[name][:, columns], at[~is_positive]
            # as many of the whole as there are in the validation clips
            share = is_positive.sum() / len(positives)
            counts = np.concatenate([np.full(len(positives), share), np.ones(len(negatives))])
            at = np.concatenate([positives, negatives])
            is_positive = np.arange(len(at)) < len(positives)
        weights[columns, index], offsets[index] = calibration.fit_logistic(at, is_positive, counts, signs)
    return Calibration(weights, offsets)


def _without(arrays: Sequence[np.ndarray], fold: int) -> np.ndarray:
    return np.concatenate([array for index, array in enumerate(arrays) if index != fold])


def _committed_folds(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a committed verifier's figures by folds, and the version they are of."""
    figures = content["figures"]
    return {"k_fold": figures["k_fold"], "k_fold_of": figures.get("k_fold_of", content["version"])}


@dataclass(frozen=True)
class FoldJudgement:
    """What the folds say of one event of few originals.

    Attributes:
        originals: how many there are.
        areas: of each fold: area under the curve, the baseline's or None, and how many recordings hold the event.
        scores: the highest of each of these recordings, by the fold that has not heard it, float[recordings].
    """

    originals: int
    areas: list[tuple[float, float | None, int]]
    scores: np.ndarray


def judge_folds(
    run_dir: Path,
    seed: int,
    recipe: Recipe,
    parts: Mapping[str, Sequence[Recording]],
    baseline: Baseline | None,
    calibrations: Sequence[Calibration],
) -> dict[str, FoldJudgement]:
    """Judge every recording of an event of few originals by the fold that has not heard it.

    The area under the curve is taken within each fold, against the held-out part's other recordings. `calibrations` are
    those of the folds, each fitted without its originals.
    """
    everything = [recording for recordings in parts.values() for recording in recordings]
    others = [recording for recording in parts[splits.HELD_OUT] if recording.label not in FEW_ORIGINALS]
    own = [recording for recording in everything if recording.label in FEW_ORIGINALS]
    fold_of = {name: clip_shards.fold_of_originals(everything, name, recipe.split.salt) for name in FEW_ORIGINALS}
    seed_of_clips = recipe.seed * 100 + _FOLD_SEED
    against = list(iterate_clips(others, [], seed_of_clips, synthesised_co_alarms=0))
    once: Baseline | None = None if baseline is None else _remembering(baseline)
    network = Verifier(seed)
    areas: dict[str, list[tuple[float, float | None, int]]] = {name: [] for name in FEW_ORIGINALS}
    scores: dict[str, list[np.ndarray]] = {name: [] for name in FEW_ORIGINALS}
    for fold, calibrated in enumerate(calibrations):
        network.load(run_dir / f"fold_{fold}" / verifier.WEIGHTS_FILE)
        unheard = [one for one in own if fold_of[one.label][one.original_id] == fold]
        clips = [*iterate_clips(unheard, [], seed_of_clips, synthesised_co_alarms=0), *against]
        highest = verification.highest_of(clips, _judge(network, calibrated))
        yamnet = {} if once is None else baseline_areas(clips, once)
        for name, area in verification.areas(clips, highest).items():
            if name in areas and area is not None:
                index = catalogue.load().index(name)
                reached = np.array([row[index] for row, clip in zip(highest, clips, strict=True) if clip.event == name])
                areas[name].append((area, yamnet.get(name), len(reached)))
                scores[name].append(reached)
    return {
        name: FoldJudgement(len(fold_of[name]), areas[name], np.concatenate([np.zeros(0), *scores[name]]))
        for name in FEW_ORIGINALS
    }


def _judge(network: Verifier, calibrated: Calibration) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pictures: calibrated(network.answers(pictures))


def fold_figures(judged: Mapping[str, FoldJudgement], thresholds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Return the figures of the folds; their areas are averaged by how many recordings each has.

    Args:
        judged: by event.
        thresholds: of what is shipped.
    """
    figures = {}
    for name, judgement in judged.items():
        counts = [count for _, _, count in judgement.areas]
        total = max(sum(counts), 1)
        mean = sum(area * count for area, _, count in judgement.areas) / total
        beside = [(area, count) for _, area, count in judgement.areas if area is not None]
        figures[name] = {
            "folds": len(counts),
            "originals": judgement.originals,
            "positives": sum(counts),
            "auc": round(mean, 4) if counts else None,
            "auc_of_folds": [area for area, _, _ in judgement.areas],
            "auc_yamnet": round(sum(area * count for area, count in beside) / total, 4) if beside else None,
            "scores": sorted(round(float(score), 4) for score in judgement.scores),
            **_kept(judgement.scores, thresholds[name]),
        }
    return figures


def _kept(scores: np.ndarray, threshold: float) -> dict[str, Any]:
    kept = int((scores >= threshold).sum())
    return {"kept": kept, "kept_ci95": [round(end, 3) for end in rate_interval(kept, len(scores))]}


def baseline_areas(clips: Sequence[EvaluationClip], baseline: Baseline) -> dict[str, float | None]:
    """Return each event's area under the curve by the better of the baseline's choices, None without positives."""
    scores = np.stack([baseline(clip.sound) for clip in clips])
    choices = [verification.areas(clips, scores[:, choice]) for choice in range(scores.shape[1])]
    best: dict[str, float | None] = {}
    for name in catalogue.load().names:
        known = [area for choice in choices if (area := choice[name]) is not None]
        best[name] = max(known, default=None)
    return best


def _remembering(baseline: Baseline) -> Baseline:
    """Return a baseline that judges each recording once."""
    known: dict[bytes, np.ndarray] = {}

    def judge(pcm: np.ndarray) -> np.ndarray:
        key = hashlib.sha256(pcm.tobytes()).digest()
        if key not in known:
            known[key] = baseline(pcm)
        return known[key]

    return judge


def _genuine_and_suspects(
    device: _Device, recipe: Recipe, parts: Mapping[str, Sequence[Recording]], scorer: verification.ClipScorer
) -> list[Suspect]:
    """Return what thresholds are chosen from, all of the validation part: triggers, and clips around what is true."""
    clips = _clips(recipe, parts[splits.VALIDATION], splits.VALIDATION)
    return [
        *(one for one in device.suspects(splits.VALIDATION, _ALARMS_FROM, clips) if one.event in ALARMS),
        *(one for one in device.suspects(splits.VALIDATION, _OTHERS_FROM, clips) if one.event not in ALARMS),
        *verification.recording_suspects(clips, scorer),
    ]


class _Device:
    """The detector, and the scenes and clips that it triggers on."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        hours: float,
        cache_dir: Path,
        scorer: verification.ClipScorer,
        say: Callable[[str], None],
    ) -> None:
        try:
            self._points = json.loads((folder / "manifest.json").read_text())["operating_points"]
        except FileNotFoundError as error:
            raise HarkenError(f"{folder} holds no detector: run `harken quantize --model detector` first") from error
        self._detector = TflmScorer(folder / "detector.tflite")
        self._recipe, self._hours, self._cache_dir = recipe, hours, cache_dir
        self._scorer, self._say = scorer, say
        # of the scenes and of the clips of a part
        self._scores: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}

    def coded(self, part: str) -> Shards:
        """Return the scenes of a part through the clip codec."""
        return shards.load(replace(self._recipe, has_codec=True), part, self._hours, self._cache_dir, self._say)

    def suspects(self, part: str, sensitivity: str, clips: Sequence[EvaluationClip]) -> list[Suspect]:
        """Return the triggers over clips and over scenes of a part, judged; the clips are the same in every call."""
        self._say(f"{part}: judging the detector's triggers")
        coded = self.coded(part)
        if part not in self._scores:
            plain = shards.load(replace(self._recipe, has_codec=False), part, self._hours, self._cache_dir, self._say)
            of_scenes = [self._detector(scene) for scene in plain.steps()]
            self._scores[part] = (of_scenes, [self._detector(clip.steps()) for clip in clips])
        scene_scores, clip_scores = self._scores[part]
        return [
            *verification.clip_suspects(clips, clip_scores, self._points, sensitivity, self._scorer),
            *verification.scene_suspects(coded, scene_scores, self._points, sensitivity, self._scorer),
        ]


def _curves(run_dir: Path) -> dict[str, Any]:
    stages = [verifier_stages.SHARED, *(f"fold_{fold}" for fold in range(FOLDS)), verifier_stages.FINAL]
    paths = {stage: run_dir / stage / verifier.STATE_FILE for stage in stages}
    return {stage: json.loads(path.read_text())["curve"] for stage, path in paths.items() if path.exists()}


def _clips(recipe: Recipe, recordings: Sequence[Recording], part: str) -> list[EvaluationClip]:
    seed = recipe.seed * 100 + _PART_SEEDS[part]
    return evaluation_clips(recordings, rooms.simulated_rooms(seed, 16), seed)
