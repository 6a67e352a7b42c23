"""Trains the verifier: first to repeat a teacher on every sound, then to know the events of the catalogue."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from edge import catalogue
from edge.errors import HarkenError
from edge.evaluation.metrics import area_under_curve, mean_area_of
from edge.training import verifier_network, verifier_recovery
from edge.training.clip_augmentation import AugmentationRule, augmented
from edge.training.clip_shards import LOGIT_SCALE, Clips
from edge.training.teacher import CLASSES
from edge.training.verifier_network import FEATURE_SCALE

WEIGHTS_FILE = "weights.npz"
STATE_FILE = "state.json"
_CHECKPOINT_FILE = "latest.npz"
# classes of the teacher that are evidence of an event count this much more than the other 500 when it is repeated
_EVENT_CLASS_WEIGHT = 10.0
# what the teacher is sure of counts up to so much more than what it rules out: whether there are bagpipes with a
# probability of one in ten thousand or in a million matters to nobody
_SURE_WEIGHT = 4.0
_SURE_FROM_LOGIT = -5.0
# updates over which the learning rate rises at the start of a stage
_WARM_UPDATES = 50


@dataclass(frozen=True)
class VerifierRule:
    """How the verifier is trained.

    Attributes:
        seed: of initial weights, order and augmentation.
        teacher_epochs: passes over all clips in which only the teacher is repeated; 0 without a teacher.
        epochs: passes after that, for the events.
        batch: clips in one update.
        rate: highest learning rate of the first passes, falling along a cosine; `event_rate` of the later ones.
        event_rate: see there.
        teacher_weight: how much repeating the teacher still counts while the events are learnt.
        is_last_only: whether only the last layers and the events' head learn, and nothing of a teacher.
        average: what is kept are weights averaged over about 1 / (1 - average) updates.
        augmentation: how clips are varied.
    """

    seed: int = 1
    teacher_epochs: int = 5
    epochs: int = 8
    batch: int = 64
    rate: float = 3e-3
    event_rate: float = 1.5e-3
    teacher_weight: float = 1.5
    average: float = 0.995
    is_last_only: bool = False
    augmentation: AugmentationRule = field(default_factory=AugmentationRule)


class Verifier:
    """The network in its parts.

    Attributes:
        backbone: float32[n, 400, 40, 1] to float32[n, 25, 256].
        last: that to the same shape.
        events: that to logits float32[n, events].
        teacher: that to float32[n, 4, 521], the teacher's logits, standardised.
    """

    def __init__(self, seed: int) -> None:
        tf.keras.utils.set_random_seed(seed)
        self.backbone = verifier_network.build_backbone()
        self.last = verifier_network.build_last_layers()
        self.events = verifier_network.build_event_head(len(catalogue.load()))
        self.teacher = verifier_network.build_teacher_head()
        self._run = tf.function(self._answers, autograph=False, reduce_retracing=True)

    @property
    def variables(self) -> list[tf.Variable]:
        """All that is saved, in a fixed order."""
        parts = (self.backbone, self.last, self.events, self.teacher)
        return [variable for part in parts for variable in part.variables]

    def logits(self, features: np.ndarray, batch: int = 128) -> np.ndarray:
        """Return tempered logits float32[n, events] of clips int8[n, 400, 40]."""
        return self.answers(features, batch)[:, : len(catalogue.load())]

    def answers(self, features: np.ndarray, batch: int = 128) -> np.ndarray:
        """Return tempered logits and evidence of clips int8[n, 400, 40]: float32[n, events + classes of `EVIDENCE`]."""
        parts = [
            self._run(tf.constant(features[start : start + batch, ..., None] / np.float32(FEATURE_SCALE))).numpy()
            for start in range(0, len(features), batch)
        ]
        return np.concatenate(parts)

    def save(self, path: Path, variables: Sequence[tf.Variable] | None = None) -> None:
        """Write the weights, or others of the same shapes, to `path`."""
        _save(path, self.variables if variables is None else variables)

    def load(self, path: Path) -> None:
        """Take the weights of `path`.

        Raises:
            HarkenError: the file is missing or of another network.
        """
        _load(path, self.variables)

    def _answers(self, x: tf.Tensor) -> tf.Tensor:
        steps = self.last(self.backbone(x, training=False), training=False)
        said = tf.gather(self.teacher(steps), verifier_network.EVIDENCE, axis=2)
        logits = verifier_network.tempered(self.events(steps, training=False))
        return tf.concat([logits, tf.reduce_max(said, axis=1)], axis=1)


def train(
    clips: Clips,
    validation: Clips,
    rule: VerifierRule,
    folder: Path,
    say: Callable[[str], None],
    start: Path | None = None,
) -> Path:
    """Train, or go on with the training that `folder` holds; return the file of the last epoch's averaged weights.

    A training that goes on may have more clips than it began with.

    Args:
        clips: to train on; with the teacher's logits where `rule` has it repeated.
        validation: to print areas on; no choice hangs on them.
        rule: how.
        folder: for the state after each epoch.
        say: is told of every epoch.
        start: weights to begin with instead of random ones, or a committed .tflite.

    Raises:
        HarkenError: `folder` holds a training by another rule, there are too few clips, or the loss is no number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if len(clips) < rule.batch:
        raise HarkenError(f"{len(clips)} clips are fewer than one batch of {rule.batch}: make more")
    if rule.teacher_epochs and not clips.is_taught.any():
        raise HarkenError("the clips hold nothing of a teacher: name one with --teacher, or train without")
    verifier = Verifier(rule.seed)
    if start is not None and start.suffix == ".tflite":
        verifier_recovery.take_over(verifier.backbone, verifier.last, verifier.events, start, clips)
    elif start is not None:
        verifier.load(start)
    curve: list[dict[str, object]] = []
    trainer = _Trainer(verifier, clips, rule)
    state_path, checkpoint_path = folder / STATE_FILE, folder / _CHECKPOINT_FILE
    if state_path.exists():
        state = json.loads(state_path.read_text())
        # only the number of epochs may change
        if state["rule"] | {"epochs": rule.epochs} != asdict(rule):
            raise HarkenError(f"{folder} holds a training by another rule: pass --restart or another --work-dir")
        curve = state["curve"]
        _load(checkpoint_path, trainer.variables)
    elif start is not None and start.suffix == ".tflite" and clips.is_taught.any():
        trainer.fit_teacher_head()
    for epoch in range(len(curve), rule.teacher_epochs + rule.epochs):
        started = time.monotonic()
        is_for_events = epoch >= rule.teacher_epochs
        losses = trainer.epoch(epoch, is_for_events)
        if not np.isfinite(losses).all():
            raise HarkenError(f"the loss became {losses} in epoch {epoch + 1}: lower the learning rate")
        entry: dict[str, object] = {"clips": len(clips), "event_loss": losses[0], "teacher_loss": losses[1]}
        line = f"teacher {losses[1]:.4f}"
        if is_for_events:
            with trainer.averaged():
                areas = clip_areas(verifier.logits(validation.features), validation.target, validation.asked)
            entry |= {"areas": areas, "mean_area": mean_area_of(areas)}
            listed = " ".join(f"{name}={area:.3f}" for name, area in areas.items())
            line = f"events {losses[0]:.4f}, {line}, AUC {mean_area_of(areas):.4f}: {listed}"
        curve.append(entry)
        verifier.save(folder / WEIGHTS_FILE, trainer.average_variables)
        _save(checkpoint_path, trainer.variables)
        state_path.write_text(json.dumps({"rule": asdict(rule), "curve": curve}, indent=1))
        total = rule.teacher_epochs + rule.epochs
        say(f"epoch {epoch + 1} of {total} ({time.monotonic() - started:.0f} s): {line}")
    return folder / WEIGHTS_FILE


def clip_areas(logits: np.ndarray, target: np.ndarray, asked: np.ndarray) -> dict[str, float]:
    """Return each event's area under the curve over the clips that are asked; all arrays [n, events]."""
    return {
        name: area_under_curve(logits[asked[:, index], index], target[asked[:, index], index])
        for index, name in enumerate(catalogue.load().names)
    }


class _Trainer:
    """One network under training: its optimiser, its averaged weights, and what an epoch is."""

    def __init__(self, verifier: Verifier, clips: Clips, rule: VerifierRule) -> None:
        self._verifier, self._clips, self._rule = verifier, clips, rule
        parts = [verifier.last, verifier.events]
        if not rule.is_last_only:
            parts += [verifier.backbone, verifier.teacher]
        self._trainable = [variable for part in parts for variable in part.trainable_variables]
        self._optimizer = tf_keras.optimizers.AdamW(rule.rate, weight_decay=1e-3, global_clipnorm=2.0)
        self._optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        self._optimizer.build(self._trainable)
        self.average_variables = [tf.Variable(variable, trainable=False) for variable in verifier.variables]
        taught = np.flatnonzero(clips.is_taught)
        some = clips.teacher_logits[taught[:: max(1, len(taught) // 4000)]].astype(np.float32) / LOGIT_SCALE
        if not len(some):
            some = np.zeros((1, 1, CLASSES), np.float32)
        # no class is so rare that its last tenth of a logit counts
        self._mean, self._spread = some.mean(axis=(0, 1)), some.std(axis=(0, 1)) + 0.3
        weights = np.ones(CLASSES, np.float32)
        weights[list(verifier_network.EVIDENCE)] = _EVENT_CLASS_WEIGHT
        self._class_weights = tf.constant(weights / weights.mean())
        self._learns_all = not rule.is_last_only
        self._update = tf.function(self._one_update, autograph=False)

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything that a resumed training needs."""
        return [*self._verifier.variables, *self.average_variables, *self._optimizer.variables]

    def fit_teacher_head(self) -> None:
        """Let the head that repeats the teacher do so as well as it can while nothing else learns."""
        parts = self._verifier
        verifier_recovery.fit_teacher_head(
            parts.backbone, parts.last, parts.teacher, self._clips, self._mean, self._spread
        )
        for average, variable in zip(self.average_variables, parts.variables, strict=True):
            average.assign(variable)

    def averaged(self) -> _Averaged:
        """Return a context in which the network has its averaged weights."""
        return _Averaged(self._verifier.variables, self.average_variables)

    def epoch(self, epoch: int, is_for_events: bool) -> list[float]:
        """Go once over all clips; return the mean losses of the events and of the teacher."""
        rule, clips = self._rule, self._clips
        rng = np.random.default_rng((rule.seed, epoch))
        order = rng.permutation(len(clips) if is_for_events else np.flatnonzero(clips.is_taught))
        rounds = len(order) // rule.batch
        # what the teacher would say of two clips at once nobody has asked it
        augmentation = rule.augmentation if is_for_events else replace(rule.augmentation, mixed_share=0.0)
        losses = np.zeros(2)
        for index in range(rounds):
            some = np.sort(order[index * rule.batch : (index + 1) * rule.batch])
            x, target, asked, is_mixed = augmented(
                clips.features[some], clips.target[some], clips.asked[some], rng, augmentation
            )
            said = (clips.teacher_logits[some].astype(np.float32) / LOGIT_SCALE - self._mean) / self._spread
            is_taught = (clips.is_taught[some] & ~is_mixed).astype(np.float32)
            self._optimizer.learning_rate.assign(self._rate(epoch, index, rounds, is_for_events))
            event_weight = 1.0 if is_for_events else 0.0
            teacher_weight = 0.0 if rule.is_last_only else rule.teacher_weight if is_for_events else 1.0
            losses += self._update(
                x, target.astype(np.float32), asked.astype(np.float32), said, is_taught,
                tf.constant(event_weight), tf.constant(teacher_weight),
            ).numpy()  # fmt: skip
        return [float(loss) for loss in losses / rounds]

    def _rate(self, epoch: int, index: int, rounds: int, is_for_events: bool) -> float:
        rule = self._rule
        first, epochs = (rule.teacher_epochs, rule.epochs) if is_for_events else (0, rule.teacher_epochs)
        done = (epoch - first + index / rounds) / epochs
        warm = min(1.0, (index + 1) / _WARM_UPDATES) if epoch == first else 1.0
        highest = rule.event_rate if is_for_events else rule.rate
        return float(highest * warm * (0.02 + 0.49 * (1 + np.cos(np.pi * done))))

    def _one_update(
        self,
        x: tf.Tensor,
        target: tf.Tensor,
        asked: tf.Tensor,
        said: tf.Tensor,
        is_taught: tf.Tensor,
        event_weight: tf.Tensor,
        teacher_weight: tf.Tensor,
    ) -> tf.Tensor:
        parts = self._verifier
        with tf.GradientTape() as tape:
            # what does not learn keeps its statistics too
            steps = parts.last(parts.backbone(x, training=self._learns_all), training=self._learns_all)
            logits = parts.events(steps, training=True)
            crosses = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
            event_loss = tf.reduce_sum(asked * crosses) / tf.cast(tf.shape(x)[0], tf.float32)
            sureness = tf.sigmoid(said * self._spread + self._mean - _SURE_FROM_LOGIT)
            distance = tf.reduce_mean(
                self._class_weights
                * (1 + _SURE_WEIGHT * sureness)
                * tf.math.squared_difference(parts.teacher(steps), said),
                (1, 2),
            )
            teacher_loss = tf.reduce_sum(is_taught * distance) / (tf.reduce_sum(is_taught) + 1e-6)
            loss = event_weight * event_loss + teacher_weight * teacher_loss
        gradients = tape.gradient(loss, self._trainable)
        self._optimizer.apply_gradients(zip(gradients, self._trainable, strict=True))
        # the first updates are averaged over fewer, or what the training began with would weigh on
        done = tf.cast(self._optimizer.iterations, tf.float32)
        keep = tf.minimum(self._rule.average, (1.0 + done) / (10.0 + done))
        for average, variable in zip(self.average_variables, parts.variables, strict=True):
            average.assign(keep * average + (1 - keep) * variable)
        return tf.stack([event_loss, teacher_loss])


class _Averaged:
    """While it lasts, `variables` hold what `averages` hold."""

    def __init__(self, variables: Sequence[tf.Variable], averages: Sequence[tf.Variable]) -> None:
        self._variables, self._averages = variables, averages

    def __enter__(self) -> None:
        self._own = [variable.numpy() for variable in self._variables]
        for variable, average in zip(self._variables, self._averages, strict=True):
            variable.assign(average)

    def __exit__(self, *_: object) -> None:
        for variable, own in zip(self._variables, self._own, strict=True):
            variable.assign(own)


def _save(path: Path, variables: Sequence[tf.Variable]) -> None:
    unfinished = path.with_suffix(".part.npz")
    np.savez(unfinished, **{f"{index:04d}": variable.numpy() for index, variable in enumerate(variables)})
    unfinished.replace(path)


def _load(path: Path, variables: Sequence[tf.Variable]) -> None:
    try:
        with np.load(path) as kept:
            arrays = [kept[name] for name in sorted(kept.files)]
    except (OSError, ValueError) as error:
        raise HarkenError(f"{path} holds no weights ({error}): train with --restart") from error
    if [array.shape for array in arrays] != [tuple(variable.shape) for variable in variables]:
        raise HarkenError(f"{path} holds the weights of another network: train with --restart")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
