"""A committed verifier's weights back in the network that is trained, so that a training may go on from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from edge.errors import HarkenError
from edge.training import verifier_network
from edge.training.clip_shards import LOGIT_SCALE, Clips
from edge.training.verifier_network import FEATURE_SCALE

# clips from which the statistics of normalisation are taken, and from which the teacher's head is fitted
_STATISTICS_CLIPS = 1000
_TEACHER_CLIPS = 8000
_BATCH = 100


def take_over(
    backbone: tf_keras.Model, last: tf_keras.Model, events: tf_keras.Model, model_path: Path, clips: Clips
) -> None:
    """Give the parts the weights of a committed .tflite, before its calibration.

    The converter has folded each normalisation into the convolution before it. It is taken apart again with the mean
    and the variance that the convolution has over `clips`, so that the network computes the same, and training may
    change both.

    Args:
        backbone: as `verifier_network` builds it.
        last: likewise.
        events: likewise.
        model_path: with the `manifest.json` that belongs to it beside it.
        clips: any, heard through the codec.

    Raises:
        HarkenError: the file is no verifier of this form.
    """
    parts = [layer for model in (backbone, last) for layer in model.layers]
    kernels = [layer for layer in parts if isinstance(layer, tf_keras.layers.Conv2D)]
    norms = [layer for layer in parts if isinstance(layer, tf_keras.layers.BatchNormalization)]
    try:
        convolutions, dense, added = _constants(model_path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise HarkenError(f"{model_path} cannot be gone on from ({error}): name a committed verifier") from error
    hidden_shape, _, logits_shape, logits_bias_shape = [weight.shape for weight in events.get_weights()]
    hidden, logits = dense.get(hidden_shape[::-1]), dense.get(logits_shape[::-1])
    if [kernel.shape for kernel, _ in convolutions] != [layer.weights[0].shape for layer in kernels] or not (
        hidden and logits
    ):
        raise HarkenError(f"{model_path} is a verifier of another form: train from the beginning, without --go-on")
    for layer, norm, (kernel, bias) in zip(kernels, norms, convolutions, strict=True):
        layer.weights[0].assign(kernel)
        _normalise(norm, bias, np.zeros_like(bias), np.full_like(bias, 1 - norm.epsilon))
    # a bias of zeros is left out
    hidden_bias = added.get(hidden_shape[1:], np.zeros(hidden_shape[1:], np.float32))
    logits_bias = np.zeros(logits_bias_shape, np.float32) if logits[1] is None else logits[1]
    events.set_weights([hidden[0].T, hidden_bias, logits[0].T, logits_bias])
    some = clips.features[:: max(1, len(clips) // _STATISTICS_CLIPS)][:_STATISTICS_CLIPS]
    for norm, (mean, variance) in zip(norms, _statistics(backbone, last, some), strict=True):
        _normalise(norm, norm.beta.numpy(), mean, variance)


def fit_teacher_head(
    backbone: tf_keras.Model,
    last: tf_keras.Model,
    head: tf_keras.Model,
    clips: Clips,
    mean: np.ndarray,
    spread: np.ndarray,
) -> None:
    """Set the head that repeats the teacher, which no committed model holds, to its least squares over taught clips.

    Args:
        backbone: which stays as it is.
        last: likewise.
        head: as `verifier_network` builds it.
        clips: with the teacher's logits.
        mean: of each class's logits, float[521].
        spread: likewise.
    """
    taught = np.flatnonzero(clips.is_taught)[:_TEACHER_CLIPS]
    windows = verifier_network.window_weights()
    channels = last.output_shape[-1]
    squares, products = np.zeros((channels + 1, channels + 1)), np.zeros((channels + 1, len(mean)))
    for start in range(0, len(taught), _BATCH):
        some = taught[start : start + _BATCH]
        steps = last(backbone(_scaled(clips.features[some]), training=False), training=False).numpy()
        x = np.einsum("ws,nsc->nwc", windows, steps).reshape(-1, channels)
        x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
        y = ((clips.teacher_logits[some].astype(np.float32) / LOGIT_SCALE - mean) / spread).reshape(-1, len(mean))
        squares += x.T @ x
        products += x.T @ y
    squares[np.arange(channels), np.arange(channels)] += 1e-3 * np.trace(squares[:channels, :channels]) / channels
    solved = np.linalg.solve(squares, products)
    head.set_weights([solved[:channels], solved[channels]])


def _constants(
    model_path: Path,
) -> tuple[list[tuple[np.ndarray, np.ndarray]], dict[tuple[int, ...], Any], dict[tuple[int, ...], np.ndarray]]:
    """Return (kernel, bias) of convolutions; by shape (kernel, bias or None) of dense layers, and what is added."""
    plain = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = tf.lite.Interpreter(model_content=model_path.read_bytes(), experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    constants: dict[int, np.ndarray] = {}
    convolutions: list[tuple[np.ndarray, np.ndarray]] = []
    dense: dict[tuple[int, ...], Any] = {}
    added: dict[tuple[int, ...], np.ndarray] = {}
    is_scaled = False
    for operation in interpreter._get_ops_details():
        inputs = [int(index) for index in operation["inputs"]]
        kind = operation["op_name"]
        second = constants.get(inputs[1]) if len(inputs) > 1 else None
        if kind == "DEQUANTIZE":
            constants[int(operation["outputs"][0])] = interpreter.get_tensor(inputs[0]).astype(np.float32)
        elif kind == "CONV_2D":
            # TFLite: [out, height, width, in]; Keras has the first axis last
            convolutions.append((np.transpose(constants[inputs[1]], (1, 2, 3, 0)), constants[inputs[2]]))
        elif kind == "MUL" and second is not None:
            # where a convolution looks at every other step, its normalisation is left beside it: a factor ...
            kernel, bias = convolutions[-1]
            convolutions[-1] = (kernel * second, bias * second)
        elif kind == "ADD" and second is not None and is_scaled:
            # ... and a term
            kernel, bias = convolutions[-1]
            convolutions[-1] = (kernel, bias + second)
        elif kind == "FULLY_CONNECTED":
            dense[second.shape] = (second, constants.get(inputs[2]) if len(inputs) > 2 else None)  # type: ignore[union-attr]
        elif kind == "ADD" and second is not None:
            added[second.shape] = second
        is_scaled = kind == "MUL" or (is_scaled and kind == "DEQUANTIZE")
    return convolutions, dense, added


def _normalise(norm: Any, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> None:
    """Let `norm` add `bias` to what it gets, given that this has that mean and variance."""
    norm.set_weights([np.sqrt(variance + norm.epsilon), bias + mean, mean, variance])


def _statistics(
    backbone: tf_keras.Model, last: tf_keras.Model, features: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return mean and variance of what each normalisation gets over clips int8[n, 400, 40]."""
    inner = [
        tf_keras.Model(model.input, [one.input for one in model.layers if _is_norm(one)] + [model.output])
        for model in (backbone, last)
    ]
    sums: list[tuple[np.ndarray, np.ndarray]] = []
    batches = range(0, len(features), _BATCH)
    for start in batches:
        *of_backbone, steps = inner[0](_scaled(features[start : start + _BATCH]))
        got = [one.numpy() for one in (*of_backbone, *inner[1](steps)[:-1])]
        parts = [(one.mean(axis=(0, 1, 2)), (one**2).mean(axis=(0, 1, 2))) for one in got]
        sums = [(a + c, b + d) for (a, b), (c, d) in zip(sums, parts, strict=True)] if sums else parts
    count = len(batches)
    return [(a / count, np.maximum(b / count - (a / count) ** 2, 1e-6)) for a, b in sums]


def _is_norm(layer: Any) -> bool:
    return isinstance(layer, tf_keras.layers.BatchNormalization)


def _scaled(features: np.ndarray) -> np.ndarray:
    return features[..., None].astype(np.float32) / FEATURE_SCALE
