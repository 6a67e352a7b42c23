"""Trains the detector: trunk and all heads together, on labelled steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edge import catalogue
from edge.dataset.labels import IGNORED, TARGET
from edge.dataset.shards import Shards
from edge.errors import HarkenError
from edge.evaluation.metrics import area_under_curve, mean_area_of
from edge.training import mining, runs
from edge.training.losses import WINDOW_STEPS, LossRule, detection_loss, positive_weights
from edge.training.network import STEP_INPUTS, DetectorNetwork, load_network, scores
from edge.training.streams import AugmentationRule, prepared_ahead, stretch_count, stretches

# the converter sees the state's range over this many steps, and each head's over the scenes, of so many, in which its
# answer is highest: by what an answer passes the range, it is cut off
_CALIBRATION_STEPS = 28_000
_LISTENED_SCENES = 1024
_HIGHEST_SCENES = 2
_CALIBRATION_FILE = "calibration.npy"
_TIMES_FILE = "times_heard.npy"
# seconds without the event that may score above the threshold, in an hour of dense scenes, where recall is read off
_WINDOWS_PER_HOUR = 30.0
_STEPS_PER_HOUR = 180_000


@dataclass(frozen=True)
class DetectorRule:
    """How the detector is trained.

    Attributes:
        seed: of initial weights, scene order and changes.
        epochs: passes over all scenes.
        batch: streams trained side by side; a stream goes on from scene to scene without a reset, as a device does.
        stretch_steps: steps through which gradients flow, in all but the last epochs. The state goes on from stretch to
            stretch, so what is longer is learnt too, if slowly; and short stretches are more updates for the same work.
        long_stretch_steps: the same in the last `long_epochs`; spans the pause of T4 (290 steps).
        long_epochs: see there. In them weights and outputs are rounded as the int8 kernels round them.
        rate: highest learning rate; it rises over the first 2 % and falls to 2 % of it along a cosine.
        weight_decay: share of a weight that an update at rate 1 takes away.
        mean_decay: what an update leaves of the running mean of the weights, which is what is kept.
        loss: how answers are weighed.
        augmentation: how scenes are changed.
        most_times: how often in a pass the scenes are heard that the weights to begin with get most wrong; 1: once,
            as all others.
    """

    seed: int = 1
    epochs: int = 20
    batch: int = 128
    stretch_steps: int = 200
    long_stretch_steps: int = 500
    long_epochs: int = 4
    rate: float = 3e-3
    weight_decay: float = 2e-3
    mean_decay: float = 0.998
    loss: LossRule = field(default_factory=LossRule)
    augmentation: AugmentationRule = field(default_factory=AugmentationRule)
    most_times: int = 1


def train(
    shards: Shards,
    validation: Shards,
    rule: DetectorRule,
    folder: Path,
    say: Callable[[str], None],
    start_from: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Train, or go on with the training that `folder` holds; return the weights after the last epoch.

    After every epoch `folder` holds a checkpoint, the weights and `state.json` with the curve.

    Args:
        shards: to learn from.
        validation: for the curve.
        rule: how.
        folder: of the training.
        say: is told of every epoch.
        start_from: weights to begin with, by name; those not named begin at random.

    Raises:
        HarkenError: `folder` holds a training by another rule, or the loss is no longer a number.
    """
    names = catalogue.load().names
    network = DetectorNetwork(len(names), rule.seed)
    network.assign(start_from or {})
    features, labels = shards.steps(), shards.labels
    scenes, scene_steps, _ = features.shape
    if scenes < rule.batch:
        raise HarkenError(f"{scenes} scenes are fewer than one batch of {rule.batch}: train on more hours")
    times = _times_heard(network, shards, rule, folder, say)
    heard = int(times.sum())
    updates = sum(
        stretch_count(heard, scene_steps, rule.batch, _stretch(rule, epoch)[0]) for epoch in range(rule.epochs)
    )
    optimizer = tf_keras.optimizers.AdamW(
        runs.rate_schedule(rule.rate, updates), weight_decay=rule.weight_decay, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_list=[v for v in network.trainable_variables if len(v.shape) == 1])
    optimizer.build(network.trainable_variables)
    mean = runs.SlowWeights(network.trainable_variables, rule.mean_decay)
    run = runs.Run(folder, rule, network=network, optimizer=optimizer, mean=mean)
    weights = positive_weights(labels, rule.loss.positive_weight_limit)
    update_functions: dict[tuple[int, bool], Callable[..., Any]] = {}
    for epoch in range(run.epochs_done, rule.epochs):
        started = time.monotonic()
        rng = np.random.default_rng((rule.seed, epoch))
        kind = steps, is_quantised = _stretch(rule, epoch)
        if kind not in update_functions:
            update_functions[kind] = _update_function(network, optimizer, mean, weights, rule, steps, is_quantised)
        state = network.zero_state(rule.batch)
        losses = []
        changed = stretches(features, labels, rule.batch, steps, rng, rule.augmentation, times)
        for x, bits in prepared_ahead(changed):
            loss, state = update_functions[kind](tf.constant(x), tf.constant(bits), state)
            losses.append(loss)
        figures = mean.run_with(lambda: validate(network, validation))
        entry = {"loss": float(np.mean([float(loss) for loss in losses])), **figures}
        entry["mean_area"] = mean_area_of(figures["areas"])
        entry["seconds"] = time.monotonic() - started
        # the latest weights are kept: before the last epochs nothing is rounded as int8 rounds it, and the rate is high
        run.epoch_done(entry, float(epoch), mean.run_with(network.weights))
        listed = " ".join(
            f"{name}={area:.3f}/{figures['recalls'][name]:.2f}" for name, area in figures["areas"].items()
        )
        say(
            f"epoch {epoch + 1} of {rule.epochs} ({entry['seconds']:.0f} s): loss {entry['loss']:.4f}, "
            f"AUC {entry['mean_area']:.4f}: {listed}"
        )
    kept = runs.load_weights(folder, "detector")
    network.assign(kept)
    np.save(folder / _CALIBRATION_FILE, calibration_steps(network, features))
    return kept


def keep(folder: Path, weights: Mapping[str, np.ndarray], features: np.ndarray, curve: list[dict[str, Any]]) -> None:
    """Leave weights in `folder` as a finished training does: with the steps that the converter calibrates by.

    Args:
        folder: made if it is not there.
        weights: by name.
        features: of the scenes that they were taught on, int8[scenes, steps, 80].
        curve: an entry for each epoch.
    """
    runs.save_weights(folder, weights)
    np.save(folder / _CALIBRATION_FILE, calibration_steps(load_network(weights), features))
    runs.save_curve(folder, curve)


def load_training(folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
    """Return the weights of a training folder, its calibration steps int8[n, 80], and its state.

    Raises:
        HarkenError: no epoch has been finished there, or the training was cut short.
    """
    weights = runs.load_weights(folder, "detector")
    if not (folder / _CALIBRATION_FILE).exists():
        raise HarkenError(f"the training in {folder} was not finished: run `harken train --stage detector` to its end")
    return weights, np.load(folder / _CALIBRATION_FILE), runs.load_state(folder)


def validate(network: DetectorNetwork, shards: Shards) -> dict[str, dict[str, float]]:
    """Return by event the area under the curve over the steps that ask something of it, and a recall.

    The recall is that of seconds in which the event sounds, at the threshold which `_WINDOWS_PER_HOUR` seconds
    without it exceed in an hour, each second taken by its highest score. NaN without positives.
    """
    probabilities = scores(network, shards.steps())
    areas, recalls = {}, {}
    scenes, steps, _ = shards.labels.shape
    windows = (scenes, steps // WINDOW_STEPS, WINDOW_STEPS)
    for event, name in enumerate(catalogue.load().names):
        asked = (shards.labels[..., event] & IGNORED) == 0
        is_target = (shards.labels[..., event] & TARGET) != 0
        score = probabilities[..., event]
        areas[name] = area_under_curve(score[asked][::3], is_target[asked][::3])
        whole = np.s_[:, : windows[1] * WINDOW_STEPS]
        has_event = is_target[whole].reshape(windows).any(axis=2)
        is_free = (asked & ~is_target)[whole].reshape(windows).all(axis=2)
        peaks = score[whole].reshape(windows).max(axis=2)
        allowed = int(_WINDOWS_PER_HOUR * is_free.sum() * WINDOW_STEPS / _STEPS_PER_HOUR)
        false = np.sort(peaks[is_free])[::-1]
        threshold = false[min(allowed, len(false) - 1)] if len(false) else 0.0
        recalls[name] = float((peaks[has_event] > threshold).mean()) if has_event.any() else float("nan")
    return {"areas": areas, "recalls": recalls}


def _times_heard(
    network: DetectorNetwork, shards: Shards, rule: DetectorRule, folder: Path, say: Callable[[str], None]
) -> np.ndarray:
    """Return how often each scene is heard in a pass, int[scenes]; found once for a training and kept in its folder."""
    if rule.most_times == 1:
        return np.ones(len(shards.labels), np.int64)
    path = folder / _TIMES_FILE
    if path.exists():
        return np.asarray(np.load(path))
    say(f"{shards.hours:.0f} h of scenes are heard for what goes wrong in them")
    wrong = mining.wrong_seconds(network, shards)
    times = mining.times_heard(wrong, rule.most_times)
    say(f"seconds wrong: {mining.as_line(wrong)}; {int((times > 1).sum())} of {len(times)} scenes are heard more often")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(path, times)
    return times


def calibration_steps(network: DetectorNetwork, features: np.ndarray) -> np.ndarray:
    """Return whole scenes of int8[scenes, steps, 80] one after another, int8[n, 80], for the converter's ranges.

    They are evenly chosen, and with them those in which each head's answer is highest. Without these an int8 head
    stayed below what a few scenes had by chance: the smoke alarm's below 190 of 255.
    """
    scenes, scene_steps, _ = features.shape
    even = np.linspace(0, scenes - 1, min(scenes, max(1, _CALIBRATION_STEPS // scene_steps))).astype(int)
    listened = np.linspace(0, scenes - 1, min(scenes, _LISTENED_SCENES)).astype(int)
    peaks = np.concatenate(
        [scores(network, features[listened[start : start + 256]]).max(axis=1) for start in range(0, len(listened), 256)]
    )
    highest = listened[np.argsort(-peaks, axis=0)[:_HIGHEST_SCENES].ravel()]
    return features[np.unique(np.concatenate([even, highest]))].reshape(-1, STEP_INPUTS)


def _stretch(rule: DetectorRule, epoch: int) -> tuple[int, bool]:
    """Return how many steps a stretch of an epoch has, and whether it is rounded as int8."""
    is_long = epoch >= rule.epochs - rule.long_epochs
    return rule.long_stretch_steps if is_long else rule.stretch_steps, is_long


def _update_function(
    network: DetectorNetwork,
    optimizer: tf_keras.optimizers.Optimizer,
    mean: runs.SlowWeights,
    weights: np.ndarray,
    rule: DetectorRule,
    steps: int,
    is_quantised: bool,
) -> Callable[[tf.Tensor, tf.Tensor, list[tf.Tensor]], tuple[tf.Tensor, list[tf.Tensor]]]:
    @tf.function(autograph=False)
    def update(x: tf.Tensor, bits: tf.Tensor, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        x = tf.ensure_shape(x, (steps, rule.batch, STEP_INPUTS))
        with tf.GradientTape() as tape:
            logits, state = network(x, state, is_quantised)
            loss = detection_loss(logits, bits, weights, rule.loss)
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        mean.update()
        return loss, [tf.stop_gradient(part) for part in state]

    return update
