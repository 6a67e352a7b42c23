"""Trains heads on a trunk that stays as it is: cheap enough to do it once for every fold and every question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edge import catalogue
from edge.dataset.labels import IGNORED
from edge.dataset.shards import Shards
from edge.training import runs
from edge.training.losses import WINDOW_STEPS, LossRule, detection_loss, positive_weights
from edge.training.network import HEAD_UNITS, TRUNK_UNITS, DetectorNetwork, load_network, trunk_outputs

# the trunk hears so many scenes at once, which bounds the memory that it takes
_SCENES_AT_ONCE = 256


@dataclass(frozen=True)
class HeadRule:
    """How heads are trained on a frozen trunk.

    Attributes:
        seed: of initial weights and order.
        epochs: passes over all steps.
        batch: seconds of sound in one update.
        rate: highest learning rate, as in `DetectorRule`.
        loss: how answers are weighed.
    """

    seed: int = 1
    epochs: int = 8
    batch: int = 256
    rate: float = 4e-3
    loss: LossRule = field(default_factory=LossRule)


def train_heads(network: DetectorNetwork, outputs: np.ndarray, labels: np.ndarray, rule: HeadRule) -> list[float]:
    """Train new heads of `network` and leave its trunk; return the loss of every epoch.

    Args:
        network: whose heads are replaced.
        outputs: of its trunk, float16 or float32 [scenes, steps, 64].
        labels: uint8[scenes, steps, events], bits of `edge.dataset.labels`; an event that is nowhere asked for keeps
            a head that has learnt nothing.
        rule: how.
    """
    fresh = DetectorNetwork(network.events, rule.seed)
    heads = [network.hidden_kernel, network.hidden_bias, network.output_kernel, network.output_bias]
    for head, begin in zip(
        heads, (fresh.hidden_kernel, fresh.hidden_bias, fresh.output_kernel, fresh.output_bias), strict=True
    ):
        head.assign(begin)
    seconds = outputs.shape[1] // WINDOW_STEPS
    whole = np.s_[:, : seconds * WINDOW_STEPS]
    y = outputs[whole].reshape(-1, WINDOW_STEPS, TRUNK_UNITS)
    bits = labels[whole].reshape(-1, WINDOW_STEPS, labels.shape[2])
    batch = min(rule.batch, len(y))
    rounds = len(y) // batch
    optimizer = tf_keras.optimizers.Adam(runs.rate_schedule(rule.rate, rule.epochs * rounds), global_clipnorm=1.0)
    optimizer.build(heads)
    weights = positive_weights(labels, rule.loss.positive_weight_limit)
    update = _update_function(network, heads, optimizer, weights, rule)
    curve = []
    for epoch in range(rule.epochs):
        order = np.random.default_rng((rule.seed, epoch)).permutation(len(y))
        losses = []
        for index in range(rounds):
            chosen = order[index * batch : (index + 1) * batch]
            x = np.ascontiguousarray(y[chosen].swapaxes(0, 1), np.float32)
            losses.append(update(tf.constant(x), tf.constant(np.ascontiguousarray(bits[chosen].swapaxes(0, 1)))))
        curve.append(float(np.mean([float(loss) for loss in losses])))
    return curve


def with_new_heads(
    weights: Mapping[str, np.ndarray], shards: Shards, events: Sequence[str], rule: HeadRule
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Return `weights` with new heads for `events`, trained on scenes, and the loss of every epoch.

    The trunk and all other heads stay as they are, to the bit.
    """
    names = catalogue.load().names
    chosen = [names.index(event) for event in events]
    network = load_network(weights)
    steps = shards.steps()
    outputs = np.empty((*steps.shape[:2], TRUNK_UNITS), np.float16)
    for start in range(0, len(steps), _SCENES_AT_ONCE):
        outputs[start : start + _SCENES_AT_ONCE] = trunk_outputs(network, steps[start : start + _SCENES_AT_ONCE])
    labels = np.full_like(shards.labels, IGNORED)
    labels[..., chosen] = shards.labels[..., chosen]
    curve = train_heads(network, outputs, labels, rule)
    new, kept = network.weights(), {name: value.copy() for name, value in weights.items()}
    for index in chosen:
        units = slice(index * HEAD_UNITS, (index + 1) * HEAD_UNITS)
        kept["hidden_kernel"][:, units] = new["hidden_kernel"][:, units]
        kept["hidden_bias"][units] = new["hidden_bias"][units]
        kept["output_kernel"][index] = new["output_kernel"][index]
        kept["output_bias"][index] = new["output_bias"][index]
    return kept, curve


def head_scores(network: DetectorNetwork, outputs: np.ndarray) -> np.ndarray:
    """Return scores float32[steps, events] of 0–256 for the trunk's output [steps, 64]."""
    return tf.sigmoid(network.heads(tf.constant(outputs, tf.float32))).numpy() * 256


def _update_function(
    network: DetectorNetwork,
    heads: list[tf.Variable],
    optimizer: tf_keras.optimizers.Optimizer,
    weights: np.ndarray,
    rule: HeadRule,
) -> Callable[..., Any]:
    @tf.function(autograph=False)
    def update(x: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = detection_loss(network.heads(x), bits, weights, rule.loss)
        optimizer.apply_gradients(zip(tape.gradient(loss, heads), heads, strict=True))
        return loss

    return update
