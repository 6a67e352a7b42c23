"""The stages of the detector's training, in the order in which they are run, and what each leaves for the next."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.dataset import pseudo_labels, shards, splits
from edge.dataset.shards import Recipe, Shards
from edge.training import (
    detector,
    heads,
    network,
    pretraining,
    pseudo_labelling,
    repetition,
    report,
    run_report,
    runs,
    withholding,
)
from edge.training.teacher import Teacher, scores_of

PSEUDO, PRETRAIN, DETECTOR = "pseudo", "pretrain", "detector"
# the validation part is small: this many hours of its scenes say what it has to say
_VALIDATION_HOURS = 2.0


@dataclass(frozen=True)
class Work:
    """Where and on what the stages work.

    Attributes:
        recipe: of the scenes, without pseudo-labels.
        folder: for scenes, checkpoints and reports.
        threads: that TensorFlow has, for the report.
        say: is told what happens.
    """

    recipe: Recipe
    folder: Path
    threads: int
    say: Callable[[str], None]

    @property
    def scenes_dir(self) -> Path:
        """Scenes of all recipes."""
        return self.folder / "scenes"

    def training_recipe(self) -> Recipe:
        """Return the recipe of scenes to learn from: with pseudo-labels where that stage was run."""
        path = self.folder / PSEUDO / pseudo_labels.PSEUDO_LABELS_FILE
        recipe = replace(self.recipe, mixture=self.recipe.mixture.for_training())
        return replace(recipe, pseudo_labels=pseudo_labels.load(path)) if path.exists() else recipe

    def scenes(self, hours: float) -> tuple[Shards, Shards]:
        """Return scenes to learn from and scenes to choose by; those missing are made."""
        validation_hours = min(_VALIDATION_HOURS, hours)
        validation = shards.load(self.recipe, splits.VALIDATION, validation_hours, self.scenes_dir, self.say)
        return shards.load(self.training_recipe(), splits.TRAIN, hours, self.scenes_dir, self.say), validation


def label_by_teacher(work: Work, teacher_path: Path) -> Path:
    """Let the teacher listen to the recordings of the training part; return the file of its labels.

    Raises:
        HarkenError: there is no such teacher.
    """
    teacher = Teacher(teacher_path)
    recordings = shards.recordings_of_parts(work.recipe)[splits.TRAIN]
    unsure = [one for one in recordings if one.label in pseudo_labelling.UNSURE_LABELS]
    work.say(f"the teacher hears {len(unsure)} recordings")
    rule = pseudo_labelling.PseudoLabelRule()
    heard = pseudo_labelling.pseudo_labels(unsure, scores_of(unsure, teacher, work.folder / "teacher"), rule)
    seconds = pseudo_labelling.seconds_by_event(heard)
    path = work.folder / PSEUDO / pseudo_labels.PSEUDO_LABELS_FILE
    pseudo_labels.save(path, heard, {"teacher": teacher.digest, "sure": rule.sure, "unsure": rule.unsure})
    listed = ", ".join(
        f"{event} {kinds['sure']:g} s sure, {kinds['unsure']:g} s not" for event, kinds in seconds.items()
    )
    work.say(f"{len(heard)} of {len(unsure)} hold something of ours: {listed}")
    return path


def pretrain(work: Work, hours: float, rule: pretraining.PretrainingRule) -> Path:
    """Teach the trunk to foretell the scenes' sound; return the folder of the training."""
    folder = work.folder / PRETRAIN
    training, validation = work.scenes(hours)
    pretraining.pretrain(training, validation, rule, folder, work.say)
    run_report.write(folder, PRETRAIN, training.hours, runs.load_state(folder), work.threads)
    return folder


def train_detector(
    work: Work,
    hours: float,
    rule: detector.DetectorRule,
    start: Path | None = None,
    also: Path | None = None,
    verifier: Path | None = None,
    also_unasked: Sequence[str] = (),
) -> Path:
    """Train trunk and heads and return the folder of the training.

    Args:
        work: where and on what.
        hours: of scenes to learn from.
        rule: how.
        start: weights of an earlier training (`weights.npz` of its folder) to go on from; else the pre-trained trunk
            where there is one.
        also: a folder with shards of the training part that an earlier recipe has made, heard as well.
        verifier: a verifier's .tflite whose answers are repeated, as far as the rule says.
        also_unasked: events whose heads are asked nothing in `also`, because what is asked of them has changed since.
    """
    folder = work.folder / DETECTOR
    recipe = work.training_recipe()
    start_from = runs.load_weights(start, DETECTOR) if start else pretrained_trunk(work)
    beginning = f"the weights in {start}" if start else "the pre-trained trunk" if start_from else "random weights"
    told = f"pseudo-labels {recipe.pseudo_labels.digest}" if recipe.pseudo_labels.digest else "no pseudo-labels"
    work.say(f"training from {beginning}, with {told}")
    training, validation = work.scenes(hours)
    if also:
        training = shards.joined([training, withholding.unasked(shards.read(also, splits.TRAIN), also_unasked)])
    if verifier:
        training = repetition.with_answers(training, _coded(work, hours, also), verifier)
    provenance = report.provenance(recipe, training.hours, rule)
    provenance["training"] |= {
        "began_from": _digest(start_from) if start else None,
        "pretrained_trunk": _digest(pretrained_trunk(work)),
        "earlier_scenes": also.resolve().name if also else None,
        "not_asked_in_earlier_scenes": list(also_unasked),
        "pseudo_labels": recipe.pseudo_labels.digest or None,
        "scenes": recipe.digest(),
        "repeated_verifier": hashlib.sha256(verifier.read_bytes()).hexdigest()[:12] if verifier else None,
    }
    report.save_provenance(folder, provenance)
    detector.train(training, validation, rule, folder, work.say, start_from)
    run_report.write(folder, DETECTOR, training.hours, runs.load_state(folder), work.threads)
    return folder


def train_heads_alone(work: Work, hours: float, events: Sequence[str], rule: heads.HeadRule, start: Path) -> Path:
    """Train new heads for `events` on the detector in `start`, of which all else stays; return the training's folder.

    Args:
        work: where and on what.
        hours: of scenes to learn from.
        events: whose heads are replaced.
        rule: how.
        start: folder of a finished training.
    """
    folder = work.folder / DETECTOR
    recipe = work.training_recipe()
    before = runs.load_weights(start, DETECTOR)
    work.say(f"heads of {', '.join(events)} on the trunk in {start}")
    training, validation = work.scenes(hours)
    weights, losses = heads.with_new_heads(before, training, events, rule)
    figures = detector.validate(network.load_network(weights), validation)
    provenance = report.provenance(recipe, training.hours, rule)
    provenance["training"] |= {
        "began_from": _digest(before),
        "heads_alone": list(events),
        "all_else": report.load_provenance(start)["training"],
        "pseudo_labels": recipe.pseudo_labels.digest or None,
        "scenes": recipe.digest(),
    }
    report.save_provenance(folder, provenance)
    curve: list[dict[str, Any]] = [{"loss": loss} for loss in losses]
    curve[-1] |= figures
    detector.keep(folder, weights, training.steps(), curve)
    listed = " ".join(f"{event}={figures['areas'][event]:.3f}/{figures['recalls'][event]:.2f}" for event in events)
    work.say(f"{len(losses)} passes over {training.hours:.0f} h, loss {losses[0]:.4f} to {losses[-1]:.4f}: {listed}")
    return folder


def _coded(work: Work, hours: float, also: Path | None) -> Shards:
    """Return the scenes to learn from as they are after the clip codec."""
    recipe = replace(work.training_recipe(), has_codec=True)
    coded = shards.load(recipe, splits.TRAIN, hours, work.scenes_dir, work.say)
    return shards.joined([coded, shards.read(also, splits.TRAIN, has_codec=True)]) if also else coded


def pretrained_trunk(work: Work) -> dict[str, np.ndarray]:
    """Return the weights that `pretrain` left, empty if it was not run."""
    folder = work.folder / PRETRAIN
    return runs.load_weights(folder, PRETRAIN) if runs.has_weights(folder) else {}


def _digest(weights: dict[str, np.ndarray]) -> str | None:
    if not weights:
        return None
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(np.ascontiguousarray(weights[name]).tobytes())
    return sha.hexdigest()[:16]


def as_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """Return figures with numbers rounded for people and JSON."""
    return {
        name: as_figures(value) if isinstance(value, dict) else round(value, 4) if isinstance(value, float) else value
        for name, value in figures.items()
    }
