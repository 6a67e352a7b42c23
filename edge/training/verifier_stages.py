"""The verifier's whole training: what every event shares, the folds of those of few originals, what is shipped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge import catalogue
from edge.dataset import splits
from edge.dataset.shards import Recipe
from edge.training import clip_mining, clip_shards, report, verifier
from edge.training.clip_mixtures import ClipRule
from edge.training.clip_shards import FEW_ORIGINALS, FOLDS, ClipRecipe, Clips
from edge.training.teacher import Teacher
from edge.training.verifier import VerifierRule

SHARED, FINAL = "shared", "final"


@dataclass(frozen=True)
class StagesRule:
    """How the stages are trained.

    Attributes:
        shared: without any recording of the events of few originals.
        final_epochs: passes of what is shipped, from the shared weights on.
        fold_epochs: the same for each fold.
        fine_rate: learning rate of both.
        others: for each clip that holds a recording of few originals, how many that hold none come along in a fold;
            those first that a teacher has heard.
        final_others: the same in what is shipped.
        is_last_only: whether only the last layers learn in both.
        fine_teacher_weight: how much repeating the teacher counts in both.
        goes_on_from: digest of the committed verifier that the final training goes on from, with all clips, instead of
            from the shared weights with some; empty where it does not.
    """

    shared: VerifierRule = field(default_factory=VerifierRule)
    final_epochs: int = 3
    fold_epochs: int = 1
    fine_rate: float = 1e-3
    others: float = 0.8
    final_others: float = 1.2
    is_last_only: bool = False
    fine_teacher_weight: float = 1.0
    goes_on_from: str = ""

    def fine(self, epochs: int) -> VerifierRule:
        """Return the rule of a training that goes on from the shared weights."""
        return replace(
            self.shared,
            teacher_epochs=0,
            epochs=epochs,
            event_rate=self.fine_rate,
            teacher_weight=self.fine_teacher_weight,
            is_last_only=self.is_last_only,
        )


def stages_rule(
    seed: int, epochs: int, has_teacher: bool, committed: Path | None = None, start: Path | None = None
) -> StagesRule:
    """Return the rule of a training with so many passes for the events.

    Before these come a third as many for the teacher alone, where there is one and the weights are random.

    Args:
        seed: of everything drawn.
        epochs: see above.
        has_teacher: whether there is a teacher.
        committed: the verifier that the final training goes on from, or None.
        start: weights that all stages begin with instead of random ones, or None.
    """
    is_taught_first = has_teacher and start is None
    shared = VerifierRule(seed=seed, teacher_epochs=(epochs + 2) // 3 if is_taught_first else 0, epochs=epochs)
    if committed is None:
        return StagesRule(shared)
    return StagesRule(shared, final_epochs=5, goes_on_from=_digest(committed))


@dataclass(frozen=True)
class Sources:
    """What the clips of a training come from.

    Attributes:
        recipe: of scenes and of clips.
        hours: of scenes that clips are cut from.
        clips: made on their own besides those.
        teacher: asked about each of them, or None.
        detector: what clips are cut around the triggers of; None: wherever one may trigger.
    """

    recipe: Recipe
    hours: float
    clips: int
    teacher: Teacher | None = None
    detector: clip_mining.Triggering | None = None


def run(
    sources: Sources,
    rule: StagesRule,
    work_dir: Path,
    say: Callable[[str], None],
    start: Path | None = None,
    committed: Path | None = None,
) -> Path:
    """Make the clips that are missing and train all stages in `work_dir`/verifier; return the weights to ship.

    Args:
        sources: of the clips.
        rule: how to train.
        work_dir: for scenes, clips and the training.
        say: is told of what is made and of every epoch.
        start: weights of an earlier training to begin with.
        committed: the verifier that the final training goes on from, or None.

    Raises:
        HarkenError: see `verifier.train`.
    """
    folder = work_dir / "verifier"
    recipe = sources.recipe
    gathered = clip_shards.gather(ClipRecipe(recipe), sources.hours, sources.clips, work_dir, sources.teacher, say)
    if sources.detector is not None:
        # of these scenes by this detector: other ones are mined into a folder of their own
        folder_of_mined = work_dir / "mined" / f"{sources.detector.digest}-{recipe.digest()}"
        mined = {
            part: clip_mining.make_missing(recipe, part, scenes, sources.detector, folder_of_mined, say)
            for part, scenes in gathered.scenes.items()
        }
        gathered = replace(gathered, mined=mined)
    gathered.save(folder)
    report.save_provenance(folder, provenance(sources, rule, start))
    training, validation = (gathered.clips(part, recipe) for part in (splits.TRAIN, splits.VALIDATION))
    return train(training, validation, rule, folder, say, start, committed)


def provenance(sources: Sources, rule: StagesRule, start: Path | None) -> dict[str, Any]:
    """Return what a verifier is trained from: as for any model, and its clips, its teacher and its beginning."""
    content = report.provenance(sources.recipe, sources.hours, rule)
    content["training"] |= {
        "clips": sources.clips,
        "clip_rule": asdict(ClipRule()),
        "teacher": sources.teacher.digest if sources.teacher else None,
        "mined_by": sources.detector.digest if sources.detector else None,
        "began_from": _digest(start) if start else None,
        "heard_of_other_parts": list(FEW_ORIGINALS),
    }
    return content


def train(
    clips: Clips,
    validation: Clips,
    rule: StagesRule,
    folder: Path,
    say: Callable[[str], None],
    start: Path | None = None,
    committed: Path | None = None,
) -> Path:
    """Train all stages, or go on where `folder` was left; return the file of the weights to ship.

    Args:
        clips: of the training part, with the recordings of few originals of all parts.
        validation: of the validation part; nothing hangs on it here.
        rule: how.
        folder: for the stages' states.
        say: is told of every epoch.
        start: weights to begin with instead of random ones.
        committed: a verifier's .tflite that the final training goes on from, with all clips; None: from the shared
            weights, as the folds do. The folds never do so: it has heard their originals.

    Raises:
        HarkenError: see `verifier.train`.
    """
    if committed is not None:
        say(f"final, from {committed}: {len(clips)} clips")
        final = verifier.train(clips, validation, rule.fine(rule.final_epochs), folder / FINAL, say, start=committed)
    say(f"shared: {int((clips.groups == 0).sum())} clips")
    shared = verifier.train(clips.of(clips.groups == 0), validation, rule.shared, folder / SHARED, say, start)
    for fold in range(FOLDS):
        chosen = fine_clips(clips, fold, rule.others, rule.shared.seed)
        say(f"fold {fold + 1} of {FOLDS}: {len(chosen)} clips")
        fold_rule = rule.fine(rule.fold_epochs)
        verifier.train(clips.of(chosen), validation, fold_rule, folder / f"fold_{fold}", say, start=shared)
    if committed is not None:
        return final
    chosen = fine_clips(clips, None, rule.final_others, rule.shared.seed)
    say(f"final: {len(chosen)} clips")
    return verifier.train(clips.of(chosen), validation, rule.fine(rule.final_epochs), folder / FINAL, say, start=shared)


def fine_clips(clips: Clips, fold: int | None, others: float, seed: int) -> np.ndarray:
    """Return the indices of the clips of a fold, none of which holds an original of it, or of the final training.

    They are as many as hold a recording of few originals, drawn so that originals with many clips prevail less, and
    `others` times as many that hold none, those first that a teacher has heard.
    """
    bits = 0 if fold is None else clip_shards.bits_of_fold(fold)
    few = np.flatnonzero((clips.groups != 0) & ((clips.groups & bits) == 0))
    rest = np.flatnonzero(clips.groups == 0)
    rng = np.random.default_rng((seed, 400, FOLDS if fold is None else fold))
    _, group, sizes = np.unique(clips.groups[few], return_inverse=True, return_counts=True)
    # between clips alike (1) and groups of originals alike (1 / size)
    weights = 1 / np.sqrt(sizes[group])
    drawn = rng.choice(few, len(few), p=weights / weights.sum())
    taught_first = np.lexsort((rng.random(len(rest)), ~clips.is_taught[rest]))
    chosen = rest[taught_first[: round(others * len(few))]]
    return np.sort(np.concatenate([drawn, chosen]))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def out_of_fold_answers(clips: Clips, folder: Path, seed: int) -> dict[str, list[np.ndarray]]:
    """Return, for each event of few originals, what the folds say of recorded clips of it that they have not heard.

    Args:
        clips: those that the folds were trained from.
        folder: of the training.
        seed: of the network.

    Returns:
        By event and fold: answers float[clips, events + evidence] (`Verifier.answers`).
    """
    names = catalogue.load().names
    found: dict[str, list[np.ndarray]] = {name: [] for name in FEW_ORIGINALS}
    network = verifier.Verifier(seed)
    for fold in range(FOLDS):
        network.load(folder / f"fold_{fold}" / verifier.WEIGHTS_FILE)
        # all that it holds of few originals is of this fold: nothing else in it was heard either
        bits = clip_shards.bits_of_fold(fold)
        unheard = np.flatnonzero(((clips.groups & bits) != 0) & ((clips.groups & ~bits) == 0))
        answers = network.answers(clips.features[unheard])
        for name in FEW_ORIGINALS:
            found[name].append(answers[clips.target[unheard, names.index(name)]])
    return found
