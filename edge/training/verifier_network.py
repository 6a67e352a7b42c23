"""The verifier's network: depthwise-separable convolutions over the log-mel picture of a four-second clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from edge.training.teacher import CLASSES

CLIP_FRAMES = 400
MEL_BANDS = 40
FEATURE_SCALE = 32.0
# channels after the stem and of each stage
_CHANNELS = (32, 48, 80, 112, 176)
_STEP_CHANNELS = 224
_HEAD_CHANNELS = 128
# frames that one step of the backbone's output stands for, and the teacher's windows in a clip
_STEP_FRAMES = 16
_WINDOWS = 4

layers = tf_keras.layers


def build_backbone() -> tf_keras.Model:
    """Return the backbone: float32[n, 400, 40, 1] features (int8 over 32) to float32[n, 25, 224], one for 160 ms.

    Beside the picture itself it sees the picture less each band's mean over the clip: what a microphone, its casing or
    a steady background colour is gone from that.
    """
    clip = layers.Input((CLIP_FRAMES, MEL_BANDS, 1), name="features")
    mean = layers.AveragePooling2D((CLIP_FRAMES, 1))(clip)
    x = layers.Concatenate()([clip, layers.Subtract()([clip, mean])])
    stem, first, second, third, fourth = _CHANNELS
    x = _normalised(layers.Conv2D(stem, (7, 3), strides=(4, 2), padding="same", use_bias=False)(x))
    x = _separable(x, first)
    x = _separable(x, second, (2, 2))
    x = _residual(x)
    x = _separable(x, third, (1, 2))
    x = _residual(x)
    x = _separable(x, fourth, (2, 1))
    x = _residual(x)
    # what lies at which pitch matters from here on; what lies when does not
    steps, bands, channels = x.shape[1:]
    x = layers.Reshape((steps, 1, bands * channels))(x)
    x = _normalised(layers.Conv2D(_STEP_CHANNELS, 1, use_bias=False)(x))
    return tf_keras.Model(clip, layers.Reshape((steps, _STEP_CHANNELS))(x), name="backbone")


def build_last_layers() -> tf_keras.Model:
    """Return what looks at neighbouring steps together: float32[n, 25, 224] to the same shape."""
    steps = layers.Input((CLIP_FRAMES // _STEP_FRAMES, _STEP_CHANNELS), name="steps")
    x = layers.Reshape((CLIP_FRAMES // _STEP_FRAMES, 1, _STEP_CHANNELS))(steps)
    y = _normalised(layers.DepthwiseConv2D((5, 1), padding="same", use_bias=False)(x))
    x = layers.Add()([x, _normalised(layers.Conv2D(_STEP_CHANNELS, 1, use_bias=False)(y))])
    return tf_keras.Model(steps, layers.Reshape((CLIP_FRAMES // _STEP_FRAMES, _STEP_CHANNELS))(x), name="last")


def build_event_head(events: int, dropout: float = 0.25) -> tf_keras.Model:
    """Return the head: float32[n, 25, 224] to logits float32[n, events]; the loudest step and the mean both count."""
    steps = layers.Input((CLIP_FRAMES // _STEP_FRAMES, _STEP_CHANNELS), name="steps")
    x = layers.Dropout(dropout)(steps)
    x = layers.Dense(_HEAD_CHANNELS, activation="relu")(x)
    x = layers.Concatenate()([layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(x)])
    x = layers.Dropout(dropout)(x)
    return tf_keras.Model(steps, layers.Dense(events, name="logits")(x), name="events")


def build_teacher_head() -> tf_keras.Model:
    """Return the head that repeats the teacher: float32[n, 25, 224] to float32[n, 4, 521]; never exported."""
    steps = layers.Input((CLIP_FRAMES // _STEP_FRAMES, _STEP_CHANNELS), name="steps")
    weights = tf.constant(window_weights().T)
    x = layers.Permute((2, 1))(steps)
    x = layers.Lambda(lambda transposed: tf.linalg.matmul(transposed, weights))(x)
    return tf_keras.Model(steps, layers.Dense(CLASSES)(layers.Permute((2, 1))(x)), name="teacher")


def window_weights() -> np.ndarray:
    """Return how much each step is part of each second of the clip: float32[4, 25], rows summing to 1."""
    steps = CLIP_FRAMES // _STEP_FRAMES
    window_frames = CLIP_FRAMES // _WINDOWS
    out = np.zeros((_WINDOWS, steps), np.float32)
    for frame in range(steps * _STEP_FRAMES):
        out[frame // window_frames, frame // _STEP_FRAMES] += 1.0 / window_frames
    return out


def deliverable(
    backbone: tf_keras.Model,
    last: tf_keras.Model,
    head: tf_keras.Model,
    slopes: Sequence[float],
    offsets: Sequence[float],
) -> tf_keras.Model:
    """Return what is shipped: features float32[n, 400, 40, 1] to calibrated probabilities float32[n, events].

    A probability is the logistic function of slope * logit + offset of its event.
    """
    clip = layers.Input((CLIP_FRAMES, MEL_BANDS, 1), name="features")
    scores = layers.Dense(len(slopes), activation="sigmoid", name="scores")
    model = tf_keras.Model(clip, scores(head(last(backbone(clip)))), name="harken_verifier")
    scores.set_weights([np.diag(np.asarray(slopes, np.float32)), np.asarray(offsets, np.float32)])
    return model


def _normalised(x: tf.Tensor) -> tf.Tensor:
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))


def _separable(x: tf.Tensor, channels: int, strides: tuple[int, int] = (1, 1)) -> tf.Tensor:
    # TensorFlow's depthwise convolution takes equal strides only: where they differ, pooling makes up for it
    if strides[0] != strides[1]:
        x = layers.AveragePooling2D(strides, padding="same")(x)
        strides = (1, 1)
    x = _normalised(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x))
    return _normalised(layers.Conv2D(channels, 1, use_bias=False)(x))


def _residual(x: tf.Tensor) -> tf.Tensor:
    return layers.Add()([x, _separable(x, x.shape[-1])])
