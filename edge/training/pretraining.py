"""Teaches the trunk to foretell sound, without any label: how the features change over the coming steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edge.dataset.shards import Shards
from edge.errors import HarkenError
from edge.training import runs
from edge.training.network import FEATURE_SCALE, STEP_INPUTS, TRUNK_UNITS, DetectorNetwork, trunk_weights
from edge.training.streams import AugmentationRule, prepared_ahead, stretch_count, stretches


@dataclass(frozen=True)
class PretrainingRule:
    """How the trunk learns to foretell.

    Attributes:
        seed: of initial weights, scene order and changes.
        epochs: passes over all scenes.
        batch: streams side by side.
        stretch_steps: steps through which gradients flow.
        ahead_steps: how far ahead it looks, in steps of 20 ms.
        rate: highest learning rate, as in `DetectorRule`.
        augmentation: how scenes are changed.
    """

    seed: int = 1
    epochs: int = 3
    batch: int = 128
    stretch_steps: int = 100
    ahead_steps: tuple[int, ...] = (1, 4, 10)
    rate: float = 3e-3
    augmentation: AugmentationRule = field(default_factory=AugmentationRule)


def pretrain(
    shards: Shards, validation: Shards, rule: PretrainingRule, folder: Path, say: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """Train the trunk, or go on with the training that `folder` holds; return the trunk's weights by name.

    Labels are not looked at. The figure is the share of the coming change that the trunk foretells, for each distance:
    1 - squared error over squared change, on the validation scenes.

    Raises:
        HarkenError: `folder` holds a training by another rule, or there are too few scenes.
    """
    features = shards.steps()
    scenes, scene_steps, _ = features.shape
    if scenes < rule.batch:
        raise HarkenError(f"{scenes} scenes are fewer than one batch of {rule.batch}: train on more hours")
    model = _Foreteller(rule)
    optimizer = tf_keras.optimizers.Adam(
        runs.rate_schedule(rule.rate, rule.epochs * stretch_count(scenes, scene_steps, rule.batch, rule.stretch_steps)),
        global_clipnorm=1.0,
    )
    optimizer.build(model.learnt)
    run = runs.Run(folder, rule, model=model, optimizer=optimizer)
    update = _update_function(model, optimizer, rule)
    unasked = np.zeros((*features.shape[:2], 0), np.uint8)
    for epoch in range(run.epochs_done, rule.epochs):
        started = time.monotonic()
        rng = np.random.default_rng((rule.seed, epoch, 1))
        state = model.network.zero_state(rule.batch)
        losses = []
        changed = stretches(features, unasked, rule.batch, rule.stretch_steps, rng, rule.augmentation)
        for x, _ in prepared_ahead(changed):
            loss, state = update(tf.constant(x), state)
            losses.append(loss)
        foretold = model.foretold(validation.steps())
        by_distance = dict(zip((f"{20 * steps} ms" for steps in rule.ahead_steps), foretold, strict=True))
        entry: dict[str, Any] = {
            "loss": float(np.mean([float(loss) for loss in losses])),
            "foretold": by_distance,
            "seconds": time.monotonic() - started,
        }
        run.epoch_done(entry, float(np.mean(foretold)), trunk_weights(model.network.weights()))
        listed = ", ".join(f"{share:.3f} at {ahead}" for ahead, share in by_distance.items())
        say(
            f"epoch {epoch + 1} of {rule.epochs} ({entry['seconds']:.0f} s): loss {entry['loss']:.4f}, "
            f"foretold {listed}"
        )
    return runs.load_weights(folder, "pretrain")


class _Foreteller(tf.Module):
    """The trunk and a linear map from its output to the changes of the features over the coming steps."""

    def __init__(self, rule: PretrainingRule) -> None:
        super().__init__(name="foreteller")
        self.network = DetectorNetwork(1, rule.seed)
        self.ahead_steps = rule.ahead_steps
        width = len(rule.ahead_steps) * STEP_INPUTS
        rng = tf.random.Generator.from_seed(rule.seed + 1)
        self.kernel = tf.Variable(rng.normal((TRUNK_UNITS, width), stddev=0.05))
        self.bias = tf.Variable(tf.zeros(width))
        self.learnt = [*self.network.trunk_variables, self.kernel, self.bias]

    def errors(self, x: tf.Tensor, state: list[tf.Tensor]) -> tuple[list[tf.Tensor], list[tf.Tensor], list[tf.Tensor]]:
        """Return by distance the mean squared error and the mean squared change, and the state after x."""
        y, state = self.network.trunk(x, state)
        time_steps, batch = x.shape[0], x.shape[1]
        flat = tf.matmul(tf.reshape(y, (-1, TRUNK_UNITS)), self.kernel) + self.bias
        foretold = tf.split(tf.reshape(flat, (time_steps, batch, -1)), len(self.ahead_steps), axis=2)
        errors, changes = [], []
        for ahead, change in zip(self.ahead_steps, foretold, strict=True):
            actual = x[ahead:] - x[:-ahead]
            errors.append(tf.reduce_mean(tf.square(change[:-ahead] - actual)))
            changes.append(tf.reduce_mean(tf.square(actual)))
        return errors, changes, state

    def foretold(self, features: np.ndarray, batch: int = 64) -> list[float]:
        """Return by distance how much of the change over int8[scenes, steps, 80] is foretold, every scene from rest."""
        run = tf.function(lambda x: self.errors(x, self.network.zero_state(batch))[:2], autograph=False)
        errors, changes = np.zeros(len(self.ahead_steps)), np.zeros(len(self.ahead_steps))
        for start in range(0, len(features) - batch + 1, batch) or range(1):
            part = np.resize(features[start : start + batch], (batch, *features.shape[1:]))
            x = np.ascontiguousarray(part.swapaxes(0, 1), np.float32) / FEATURE_SCALE
            error, change = run(tf.constant(x))
            errors += [float(value) for value in error]
            changes += [float(value) for value in change]
        return [float(share) for share in 1 - errors / np.maximum(changes, 1e-9)]


def _update_function(
    model: _Foreteller, optimizer: tf_keras.optimizers.Optimizer, rule: PretrainingRule
) -> Callable[..., Any]:
    @tf.function(autograph=False)
    def update(x: tf.Tensor, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        x = tf.ensure_shape(x, (rule.stretch_steps, rule.batch, STEP_INPUTS))
        with tf.GradientTape() as tape:
            errors, _, state = model.errors(x, state)
            loss = tf.add_n(errors) / len(errors)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.learnt), model.learnt, strict=True))
        return loss, [tf.stop_gradient(part) for part in state]

    return update
