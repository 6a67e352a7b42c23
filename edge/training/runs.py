"""What a training folder holds: checkpoint, best weights, curve. A training goes on from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edge.errors import HarkenError

_WEIGHTS_FILE = "weights.npz"
_STATE_FILE = "state.json"


class Run:
    """A training that is under way in a folder.

    Args:
        folder: made if it is not there.
        rule: a dataclass; a folder that holds a training by another one is refused, except that the number of epochs
            may change: the rate then falls towards the new end.
        tracked: what the checkpoint keeps, by name.

    Raises:
        HarkenError: the folder holds a training by another rule.
    """

    def __init__(self, folder: Path, rule: Any, **tracked: Any) -> None:
        self._folder, self._rule = folder, json.loads(json.dumps(asdict(rule)))
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = tf.train.Checkpoint(**tracked)
        self._checkpoints = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoint"), max_to_keep=1)
        self.curve: list[dict[str, Any]] = []
        self._best = -np.inf
        state_path = folder / _STATE_FILE
        if state_path.exists():
            state = json.loads(state_path.read_text())
            if state["rule"] | {"epochs": rule.epochs} != self._rule:
                raise HarkenError(f"{folder} holds a training by another rule: pass --restart or another --work-dir")
            self.curve, self._best = state["curve"], state["best"]
            checkpoint.restore(self._checkpoints.latest_checkpoint).expect_partial()

    @property
    def epochs_done(self) -> int:
        """How many epochs are finished."""
        return len(self.curve)

    def epoch_done(self, entry: Mapping[str, Any], merit: float, weights: Mapping[str, np.ndarray]) -> None:
        """Keep the checkpoint and the curve, and the weights if their merit is the highest so far.

        Raises:
            HarkenError: the loss is no longer a number.
        """
        if not np.isfinite(entry["loss"]):
            raise HarkenError(
                f"the loss became {entry['loss']} in epoch {len(self.curve) + 1}: lower the learning rate"
            )
        self.curve.append(dict(entry))
        if merit > self._best:
            self._best = merit
            save_weights(self._folder, weights)
        self._checkpoints.save()
        state = {"rule": self._rule, "curve": self.curve, "best": self._best}
        (self._folder / _STATE_FILE).write_text(json.dumps(state, indent=1))


class SlowWeights(tf.Module):
    """A running mean of variables: it generalises better than the last update's values.

    Args:
        variables: of the network in training.
        decay: how much of the mean an update leaves.
    """

    def __init__(self, variables: Sequence[tf.Variable], decay: float) -> None:
        super().__init__(name="slow_weights")
        self._decay = decay
        self._fast = list(variables)
        self.slow = [tf.Variable(variable, trainable=False) for variable in variables]
        self._updates = tf.Variable(0.0, trainable=False)

    def update(self) -> None:
        """Take the present values in; the first ones count for more."""
        self._updates.assign_add(1.0)
        decay = tf.minimum(self._decay, self._updates / (self._updates + 10.0))
        for mean, variable in zip(self.slow, self._fast, strict=True):
            mean.assign_sub((1.0 - decay) * (mean - variable))

    def run_with(self, work: Callable[[], Any]) -> Any:
        """Return what `work` returns while the network has the mean's values."""
        kept = [variable.numpy() for variable in self._fast]
        for mean, variable in zip(self.slow, self._fast, strict=True):
            variable.assign(mean)
        try:
            return work()
        finally:
            for value, variable in zip(kept, self._fast, strict=True):
                variable.assign(value)


def rate_schedule(highest: float, updates: int) -> tf_keras.optimizers.schedules.LearningRateSchedule:
    """Return a rate that rises over the first 2 % of the updates and falls to 2 % of its highest along a cosine."""
    warm_up = max(1, updates // 50)
    return tf_keras.optimizers.schedules.CosineDecay(
        highest / 10, updates - warm_up, alpha=0.02 * 10, warmup_target=highest, warmup_steps=warm_up
    )


def save_weights(folder: Path, weights: Mapping[str, np.ndarray]) -> None:
    """Keep weights by name; a reader never sees half a file."""
    unfinished = folder / f"unfinished_{_WEIGHTS_FILE}"
    np.savez(unfinished, **weights)
    unfinished.replace(folder / _WEIGHTS_FILE)


def save_curve(folder: Path, curve: Sequence[Mapping[str, Any]]) -> None:
    """Keep the curve of a training that is finished at once and leaves no checkpoint."""
    (folder / _STATE_FILE).write_text(json.dumps({"curve": [dict(entry) for entry in curve]}, indent=1))


def has_weights(folder: Path) -> bool:
    """Say whether an epoch of a training has been finished in a folder."""
    return (folder / _WEIGHTS_FILE).exists()


def load_weights(folder: Path, stage: str) -> dict[str, np.ndarray]:
    """Return the best weights of a training folder.

    Raises:
        HarkenError: no epoch has been finished there.
    """
    try:
        with np.load(folder / _WEIGHTS_FILE) as kept:
            return dict(kept)
    except FileNotFoundError as error:
        raise HarkenError(f"{folder} holds no training: run `harken train --stage {stage}` first") from error


def load_state(folder: Path) -> dict[str, Any]:
    """Return rule, curve and best merit of a training folder, as JSON."""
    return dict(json.loads((folder / _STATE_FILE).read_text()))
