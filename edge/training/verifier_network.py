"""The verifier's network: convolutions over the log-mel picture of a four-second clip."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from edge import catalogue
from edge.training.teacher import CLASSES, EVIDENCE_CLASSES

CLIP_FRAMES = 400
MEL_BANDS = 40
FEATURE_SCALE = 32.0
# channels after the stem and of each stage
_CHANNELS = (24, 48, 128)
_STEP_CHANNELS = 256
_HEAD_CHANNELS = 128
# how far apart (in steps) the neighbours are that each of the last layers looks at: in all 1.3 s to either side
_DILATIONS = (1, 2, 5)
# frames that one step of the backbone's output stands for, and the teacher's windows in a clip
_STEP_FRAMES = 16
_WINDOWS = 4

# classes of the teacher that are evidence of some event, in the order in which they are shipped
EVIDENCE = tuple(sorted({number for one in EVIDENCE_CLASSES.values() for number in one.speaking_for + one.against}))

# Beyond these a logit moves by a small part only. A network that has heard eleven children and eight panes is far too
# sure of itself: what it ruled out by five it may have ruled out wrongly, and there the evidence, learnt from all
# sounds, is to decide. Steps and beeps, of which the evidence says little, keep their logits as they are.
_SURE_NO, _SURE_YES = -1.0, 3.0
_BELOW, _ABOVE = 0.05, 0.2
_TAKEN_AS_THEY_ARE = ("footsteps", "appliance_beep")

layers = tf_keras.layers


def build_backbone() -> tf_keras.Model:
    """Return the backbone: float32[n, 400, 40, 1] features (int8 over 32) to float32[n, 25, 256], one for 160 ms.

    Beside the picture itself it sees the picture less each band's mean over the clip: what a microphone, its casing or
    a steady background colour is gone from that. Convolutions are whole ones: on a CPU they train as fast as
    depthwise-separable ones of a third of the weights, because those wait for memory.
    """
    clip = layers.Input((CLIP_FRAMES, MEL_BANDS, 1), name="features")
    mean = layers.AveragePooling2D((CLIP_FRAMES, 1))(clip)
    x = layers.Concatenate()([clip, layers.Subtract()([clip, mean])])
    stem, first, second = _CHANNELS
    x = _convolved(x, stem, (7, 3), strides=(4, 2))
    for channels in (first, second):
        x = _convolved(x, channels, (3, 3), strides=(2, 2))
        x = layers.Add()([x, _convolved(x, channels, (3, 3))])
    # what lies at which pitch matters from here on; what lies when does not
    steps, bands, channels = x.shape[1:]
    x = layers.Reshape((steps, 1, bands * channels))(x)
    x = _convolved(x, _STEP_CHANNELS, (1, 1))
    return tf_keras.Model(clip, layers.Reshape((steps, _STEP_CHANNELS))(x), name="backbone")


def build_last_layers() -> tf_keras.Model:
    """Return what looks at neighbouring steps together: float32[n, 25, 256] to the same shape."""
    steps = layers.Input((CLIP_FRAMES // _STEP_FRAMES, _STEP_CHANNELS), name="steps")
    x = layers.Reshape((CLIP_FRAMES // _STEP_FRAMES, 1, _STEP_CHANNELS))(steps)
    for dilation in _DILATIONS:
        x = layers.Add()([x, _convolved(x, _STEP_CHANNELS, (3, 1), dilation=(dilation, 1))])
    return tf_keras.Model(steps, layers.Reshape((CLIP_FRAMES // _STEP_FRAMES, _STEP_CHANNELS))(x), name="last")


def build_event_head(events: int, dropout: float = 0.25) -> tf_keras.Model:
    """Return the head: float32[n, 25, 256] to logits float32[n, events]; the loudest step and the mean both count."""
    steps = layers.Input((CLIP_FRAMES // _STEP_FRAMES, _STEP_CHANNELS), name="steps")
    x = layers.Dropout(dropout)(steps)
    x = layers.Dense(_HEAD_CHANNELS, activation="relu")(x)
    x = layers.Concatenate()([layers.GlobalMaxPooling1D()(x), layers.GlobalAveragePooling1D()(x)])
    x = layers.Dropout(dropout)(x)
    return tf_keras.Model(steps, layers.Dense(events, name="logits")(x), name="events")


def build_teacher_head() -> tf_keras.Model:
    """Return the head that repeats the teacher: float32[n, 25, 256] to float32[n, 4, 521], logits, standardised.

    Of its classes only those that are evidence of an event are shipped (`build_evidence_head`).
    """
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


def build_evidence_head(teacher: tf_keras.Model) -> tf_keras.Model:
    """Return the part of a trained teacher's head that is shipped: float32[n, 25, 256] to float32[n, classes].

    For each class of `EVIDENCE` the highest of the clip's four seconds.
    """
    steps = layers.Input((CLIP_FRAMES // _STEP_FRAMES, _STEP_CHANNELS), name="steps")
    windows = layers.Dense(_WINDOWS, use_bias=False)
    said = layers.Dense(len(EVIDENCE), name="evidence")
    x = layers.Permute((2, 1))(windows(layers.Permute((2, 1))(steps)))
    model = tf_keras.Model(steps, layers.GlobalMaxPooling1D()(said(x)), name="evidence")
    kernel, bias = teacher.layers[-1].get_weights()
    windows.set_weights([window_weights().T])
    said.set_weights([kernel[:, list(EVIDENCE)], bias[list(EVIDENCE)]])
    return model


def tempered(logits: tf.Tensor) -> tf.Tensor:
    """Return logits float32[n, events] as they are weighed against evidence: of what is beyond sureness a part only."""
    bounded = _bounded()
    bent = (1 - _BELOW) * (tf.nn.relu(logits - _SURE_NO) + _SURE_NO) - (1 - _ABOVE) * tf.nn.relu(logits - _SURE_YES)
    return (1 - bounded * (1 - _BELOW)) * logits + bounded * bent


def _bounded() -> np.ndarray:
    """Return 1 for each event whose logit is tempered and 0 for the others, float32[events]."""
    return np.array([name not in _TAKEN_AS_THEY_ARE for name in catalogue.load().names], np.float32)


def deliverable(
    backbone: tf_keras.Model,
    last: tf_keras.Model,
    head: tf_keras.Model,
    teacher: tf_keras.Model,
    weights: np.ndarray,
    offsets: np.ndarray,
) -> tf_keras.Model:
    """Return what is shipped: features float32[n, 400, 40, 1] to calibrated probabilities float32[n, events].

    Args:
        backbone: trained, as are the next three.
        last: see there.
        head: the events'.
        teacher: that which repeats the teacher.
        weights: of each event's tempered logit and of each class of `EVIDENCE`, float[events + classes, events].
        offsets: float[events]; a probability is the logistic function of the weighted sum plus this.
    """
    clip = layers.Input((CLIP_FRAMES, MEL_BANDS, 1), name="features")
    scores = layers.Dense(len(offsets), activation="sigmoid", name="scores")
    steps = last(backbone(clip))
    logits = head(steps)
    # `tempered`, of which the sums are part of the last layer
    beyond = [layers.ReLU()(layers.Rescaling(1.0, offset=-at)(logits)) for at in (_SURE_NO, _SURE_YES)]
    answers = layers.Concatenate()([logits, *beyond, build_evidence_head(teacher)(steps)])
    model = tf_keras.Model(clip, scores(answers), name="harken_verifier")
    bounded = _bounded()
    of_logits, of_evidence = np.split(np.asarray(weights, np.float32), [len(offsets)])
    shares = [1 - bounded * (1 - _BELOW), bounded * (1 - _BELOW), -bounded * (1 - _ABOVE)]
    kernel = np.concatenate([*(share[:, None] * of_logits for share in shares), of_evidence])
    constant = np.asarray(offsets, np.float32) + (bounded * (1 - _BELOW) * _SURE_NO) @ of_logits
    scores.set_weights([kernel, constant])
    return model


def _convolved(
    x: tf.Tensor,
    channels: int,
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> tf.Tensor:
    convolution = layers.Conv2D(
        channels, kernel, strides=strides, dilation_rate=dilation, padding="same", use_bias=False
    )
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(convolution(x)))
