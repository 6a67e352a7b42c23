"""Trains the verifier: a convolutional network on the log-mel picture of a four-second clip."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from edge import catalogue
from edge.dataset.labels import IGNORED, SOUNDING, TARGET
from edge.dataset.shards import FRAMES_PER_STEP, Shards
from edge.errors import HarkenError
from edge.evaluation.metrics import area_under_curve, mean_area_of

CLIP_FRAMES = 400
MEL_BANDS = 40
FEATURE_SCALE = 32.0
MODEL_FILE = "verifier.keras"
_CHECKPOINT_FILE = "latest.keras"
_STATE_FILE = "state.json"
# an event counts as present if it sounds for this long inside the clip; less than half of it is absent, and
# between the two no answer is asked for
_PRESENT_S = {
    "smoke_alarm": 0.5,
    "co_alarm": 0.3,
    "glass_break": 0.12,
    "footsteps": 0.6,
    "door": 0.1,
    "appliance_beep": 0.2,
    "dog_bark": 0.2,
    "baby_cry": 0.4,
}


@dataclass(frozen=True)
class VerifierRule:
    """How the verifier is trained.

    Attributes:
        seed: of initial weights, windows and augmentation.
        epochs: passes over all scenes.
        batch: clips in one update.
        clips_per_scene: windows drawn from each scene in an epoch; half of them around an event.
        rate: highest learning rate, falling along a cosine.
        gain_db: standard deviation of a random change of level.
        masked_share: clips in which a group of bands or frames is hidden.
    """

    seed: int = 1
    epochs: int = 14
    batch: int = 64
    clips_per_scene: int = 6
    rate: float = 2e-3
    gain_db: float = 5.0
    masked_share: float = 0.4


def build_network(events: int) -> tf_keras.Model:
    """Return the network: float32[n, 400, 40, 1] features (int8 over 32) to float32[n, events] probabilities."""
    layers = tf_keras.layers

    def block(x: tf.Tensor, filters: int, strides: tuple[int, int]) -> tf.Tensor:
        x = layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(x))

    clip = layers.Input((CLIP_FRAMES, MEL_BANDS, 1), name="features")
    x = block(clip, 16, (2, 2))
    x = block(x, 32, (2, 2))
    x = block(x, 64, (2, 2))
    x = block(x, 96, (2, 1))
    x = block(x, 128, (2, 1))
    # what lies at which pitch matters, when in the clip does not
    steps, bands, filters = x.shape[1:]
    x = layers.Reshape((steps, bands * filters))(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Dense(128, activation="relu")(x)
    x = layers.Concatenate()([layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(x)])
    x = layers.Dropout(0.2)(x)
    return tf_keras.Model(clip, layers.Dense(events, activation="sigmoid", name="scores")(x), name="harken_verifier")


def parameter_count(model_path: Path) -> int:
    """Return how many parameters a saved network has."""
    return int(tf_keras.models.load_model(model_path, compile=False).count_params())


def clip_target(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what a clip with step labels uint8[steps, events] holds: target and asked, both bool[events]."""
    sounding = ((labels & SOUNDING) != 0).sum(axis=0) / 50.0
    present_s = np.array([_PRESENT_S[name] for name in catalogue.load().names])
    target = sounding >= present_s
    has_any = ((labels & (SOUNDING | TARGET | IGNORED)) != 0).any(axis=0)
    return target, target | ~has_any


def train(shards: Shards, validation: Shards, rule: VerifierRule, folder: Path, say: Callable[[str], None]) -> Path:
    """Train, or go on with the training that `folder` holds; return the file of the best epoch's network.

    Raises:
        HarkenError: `folder` holds a training by another rule, or the loss is no longer a number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = catalogue.load().names
    tf.keras.utils.set_random_seed(rule.seed)
    state_path, checkpoint_path = folder / _STATE_FILE, folder / _CHECKPOINT_FILE
    scenes = len(shards.features)
    rounds = scenes * rule.clips_per_scene // rule.batch
    if rounds == 0:
        raise HarkenError(f"{scenes} scenes are fewer than one batch of clips: train on more hours")
    curve: list[dict[str, object]] = []
    best = -1.0
    if state_path.exists():
        state = json.loads(state_path.read_text())
        # only the number of epochs may change
        if state["rule"] | {"epochs": rule.epochs} != asdict(rule):
            raise HarkenError(f"{folder} holds a training by another rule: pass --restart or another --work-dir")
        curve, best = state["curve"], state["best"]
        model = tf_keras.models.load_model(checkpoint_path)
    else:
        model = build_network(len(names))
        schedule = tf_keras.optimizers.schedules.CosineDecay(rule.rate, rule.epochs * rounds, alpha=0.01)
        model.compile(optimizer=tf_keras.optimizers.Adam(schedule, global_clipnorm=1.0))
    update = _update_function(model, model.optimizer)
    check_x, check_y, check_asked = clips(validation, np.random.default_rng(rule.seed), 4)
    for epoch in range(len(curve), rule.epochs):
        started = time.monotonic()
        rng = np.random.default_rng((rule.seed, epoch))
        losses = []
        # a tenth of the scenes at a time: all clips of an epoch would not fit in memory
        for chosen in np.array_split(rng.permutation(scenes), max(1, scenes // 200)):
            x, y, asked = clips(shards, rng, rule.clips_per_scene, np.sort(chosen))
            order = rng.permutation(len(x))
            for start in range(0, len(x) - rule.batch + 1, rule.batch):
                some = order[start : start + rule.batch]
                losses.append(update(tf.constant(_augmented(x[some], rng, rule)), y[some], asked[some]))
        mean_loss = float(np.mean([float(loss) for loss in losses]))
        if not np.isfinite(mean_loss):
            raise HarkenError(f"the loss became {mean_loss} in epoch {epoch + 1}: lower the learning rate")
        probabilities = predict(model, check_x)
        areas = {
            name: area_under_curve(probabilities[check_asked[:, index], index], check_y[check_asked[:, index], index])
            for index, name in enumerate(names)
        }
        mean_area = mean_area_of(areas)
        curve.append({"loss": mean_loss, "mean_area": mean_area, "areas": areas})
        if mean_area > best:
            best = mean_area
            model.save(folder / MODEL_FILE)
        model.save(checkpoint_path)
        state_path.write_text(json.dumps({"rule": asdict(rule), "curve": curve, "best": best}, indent=1))
        listed = " ".join(f"{name}={area:.3f}" for name, area in areas.items())
        done = f"epoch {epoch + 1} of {rule.epochs} ({time.monotonic() - started:.0f} s)"
        say(f"{done}: loss {mean_loss:.4f}, AUC {mean_area:.4f}: {listed}")
    return folder / MODEL_FILE


def clips(
    shards: Shards, rng: np.random.Generator, per_scene: int, scenes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut clips out of scenes: int8[n, 400, 40], target bool[n, events] and asked bool[n, events].

    Every other clip lies so that an event of its scene sounds in it, anywhere in it; the others lie anywhere.
    """
    steps_per_clip = CLIP_FRAMES // FRAMES_PER_STEP
    scenes = np.arange(len(shards.features)) if scenes is None else scenes
    scene_steps = shards.labels.shape[1]
    pictures, targets, asks = [], [], []
    for scene in scenes:
        labels = shards.labels[scene]
        for index in range(per_scene):
            start = int(rng.integers(scene_steps - steps_per_clip + 1))
            placed = shards.events[scene]
            if index % 2 == 0 and placed:
                event = placed[int(rng.integers(len(placed)))]
                sounding_s = float(rng.uniform(event.start_s, max(event.start_s + 0.02, event.end_s)))
                start = round(50 * sounding_s) - int(rng.integers(10, steps_per_clip - 10))
                start = int(np.clip(start, 0, scene_steps - steps_per_clip))
            target, asked = clip_target(labels[start : start + steps_per_clip])
            pictures.append(shards.features[scene, start * FRAMES_PER_STEP : start * FRAMES_PER_STEP + CLIP_FRAMES])
            targets.append(target)
            asks.append(asked)
    return np.stack(pictures), np.stack(targets), np.stack(asks)


def predict(model: tf_keras.Model, pictures: np.ndarray, batch: int = 128) -> np.ndarray:
    """Return probabilities float32[n, events] for clips int8[n, 400, 40]."""
    run = tf.function(lambda x: model(x, training=False), autograph=False, reduce_retracing=True)
    parts = [
        run(tf.constant(pictures[start : start + batch, ..., None] / np.float32(FEATURE_SCALE))).numpy()
        for start in range(0, len(pictures), batch)
    ]
    return np.concatenate(parts)


def _augmented(pictures: np.ndarray, rng: np.random.Generator, rule: VerifierRule) -> np.ndarray:
    """Return float32[n, 400, 40, 1] with random level, tilt and hidden bands or frames."""
    count = len(pictures)
    level = rng.normal(0, rule.gain_db * np.log2(10) / 10 * 8, (count, 1, 1))
    tilt = rng.normal(0, 5, (count, 1, 1)) * (np.arange(MEL_BANDS) / (MEL_BANDS - 1) - 0.5)
    x = np.clip(pictures + level + tilt, -128, 127)
    for index in np.flatnonzero(rng.random(count) < rule.masked_share):
        quiet = float(np.percentile(x[index], 20))
        if rng.random() < 0.5:
            low = int(rng.integers(MEL_BANDS))
            x[index, :, low : low + int(rng.integers(1, 9))] = quiet
        else:
            low = int(rng.integers(CLIP_FRAMES))
            x[index, low : low + int(rng.integers(5, 60))] = quiet
    return (x[..., None] / FEATURE_SCALE).astype(np.float32)


def _update_function(
    model: tf_keras.Model, optimizer: tf_keras.optimizers.Optimizer
) -> Callable[[tf.Tensor, np.ndarray, np.ndarray], tf.Tensor]:
    @tf.function(autograph=False, reduce_retracing=True)
    def update(x: tf.Tensor, target: tf.Tensor, asked: tf.Tensor) -> tf.Tensor:
        target, asked = tf.cast(target, tf.float32), tf.cast(asked, tf.float32)
        with tf.GradientTape() as tape:
            probabilities = tf.clip_by_value(model(x, training=True), 1e-6, 1 - 1e-6)
            cross_entropy = -target * tf.math.log(probabilities) - (1 - target) * tf.math.log(1 - probabilities)
            loss = tf.reduce_sum(asked * cross_entropy) / tf.cast(tf.size(asked), tf.float32)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return update
