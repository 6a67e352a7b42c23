"""From a finished training to a committed model: converted, judged on what it has not heard, described."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge import catalogue
from edge.dataset import heard, rooms, shards, splits
from edge.dataset.shards import Recipe, Shards
from edge.errors import HarkenError
from edge.evaluation import judge, measured_alarms
from edge.evaluation.clips import EvaluationClip, evaluation_clips
from edge.evaluation.float_detector import FLOAT_DETECTOR_FILE
from edge.evaluation.stages import Device
from edge.evaluation.verification import TfliteClipScorer
from edge.evaluation.yamnet import YamnetScorer
from edge.quantization import verifier
from edge.quantization.convert import convert_float_detector
from edge.quantization.detector import TflmScorer, agreement, quantize
from edge.training import detector, network, report

MODELS_DIR = Path(report.__file__).parent.parent / "models"
# thresholds are chosen over so many hours of validation scenes at least: a bound on a rate needs them
_HOURS_TO_CHOOSE_BY = 6.0
# float and int8 are compared step by step over this many of the held-out scenes
_COMPARED_SCENES = 20
# where the verifier's thresholds come from: the sensitivity with the most false triggers to remove
_SUSPECTS_FROM = "high"
_PART_SEEDS = {splits.VALIDATION: 21, splits.HELD_OUT: 22}


def deliver_detector(
    run_dir: Path, recipe: Recipe, judged_hours: float, cache_dir: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Convert the training in `run_dir` to `models/detector/`, judge it, and write its manifest and card.

    Operating points are chosen on the validation part, figures are taken on the held-out part.

    Returns:
        The manifest's content.

    Raises:
        HarkenError: there is no training, or the model does not fit the device.
    """
    weights, calibration, state = detector.load_training(run_dir)
    content = report.load_provenance(run_dir)
    model_path = MODELS_DIR / "detector" / "detector.tflite"
    model_path.parent.mkdir(parents=True, exist_ok=True)
    say(f"converting, calibrated over {len(calibration)} steps")
    quantisation = quantize(weights, calibration, model_path)
    quantisation["flash_bytes"] = network.flash_bytes(weights)
    convert_float_detector(weights, catalogue.load().names, model_path.with_name(FLOAT_DETECTOR_FILE))
    scorer = TflmScorer(model_path)
    parts = shards.recordings_of_parts(recipe)
    judged: dict[str, tuple[list[EvaluationClip], Shards]] = {}
    scores: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for part in (splits.VALIDATION, splits.HELD_OUT):
        clips = _clips(recipe, parts, part)
        hours = max(judged_hours, _HOURS_TO_CHOOSE_BY) if part == splits.VALIDATION else judged_hours
        scenes = shards.load(recipe, part, hours, cache_dir, say)
        say(f"{part}: {len(clips)} clips and {scenes.hours:.1f} h of scenes through TFLM")
        judged[part] = (clips, scenes)
        scores[part] = ([scorer(clip.steps()) for clip in clips], [scorer(scene) for scene in scenes.steps()])
    (clips, scenes), (clip_scores, scene_scores) = judged[splits.VALIDATION], scores[splits.VALIDATION]
    points = judge.choose_operating_points(clips, clip_scores, scenes, scene_scores)
    (clips, scenes), (clip_scores, scene_scores) = judged[splits.HELD_OUT], scores[splits.HELD_OUT]
    say("judging on the held-out part")
    exact = network.load_network(weights)
    float_scores = network.clip_scores(exact, [clip.steps() for clip in clips])
    names = catalogue.load().names
    auc_float = {name: _area(judge.clip_area(judge.clip_stretches(clips, float_scores, name), name)) for name in names}
    float_scenes = network.scores(exact, scenes.steps()[:_COMPARED_SCENES]) * 256
    events = judge.detector_figures(clips, clip_scores, scenes, scene_scores, points)
    curve = state["curve"]
    content["training"] |= {"epochs_done": len(curve), "curve": curve}
    content |= {
        "events": list(names),
        "head_versions": dict.fromkeys(names, 1),
        "operating_points": points,
        "input": {"shape": [1, 1, 80], "scale": 1 / 32, "zero_point": 0},
        "quantisation": quantisation,
        "figures": {
            "judged_on": "originals kept out of training, calibration and the choice of thresholds",
            "scene_hours": round(scenes.hours, 2),
            "events": events,
            "auc_float": auc_float,
            "int8_against_float": agreement(list(float_scenes), scene_scores[:_COMPARED_SCENES]),
        },
    }
    content["figures"] |= report.studied(run_dir.parent)
    heard.write(model_path.parent, [*parts[splits.TRAIN], *parts[splits.VALIDATION]])
    report.write(model_path, content, report.detector_card(content))
    return content


def add_studies(work_dir: Path) -> dict[str, Any]:
    """Put the figures of the stages folds, curve and ablation into the committed detector's manifest and card.

    Returns:
        The manifest's content.

    Raises:
        HarkenError: none of these stages has been run in `work_dir`.
    """
    studied = report.studied(work_dir)
    if not studied:
        raise HarkenError(f"{work_dir} holds no study: run `harken train --stage folds`, curve or ablation first")
    model_path = MODELS_DIR / "detector" / "detector.tflite"
    content = json.loads(model_path.with_name("manifest.json").read_text())
    content["figures"] |= studied
    report.write(model_path, content, report.detector_card(content))
    return dict(content)


def deliver_verifier(
    run_dir: Path,
    recipe: Recipe,
    judged_hours: float,
    cache_dir: Path,
    say: Callable[[str], None],
    baseline: Path | None = None,
) -> dict[str, Any]:
    """Deliver the verifier: `edge.quantization.verifier.deliver`, into `MODELS_DIR`; `baseline` is YAMNet's .tflite."""
    beside = YamnetScorer(baseline) if baseline else None
    return verifier.deliver(run_dir, MODELS_DIR, recipe, judged_hours, cache_dir, say, beside)


def choose_verifier_thresholds(
    recipe: Recipe, judged_hours: float, cache_dir: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Choose the committed verifier's thresholds anew: `edge.quantization.verifier.choose_again`, in `MODELS_DIR`."""
    return verifier.choose_again(MODELS_DIR, recipe, judged_hours, cache_dir, say)


def measure_alarms(device: Device, recipe: Recipe, hours: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Put what is asked of alarms with a measured beat (`edge.evaluation.measured_alarms`) into manifest and card.

    Returns:
        The manifest's content.

    Raises:
        HarkenError: there is no verifier, or no runtime for it.
    """
    model_path = MODELS_DIR / "verifier" / "verifier.tflite"
    content = verifier.committed(model_path)
    content["measured"] = measured_alarms.measure(device, TfliteClipScorer(model_path), recipe, hours, say)
    report.write(model_path, content, report.verifier_card(content))
    return content


def _clips(recipe: Recipe, parts: dict[str, list[Any]], part: str) -> list[EvaluationClip]:
    seed = recipe.seed * 100 + _PART_SEEDS[part]
    return evaluation_clips(parts[part], rooms.simulated_rooms(seed, 16), seed)


def _area(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
