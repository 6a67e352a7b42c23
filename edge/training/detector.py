"""Trains the detector: a two-layer LSTM trunk and a small head for every event, on labelled steps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
from edge.training.recurrent import ClippedLstm

STEP_INPUTS = 80
TRUNK_UNITS = 64
HEAD_UNITS = 16
# int8 features over this are the model's float input; the converter's scale must be its inverse
FEATURE_SCALE = 32.0
# the converter sees the state's range over this many scenes
_CALIBRATION_SCENES = 14
_WEIGHTS_FILE = "weights.npz"
_CALIBRATION_FILE = "calibration.npy"
_STATE_FILE = "state.json"


@dataclass(frozen=True)
class DetectorRule:
    """How the detector is trained.

    Attributes:
        seed: of initial weights, scene order and augmentation.
        epochs: passes over all scenes.
        batch: streams trained side by side; a stream goes on from scene to scene without a reset, as a device does.
        stretch_steps: steps through which gradients flow, in all but the last epochs. The state goes on from stretch to
            stretch, so what is longer is learnt too, if slowly; and short stretches are more updates for the same work.
        long_stretch_steps: the same in the last `long_epochs`; spans the pause of T4 (290 steps).
        long_epochs: see there.
        rate: highest learning rate; it rises over the first 2 % and falls to 2 % of it along a cosine.
        positive_weight_limit: rare events weigh more, at most this much.
        gain_db: standard deviation of a random change of level, per stretch and stream.
        masked_share: stretches in which a random group of up to 8 bands is hidden.
    """

    seed: int = 1
    epochs: int = 24
    batch: int = 32
    stretch_steps: int = 100
    long_stretch_steps: int = 400
    long_epochs: int = 4
    rate: float = 3e-3
    positive_weight_limit: float = 4.0
    gain_db: float = 5.0
    masked_share: float = 0.25


class DetectorNetwork(tf.Module):
    """The trunk and all heads, as trained."""

    def __init__(self, events: int, seed: int) -> None:
        super().__init__(name="detector")
        rng = tf.random.Generator.from_seed(seed)
        self.events = events
        self.first = ClippedLstm(STEP_INPUTS, TRUNK_UNITS, rng, "trunk_0")
        self.second = ClippedLstm(TRUNK_UNITS, TRUNK_UNITS, rng, "trunk_1")
        limit = (6.0 / (TRUNK_UNITS + HEAD_UNITS)) ** 0.5
        self.hidden_kernel = tf.Variable(rng.uniform((TRUNK_UNITS, events * HEAD_UNITS), -limit, limit))
        self.hidden_bias = tf.Variable(tf.zeros(events * HEAD_UNITS))
        self.output_kernel = tf.Variable(rng.uniform((events, HEAD_UNITS), -0.5, 0.5))
        # at first nothing is heard: events are rare
        self.output_bias = tf.Variable(tf.fill((events,), -3.0))

    def zero_state(self, batch: int) -> list[tf.Tensor]:
        """Return the state of a device that has heard nothing: four float32[batch, 64]."""
        return [tf.zeros((batch, TRUNK_UNITS)) for _ in range(4)]

    def __call__(self, x: tf.Tensor, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return logits float32[time, batch, events] for x float32[time, batch, 80], and the state after it."""
        y, h0, c0 = self.first(x, state[0], state[1])
        y, h1, c1 = self.second(y, state[2], state[3])
        hidden = tf.nn.relu(tf.tensordot(y, self.hidden_kernel, 1) + self.hidden_bias)
        per_head = tf.reshape(hidden, (x.shape[0], x.shape[1], self.events, HEAD_UNITS))
        return tf.reduce_sum(per_head * self.output_kernel, axis=-1) + self.output_bias, [h0, c0, h1, c1]

    def weights(self) -> dict[str, np.ndarray]:
        """Return all weights by name, float32."""
        named = {"hidden_kernel": self.hidden_kernel, "hidden_bias": self.hidden_bias}
        named |= {"output_kernel": self.output_kernel, "output_bias": self.output_bias}
        for layer in (self.first, self.second):
            named |= {f"{layer.name}_{part}": getattr(layer, part) for part in ("kernel", "recurrent", "bias")}
        return {name: variable.numpy() for name, variable in named.items()}


def train(
    shards: Shards, validation: Shards, rule: DetectorRule, folder: Path, say: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """Train, or go on with the training that `folder` holds; return the weights of the best epoch.

    After every epoch `folder` holds a checkpoint, the best weights so far (by the mean area under the curve over
    the validation steps) and `state.json` with the curve.

    Raises:
        HarkenError: `folder` holds a training by another rule, or the loss is no longer a number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = catalogue.load().names
    network = DetectorNetwork(len(names), rule.seed)
    features, labels = shards.steps(), shards.labels
    scenes, scene_steps, _ = features.shape
    evenly = np.linspace(0, scenes - 1, min(scenes, _CALIBRATION_SCENES)).astype(int)
    np.save(folder / _CALIBRATION_FILE, features[evenly].reshape(-1, STEP_INPUTS))
    rounds = scenes // rule.batch
    if rounds == 0:
        raise HarkenError(f"{scenes} scenes are fewer than one batch of {rule.batch}: train on more hours")
    updates = sum(rounds * (scene_steps // _stretch(rule, epoch)) for epoch in range(rule.epochs))
    optimizer = tf_keras.optimizers.Adam(_rate_schedule(rule.rate, updates), global_clipnorm=1.0)
    optimizer.build(network.trainable_variables)
    positive_weights = _positive_weights(labels, rule.positive_weight_limit)
    updates_by_stretch = {
        steps: _update_function(network, optimizer, positive_weights, rule.batch, steps)
        for steps in (rule.stretch_steps, rule.long_stretch_steps)
    }
    progress = _Progress(folder, rule, network, optimizer)
    for epoch in range(progress.epochs_done, rule.epochs):
        started = time.monotonic()
        rng = np.random.default_rng((rule.seed, epoch))
        order = rng.permutation(scenes)
        state = network.zero_state(rule.batch)
        steps = _stretch(rule, epoch)
        update = updates_by_stretch[steps]
        losses = []
        for index in range(rounds):
            chosen = np.sort(order[index * rule.batch : (index + 1) * rule.batch])
            rng.shuffle(chosen)
            for start in range(0, scene_steps - steps + 1, steps):
                cut = slice(start, start + steps)
                x = augmented(features[chosen, cut], rng, rule)
                y = np.ascontiguousarray(labels[chosen, cut].swapaxes(0, 1))
                loss, state = update(tf.constant(x), tf.constant(y), state)
                losses.append(loss)
        mean_loss = float(np.mean([float(loss) for loss in losses]))
        if not np.isfinite(mean_loss):
            raise HarkenError(f"the loss became {mean_loss} in epoch {epoch + 1}: lower the learning rate")
        areas = validate(network, validation)
        progress.epoch_done(mean_loss, dict(zip(names, areas, strict=True)), say, time.monotonic() - started)
    return dict(np.load(folder / _WEIGHTS_FILE))


def augmented(features: np.ndarray, rng: np.random.Generator, rule: DetectorRule) -> np.ndarray:
    """Return float32[time, batch, 80] from int8[batch, time, 80], with random level and hidden bands.

    A change of level adds a constant to log features, so it costs nothing here; saturation stays that of int8.
    """
    batch = features.shape[0]
    octaves_per_db = np.log2(10) / 10
    level = rng.normal(0, rule.gain_db * octaves_per_db * 8, (batch, 1, 1)).astype(np.float32)
    bands = np.arange(STEP_INPUTS // 2)
    tilt = rng.normal(0, 4, (batch, 1)) * (bands / bands[-1] - 0.5)
    shift = level + np.tile(tilt, 2)[:, None, :].astype(np.float32)
    x = np.clip(features + shift, -128, 127)
    for index in np.flatnonzero(rng.random(batch) < rule.masked_share):
        low = int(rng.integers(bands[-1]))
        high = low + int(rng.integers(1, 9))
        hidden = (bands >= low) & (bands < high)
        x[index][:, np.tile(hidden, 2)] = np.percentile(features[index], 20)
    return np.ascontiguousarray((x / FEATURE_SCALE).swapaxes(0, 1), dtype=np.float32)


def scores(network: DetectorNetwork, features: np.ndarray, batch: int = 64) -> np.ndarray:
    """Return probabilities float32[scenes, steps, events] for int8[scenes, steps, 80], each scene from rest."""
    return _scores(_score_function(network, batch), features, batch)


def _score_function(network: DetectorNetwork, batch: int) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(lambda x: tf.sigmoid(network(x, network.zero_state(batch))[0]), autograph=False)


def _scores(run: Callable[[tf.Tensor], tf.Tensor], features: np.ndarray, batch: int) -> np.ndarray:
    scenes, steps, _ = features.shape
    out = np.empty((scenes, steps, len(catalogue.load())), np.float32)
    for start in range(0, scenes, batch):
        part = features[start : start + batch]
        x = np.zeros((steps, batch, STEP_INPUTS), np.float32)
        x[:, : len(part)] = part.swapaxes(0, 1) / FEATURE_SCALE
        out[start : start + batch] = run(tf.constant(x)).numpy()[:, : len(part)].swapaxes(0, 1)
    return out


def clip_scores(network: DetectorNetwork, clips: Sequence[np.ndarray], batch: int = 32) -> list[np.ndarray]:
    """Return scores float32[steps, events] of 0–256 for each clip's int8[steps, 80], every clip from rest."""
    order = sorted(range(len(clips)), key=lambda index: len(clips[index]))
    out: list[np.ndarray] = [np.empty(0, np.float32)] * len(clips)
    run = _score_function(network, batch)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        # a length is compiled once: round it up
        steps = -(-len(clips[chosen[-1]]) // 250) * 250
        together = np.zeros((len(chosen), steps, STEP_INPUTS), np.int8)
        for row, index in enumerate(chosen):
            together[row, : len(clips[index])] = clips[index]
        probabilities = _scores(run, together, batch)
        for row, index in enumerate(chosen):
            out[index] = probabilities[row, : len(clips[index])] * 256
    return out


def load_training(folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
    """Return the best weights of a training folder, its calibration steps int8[n, 80], and its state.

    Raises:
        HarkenError: no epoch has been finished there.
    """
    try:
        state = json.loads((folder / _STATE_FILE).read_text())
        return dict(np.load(folder / _WEIGHTS_FILE)), np.load(folder / _CALIBRATION_FILE), state
    except FileNotFoundError as error:
        raise HarkenError(f"{folder} holds no trained detector: run `harken train --stage detector` first") from error


def validate(network: DetectorNetwork, shards: Shards) -> list[float]:
    """Return each event's area under the curve over the steps that ask something of it (NaN without positives)."""
    probabilities = scores(network, shards.steps())
    areas = []
    for event in range(network.events):
        asked = (shards.labels[..., event] & IGNORED) == 0
        is_target = (shards.labels[..., event] & TARGET) != 0
        areas.append(area_under_curve(probabilities[..., event][asked][::3], is_target[asked][::3]))
    return areas


def load_network(weights: dict[str, np.ndarray]) -> DetectorNetwork:
    """Return a network with the given weights, as `DetectorNetwork.weights` names them."""
    network = DetectorNetwork(len(weights["output_bias"]), seed=0)
    for layer in (network.first, network.second):
        for part in ("kernel", "recurrent", "bias"):
            getattr(layer, part).assign(weights[f"{layer.name}_{part}"])
    for name in ("hidden_kernel", "hidden_bias", "output_kernel", "output_bias"):
        getattr(network, name).assign(weights[name])
    return network


def _stretch(rule: DetectorRule, epoch: int) -> int:
    return rule.long_stretch_steps if epoch >= rule.epochs - rule.long_epochs else rule.stretch_steps


def _rate_schedule(highest: float, updates: int) -> tf_keras.optimizers.schedules.LearningRateSchedule:
    warm_up = max(1, updates // 50)
    return tf_keras.optimizers.schedules.CosineDecay(
        highest / 10, updates - warm_up, alpha=0.02 * 10, warmup_target=highest, warmup_steps=warm_up
    )


def _positive_weights(labels: np.ndarray, limit: float) -> np.ndarray:
    """Return float32[events]: the square root of how many negatives there are for a positive, at most `limit`."""
    is_target = (labels & TARGET).mean(axis=(0, 1)) / TARGET
    return np.clip(np.sqrt((1 - is_target) / np.maximum(is_target, 1e-4)), 1.0, limit).astype(np.float32)


def _update_function(
    network: DetectorNetwork,
    optimizer: tf_keras.optimizers.Optimizer,
    positive_weights: np.ndarray,
    batch: int,
    steps: int,
) -> Callable[[tf.Tensor, tf.Tensor, list[tf.Tensor]], tuple[tf.Tensor, list[tf.Tensor]]]:
    events = network.events

    @tf.function(autograph=False)
    def update(x: tf.Tensor, y: tf.Tensor, state: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        x = tf.ensure_shape(x, (steps, batch, STEP_INPUTS))
        target = tf.cast(tf.bitwise.bitwise_and(y, tf.constant(TARGET, tf.uint8)) > 0, tf.float32)
        asked = tf.cast(tf.equal(tf.bitwise.bitwise_and(y, tf.constant(IGNORED, tf.uint8)), 0), tf.float32)
        weight = asked * (1.0 + target * (positive_weights - 1.0))
        with tf.GradientTape() as tape:
            logits, state = network(x, state)
            cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
            loss = tf.reduce_sum(weight * cross_entropy) / float(steps * batch * events)
        variables = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss, [tf.stop_gradient(part) for part in state]

    return update


class _Progress:
    """What a training folder holds: checkpoint, best weights, curve."""

    def __init__(
        self, folder: Path, rule: DetectorRule, network: DetectorNetwork, optimizer: tf_keras.optimizers.Optimizer
    ) -> None:
        self._folder, self._rule, self._network = folder, rule, network
        checkpoint = tf.train.Checkpoint(network=network, optimizer=optimizer)
        self._checkpoints = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoint"), max_to_keep=1)
        self._curve: list[dict[str, object]] = []
        self._best = -1.0
        state_path = folder / _STATE_FILE
        if state_path.exists():
            state = json.loads(state_path.read_text())
            # only the number of epochs may change: the rate then falls towards the new end
            if state["rule"] | {"epochs": rule.epochs} != asdict(rule):
                raise HarkenError(f"{folder} holds a training by another rule: pass --restart or another --work-dir")
            self._curve, self._best = state["curve"], state["best"]
            checkpoint.restore(self._checkpoints.latest_checkpoint).expect_partial()

    @property
    def epochs_done(self) -> int:
        return len(self._curve)

    def epoch_done(self, loss: float, areas: dict[str, float], say: Callable[[str], None], seconds: float) -> None:
        mean_area = mean_area_of(areas)
        self._curve.append({"loss": loss, "mean_area": mean_area, "areas": areas})
        if mean_area > self._best:
            self._best = mean_area
            np.savez(self._folder / _WEIGHTS_FILE, **self._network.weights())
        self._checkpoints.save()
        state = {"rule": asdict(self._rule), "curve": self._curve, "best": self._best}
        (self._folder / _STATE_FILE).write_text(json.dumps(state, indent=1))
        listed = " ".join(f"{name}={area:.3f}" for name, area in areas.items())
        epoch = f"epoch {len(self._curve)} of {self._rule.epochs} ({seconds:.0f} s)"
        say(f"{epoch}: loss {loss:.4f}, AUC {mean_area:.4f}: {listed}")
