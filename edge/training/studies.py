"""What training is worth: figures over all originals by folds, with few labels, and with and without synthesis."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.dataset import rooms, shards, splits
from edge.dataset.manifest import Recording
from edge.dataset.mixtures import PlacedEvent
from edge.dataset.shards import Recipe, Shards
from edge.errors import HarkenError
from edge.evaluation import judge, operating_points
from edge.evaluation.clips import EvaluationClip, evaluation_clips
from edge.evaluation.metrics import count_interval, rate_interval
from edge.training import detector, heads, pseudo_labelling, runs
from edge.training.clip_shards import FEW_ORIGINALS, fold_of_originals
from edge.training.clip_shards import FOLDS as FOLDS_COUNT
from edge.training.network import DetectorNetwork, clip_scores, load_network, scores, trunk_outputs
from edge.training.stages import Work, as_figures, pretrained_trunk
from edge.training.teacher import Teacher, scores_of
from edge.training.withholding import withhold

# rate of a fold's training, which goes on from one that has heard no recording of the events of few originals
_FOLD_RATE = 1.5e-3
CURVE_EVENTS = ("smoke_alarm", "baby_cry", "dog_bark")
_LABELLED_SHARE = 0.1
_FOLD_VALIDATION_HOURS = 1.0
_ROOMS_OF_CLIPS = 16
_CLIP_SEED = 23

FOLDS, CURVE, ABLATION = "folds", "curve", "ablation"


@dataclass
class _Tally:
    """One event's figures over several folds."""

    positives: int = 0
    hits: int = 0
    false_triggers: int = 0
    hours: float = 0.0
    area_by_positives: float = 0.0

    def add(self, stretches: Sequence[operating_points.ScoredStretch], event: str, threshold: int) -> None:
        rule = operating_points.rule_without_cadence(event)
        hits, positives = operating_points.recall(stretches, threshold, rule)
        self.hits += hits
        self.positives += positives
        self.false_triggers += operating_points.false_triggers(stretches, threshold, rule)
        self.hours += sum(stretch.negative_hours for stretch in stretches)
        if positives:
            self.area_by_positives += positives * judge.clip_area(stretches, event)

    def figures(self) -> dict[str, Any]:
        return {
            "positives": self.positives,
            "auc": self.area_by_positives / self.positives if self.positives else None,
            "hits": self.hits,
            "recall": self.hits / self.positives if self.positives else None,
            "recall_ci95": [round(end, 3) for end in rate_interval(self.hits, self.positives)],
            "false_triggers": self.false_triggers,
            "negative_hours": self.hours,
            "false_per_hour": self.false_triggers / self.hours if self.hours else None,
            "false_per_hour_ci95": [
                round(end / max(self.hours, 1e-9), 2) for end in count_interval(self.false_triggers)
            ],
        }


def folds(work: Work, hours: float, epochs: int) -> dict[str, Any]:
    """Judge the events of few originals on every original but those that thresholds come from.

    One detector is taught with no recording of these events, only with made ones: where a recorded one sounds, nothing
    is asked. It begins from the pre-trained trunk, which has heard sound without labels. From there one detector for
    each fold goes on with the recorded ones as well, except those of its fold's originals. It is judged on those and
    on its share of the held-out part's other recordings. Thresholds come from the validation part, whose originals
    are not judged. The folds are the verifier's.

    Returns:
        By event: positives, hits, recall with interval, false triggers over the held-out part's recordings without the
        event, and the area under the curve (the folds' mean by positives); float networks, without cadence.
    """
    parts = shards.recordings_of_parts(work.recipe)
    training, validation = work.scenes(hours)
    checked, clips = _clips(work.recipe, parts[splits.VALIDATION]), _judged_clips(work, parts)
    everyone = [recording for recordings in parts.values() for recording in recordings]
    fold_of = {name: fold_of_originals(everyone, name, work.recipe.split.salt) for name in FEW_ORIGINALS}
    tallies = {name: _Tally() for name in FEW_ORIGINALS}
    for index in range(FOLDS_COUNT):
        network = _fold_network(work, training, validation, epochs, index, fold_of)
        points = judge.choose_operating_points(
            checked, _scores(network, checked), validation, list(scores(network, validation.steps()) * 255)
        )
        own = [
            clip
            for position, (original, clip) in enumerate(clips)
            if _is_judged(index, position, original, clip, fold_of)
        ]
        given = _scores(network, own)
        for name, tally in tallies.items():
            tally.add(judge.clip_stretches(own, given, name), name, points[name]["normal"])
        work.say(f"fold {index + 1} of {FOLDS_COUNT} judged on {len(own)} clips")
    figures = {
        "folds": FOLDS_COUNT,
        "hours": training.hours,
        "passes": [epochs, _fold_epochs(epochs)],
        "events": {name: as_figures(tally.figures()) for name, tally in tallies.items()},
    }
    _keep(work, FOLDS, figures)
    return figures


def synthesis_ablation(work: Work, hours: float, epochs: int, events: Sequence[str]) -> dict[str, Any]:
    """Compare heads taught with and without synthesised sounds of their event, on recordings of which none was taught.

    Heads only: both are trained on one trunk, that of a fold, which had heard synthesised sounds. What synthesis does
    to the trunk is not seen here.

    Args:
        work: where `folds` was run.
        hours: of scenes to teach the heads.
        epochs: passes over them.
        events: of few originals, whose sounds are synthesised or not.

    Raises:
        HarkenError: an event has no folds, or their trunks are not there yet.
    """
    unknown = set(events) - set(FEW_ORIGINALS)
    if unknown:
        raise HarkenError(f"{', '.join(sorted(unknown))}: folds are made of {', '.join(FEW_ORIGINALS)} only")
    tallies = {arm: {name: _Tally() for name in events} for arm in ("recorded and made", "recorded only")}
    trunks = [runs.load_weights(_fold_folder(work, index), FOLDS) for index in range(FOLDS_COUNT)]
    parts = shards.recordings_of_parts(work.recipe)
    training = shards.load(work.training_recipe(), splits.TRAIN, hours, work.scenes_dir, work.say)
    clips = _judged_clips(work, parts)
    everyone = [recording for recordings in parts.values() for recording in recordings]
    fold_of = {name: fold_of_originals(everyone, name, work.recipe.split.salt) for name in FEW_ORIGINALS}
    for index, trunk in enumerate(trunks):
        network = load_network(trunk)
        own = [
            clip
            for position, (original, clip) in enumerate(clips)
            if _is_judged(index, position, original, clip, fold_of)
        ]
        # a clip's features are the same for both arms
        steps = [clip.steps() for clip in own]
        outputs = trunk_outputs(network, training.steps()).astype(np.float16)
        without_fold = withhold(training.labels, training.events, _is_of_fold(index, fold_of))
        for arm, by_event in tallies.items():
            is_withheld = _is_made(events) if arm == "recorded only" else _nothing
            labels = withhold(without_fold, training.events, is_withheld)
            heads.train_heads(network, outputs, labels, heads.HeadRule(epochs=epochs))
            given = [np.minimum(score, 255) for score in clip_scores(network, steps)]
            for name, tally in by_event.items():
                # one threshold for both arms says little about either: the area is what is compared
                tally.add(judge.clip_stretches(own, given, name), name, 128)
        work.say(f"trunk {index + 1} of {FOLDS_COUNT}: heads taught with and without")
    figures = {
        arm: {
            name: as_figures({"positives": tally.positives, "auc": tally.figures()["auc"]})
            for name, tally in by_event.items()
        }
        for arm, by_event in tallies.items()
    }
    _keep(work, ABLATION, figures)
    return figures


def label_curve(work: Work, hours: float, epochs: int, teacher_path: Path) -> dict[str, Any]:
    """Compare what a tenth of the labels is worth alone, and with pre-training and a teacher's labels for the rest.

    Of the originals of each of `CURVE_EVENTS` a tenth keeps its labels. In the arm "labels alone" nothing is asked
    where others sound, and the trunk begins at random. In the arm "pre-trained and pseudo-labels" the trunk begins as
    `pretrain` left it, and an original of which the teacher alone would have said the event keeps its label too. In
    "all labels" nothing is withheld. Synthesised alarms are withheld from the smoke head in all but the last. Judged
    on the held-out part.
    """
    teacher = Teacher(teacher_path)
    recordings = shards.recordings_of_parts(work.recipe)[splits.TRAIN]
    of_events = [recording for recording in recordings if recording.label in CURVE_EVENTS]
    heard = scores_of(of_events, teacher, work.folder / "teacher")
    rule = pseudo_labelling.PseudoLabelRule()
    originals: dict[str, set[str]] = {name: set() for name in CURVE_EVENTS}
    recognised: dict[str, set[str]] = {name: set() for name in CURVE_EVENTS}
    for recording in of_events:
        originals[recording.label].add(recording.original_id)
        if pseudo_labelling.is_recognised(recording, heard[recording.path], rule):
            recognised[recording.label].add(recording.original_id)
    labelled = {name: _some_of(sorted(found), _LABELLED_SHARE, work.recipe.seed) for name, found in originals.items()}
    training, validation = work.scenes(hours)
    clips = _clips(work.recipe, shards.recordings_of_parts(work.recipe)[splits.HELD_OUT])
    judged_scenes = shards.load(work.recipe, splits.HELD_OUT, _FOLD_VALIDATION_HOURS, work.scenes_dir, work.say)
    arms: dict[str, tuple[Callable[[PlacedEvent], bool], dict[str, np.ndarray]]] = {
        "labels alone": (_is_not_of(labelled), {}),
        "pre-trained and pseudo-labels": (
            _is_not_of({name: labelled[name] | recognised[name] for name in CURVE_EVENTS}),
            pretrained_trunk(work),
        ),
        "all labels": (_nothing, {}),
    }
    figures: dict[str, Any] = {
        "originals": {
            name: {
                "of the training part": len(originals[name]),
                "labelled": len(labelled[name]),
                "pseudo-labelled": len(recognised[name] - labelled[name]),
            }
            for name in CURVE_EVENTS
        },
        "arms": {},
    }
    for arm, (is_withheld, start_from) in arms.items():
        labels = withhold(training.labels, training.events, is_withheld)
        folder = work.folder / CURVE / arm.replace(" ", "_")
        detector_rule = detector.DetectorRule(seed=work.recipe.seed, epochs=epochs, long_epochs=1)
        weights = detector.train(
            replace(training, labels=labels), validation, detector_rule, folder, work.say, start_from
        )
        network = load_network(weights)
        given = _scores(network, clips)
        in_scenes = detector.validate(network, judged_scenes)
        figures["arms"][arm] = {}
        for name in CURVE_EVENTS:
            stretches = judge.clip_stretches(clips, given, name)
            figures["arms"][arm][name] = as_figures(
                {
                    "positives": sum(stretch.is_positive for stretch in stretches),
                    "auc": judge.clip_area(stretches, name),
                    "scenes_auc": in_scenes["areas"][name],
                    "scenes_recall": in_scenes["recalls"][name],
                }
            )
        _keep(work, CURVE, figures)
    return figures


def as_table(figures: Mapping[str, Any], indent: int = 0) -> str:
    """Return nested figures as indented lines."""
    lines = []
    for name, value in figures.items():
        if isinstance(value, Mapping) and any(isinstance(inner, Mapping) for inner in value.values()):
            lines += [f"{'  ' * indent}{name}:", as_table(value, indent + 1)]
        elif isinstance(value, Mapping):
            lines.append(f"{'  ' * indent}{name}: " + ", ".join(f"{key} {inner}" for key, inner in value.items()))
        else:
            lines.append(f"{'  ' * indent}{name}: {value}")
    return "\n".join(lines)


def _fold_network(
    work: Work, training: Shards, validation: Shards, epochs: int, index: int, fold_of: Mapping[str, Mapping[str, int]]
) -> DetectorNetwork:
    """Train a fold's network, after the one that all folds begin from, unless either has been trained already."""
    few = set(FEW_ORIGINALS)
    rule = detector.DetectorRule(seed=work.recipe.seed, epochs=epochs, long_epochs=1)
    labels = withhold(training.labels, training.events, lambda event: event.name in few and bool(event.originals))
    shared = detector.train(
        replace(training, labels=labels),
        validation,
        rule,
        work.folder / FOLDS / "shared",
        work.say,
        pretrained_trunk(work),
    )
    labels = withhold(training.labels, training.events, _is_of_fold(index, fold_of))
    rule = replace(rule, epochs=_fold_epochs(epochs), rate=_FOLD_RATE)
    taught = detector.train(
        replace(training, labels=labels), validation, rule, _fold_folder(work, index), work.say, shared
    )
    return load_network(taught)


def _fold_epochs(epochs: int) -> int:
    return max(1, epochs // 4)


def _fold_folder(work: Work, index: int) -> Path:
    return work.folder / FOLDS / f"fold_{index}"


def _is_of_fold(index: int, fold_of: Mapping[str, Mapping[str, int]]) -> Callable[[PlacedEvent], bool]:
    return lambda event: any(fold_of.get(event.name, {}).get(original) == index for original in event.originals)


def _judged_clips(work: Work, parts: Mapping[str, Sequence[Recording]]) -> list[tuple[str, EvaluationClip]]:
    """Return clips with their originals: the few events' of training and held-out part, and the latter's others."""
    few = [one for one in parts[splits.TRAIN] if one.label in FEW_ORIGINALS and one.use == "positive"]
    original_of = {
        f"{one.path.parent.name}/{one.path.name}": one.original_id for one in (*few, *parts[splits.HELD_OUT])
    }
    clips = _clips(work.recipe, [*few, *parts[splits.HELD_OUT]])
    return [
        (original_of.get(clip.name.removeprefix("walk of "), ""), clip) for clip in clips if not clip.is_synthesised
    ]


def _is_judged(
    index: int, position: int, original: str, clip: EvaluationClip, fold_of: Mapping[str, Mapping[str, int]]
) -> bool:
    """Say whether a fold judges a clip: its own originals, and every so manieth of the other recordings."""
    of_label = fold_of.get(clip.label)
    return of_label[original] == index if of_label and original in of_label else position % FOLDS_COUNT == index


def _clips(recipe: Recipe, recordings: Sequence[Any]) -> list[EvaluationClip]:
    seed = recipe.seed * 100 + _CLIP_SEED
    return evaluation_clips(recordings, rooms.simulated_rooms(seed, _ROOMS_OF_CLIPS), seed)


def _scores(network: DetectorNetwork, clips: Sequence[EvaluationClip]) -> list[np.ndarray]:
    """Return scores of 0–255 as the device gives them, of the float network."""
    return [np.minimum(given, 255) for given in clip_scores(network, [clip.steps() for clip in clips])]


def _some_of(originals: Sequence[str], share: float, seed: int) -> set[str]:
    count = max(1, round(share * len(originals)))
    chosen = np.random.default_rng((seed, 41)).permutation(len(originals))[:count]
    return {originals[index] for index in chosen}


def _is_not_of(kept: Mapping[str, set[str]]) -> Callable[[PlacedEvent], bool]:
    return lambda event: event.name in kept and not (event.originals and set(event.originals) <= kept[event.name])


def _is_made(events: Sequence[str]) -> Callable[[PlacedEvent], bool]:
    return lambda event: event.name in events and not event.originals


def _nothing(_: PlacedEvent) -> bool:
    return False


def _keep(work: Work, stage: str, figures: Mapping[str, Any]) -> None:
    folder = work.folder / stage
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(figures, indent=1))
