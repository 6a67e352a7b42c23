"""The detector's network as it is trained: a two-layer LSTM trunk and a small head for every event."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from edge.training.recurrent import ClippedLstm, matrix_in_steps

STEP_INPUTS = 80
# 56 and 64: trunk and eight heads then take less than 72 KB of flash as int8
FIRST_UNITS, TRUNK_UNITS = 56, 64
HEAD_UNITS = 16
# int8 features over this are the model's float input; the converter's scale must be its inverse
FEATURE_SCALE = 32.0

_TRUNK_PARTS = ("kernel", "recurrent", "bias")
_HEAD_PARTS = ("hidden_kernel", "hidden_bias", "output_kernel", "output_bias")


class DetectorNetwork(tf.Module):
    """The trunk and all heads."""

    def __init__(self, events: int, seed: int) -> None:
        super().__init__(name="detector")
        rng = tf.random.Generator.from_seed(seed)
        self.events = events
        self.first = ClippedLstm(STEP_INPUTS, FIRST_UNITS, rng, "trunk_0")
        self.second = ClippedLstm(FIRST_UNITS, TRUNK_UNITS, rng, "trunk_1")
        limit = (6.0 / (TRUNK_UNITS + HEAD_UNITS)) ** 0.5
        self.hidden_kernel = tf.Variable(rng.uniform((TRUNK_UNITS, events * HEAD_UNITS), -limit, limit))
        self.hidden_bias = tf.Variable(tf.zeros(events * HEAD_UNITS))
        self.output_kernel = tf.Variable(rng.uniform((events, HEAD_UNITS), -0.5, 0.5))
        # at first nothing is heard: events are rare
        self.output_bias = tf.Variable(tf.fill((events,), -3.0))

    def zero_state(self, batch: int) -> list[tf.Tensor]:
        """Return the state of a device that has heard nothing: float32[batch, 56] twice, then [batch, 64] twice."""
        return [tf.zeros((batch, units)) for units in (FIRST_UNITS, FIRST_UNITS, TRUNK_UNITS, TRUNK_UNITS)]

    def trunk(
        self, x: tf.Tensor, state: list[tf.Tensor], is_quantised: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return the trunk's output float32[time, batch, 64] for x float32[time, batch, 80], and the state after it."""
        y, h0, c0 = self.first(x, state[0], state[1], is_quantised)
        y, h1, c1 = self.second(y, state[2], state[3], is_quantised)
        return y, [h0, c0, h1, c1]

    def heads(self, y: tf.Tensor, is_quantised: bool = False) -> tf.Tensor:
        """Return logits float32[..., events] for the trunk's output float32[..., 64]."""
        hidden_kernel, output_kernel = self.hidden_kernel, self.output_kernel
        if is_quantised:
            by_head = tf.split(hidden_kernel, self.events, axis=1)
            hidden_kernel = tf.concat([matrix_in_steps(kernel) for kernel in by_head], axis=1)
            output_kernel = tf.stack([matrix_in_steps(kernel) for kernel in tf.unstack(output_kernel)])
        hidden = tf.nn.relu(tf.matmul(tf.reshape(y, (-1, TRUNK_UNITS)), hidden_kernel) + self.hidden_bias)
        # every head reads its own hidden units only: one product with a matrix of blocks does all heads
        blocks = tf.eye(self.events)[:, None, :] * output_kernel[:, :, None]
        logits = tf.matmul(hidden, tf.reshape(blocks, (self.events * HEAD_UNITS, self.events))) + self.output_bias
        return tf.reshape(logits, (*y.shape[:-1], self.events))

    def __call__(
        self, x: tf.Tensor, state: list[tf.Tensor], is_quantised: bool = False
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return logits float32[time, batch, events] for x float32[time, batch, 80], and the state after it."""
        y, state = self.trunk(x, state, is_quantised)
        return self.heads(y, is_quantised), state

    @property
    def trunk_variables(self) -> list[tf.Variable]:
        """The variables of both LSTM layers."""
        return [*self.first.trainable_variables, *self.second.trainable_variables]

    def named_variables(self) -> dict[str, tf.Variable]:
        """Return every variable by the name under which its weights are kept."""
        named = {part: getattr(self, part) for part in _HEAD_PARTS}
        for layer in (self.first, self.second):
            named |= {f"{layer.name}_{part}": getattr(layer, part) for part in _TRUNK_PARTS}
        return named

    def weights(self) -> dict[str, np.ndarray]:
        """Return all weights by name, float32."""
        return {name: variable.numpy() for name, variable in self.named_variables().items()}

    def assign(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take over the weights that are named; all others stay."""
        variables = self.named_variables()
        for name, value in weights.items():
            variables[name].assign(value)


def load_network(weights: Mapping[str, np.ndarray]) -> DetectorNetwork:
    """Return a network with the given weights, as `DetectorNetwork.weights` names them."""
    network = DetectorNetwork(len(weights["output_bias"]), seed=0)
    network.assign(weights)
    return network


def flash_bytes(weights: Mapping[str, np.ndarray]) -> int:
    """Return what the weights take as int8 with 32-bit biases: matrices a byte each, vectors four."""
    biases = sum(value.size for name, value in weights.items() if name.endswith("bias"))
    return sum(value.size for value in weights.values()) + 3 * biases


def trunk_weights(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return those of the weights that are the trunk's."""
    return {name: value for name, value in weights.items() if name.startswith("trunk_")}


def scores(network: DetectorNetwork, features: np.ndarray, batch: int = 64) -> np.ndarray:
    """Return probabilities float32[scenes, steps, events] for int8[scenes, steps, 80], each scene from rest."""
    return _in_batches(_score_function(network, batch), features, batch, network.events)


def trunk_outputs(network: DetectorNetwork, features: np.ndarray, batch: int = 64) -> np.ndarray:
    """Return the trunk's outputs float32[scenes, steps, 64] for int8[scenes, steps, 80], each scene from rest."""
    run = tf.function(lambda x: network.trunk(x, network.zero_state(batch))[0], autograph=False)
    return _in_batches(run, features, batch, TRUNK_UNITS)


def clip_scores(network: DetectorNetwork, clips: Sequence[np.ndarray], batch: int = 32) -> list[np.ndarray]:
    """Return scores float32[steps, events] of 0–256 for each clip's int8[steps, 80], every clip from rest."""
    return [probabilities * 256 for probabilities in _ragged(_score_function(network, batch), clips, batch, network)]


def _ragged(
    run: Callable[[tf.Tensor], tf.Tensor], clips: Sequence[np.ndarray], batch: int, network: DetectorNetwork
) -> list[np.ndarray]:
    order = sorted(range(len(clips)), key=lambda index: len(clips[index]))
    out: list[np.ndarray] = [np.empty(0, np.float32)] * len(clips)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        # a length is compiled once: round it up
        steps = -(-len(clips[chosen[-1]]) // 250) * 250
        together = np.zeros((len(chosen), steps, STEP_INPUTS), np.int8)
        for row, index in enumerate(chosen):
            together[row, : len(clips[index])] = clips[index]
        values = _in_batches(run, together, batch, network.events)
        for row, index in enumerate(chosen):
            out[index] = values[row, : len(clips[index])]
    return out


def _score_function(network: DetectorNetwork, batch: int) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(lambda x: tf.sigmoid(network(x, network.zero_state(batch))[0]), autograph=False)


def _in_batches(run: Callable[[tf.Tensor], tf.Tensor], features: np.ndarray, batch: int, width: int) -> np.ndarray:
    scenes, steps, _ = features.shape
    out = np.empty((scenes, steps, width), np.float32)
    for start in range(0, scenes, batch):
        part = features[start : start + batch]
        x = np.zeros((steps, batch, STEP_INPUTS), np.float32)
        x[:, : len(part)] = part.swapaxes(0, 1) / FEATURE_SCALE
        out[start : start + batch] = run(tf.constant(x)).numpy()[:, : len(part)].swapaxes(0, 1)
    return out
