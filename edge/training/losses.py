"""What training asks of the heads: few false triggers at a high recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from edge.dataset.labels import IGNORED, TARGET
from edge.training.repetition import repetition_loss

WINDOW_STEPS = 50
# stands for "no step of the window is asked" in a maximum
_NOTHING = -1e4


@dataclass(frozen=True)
class LossRule:
    """How answers are weighed.

    Attributes:
        positive_weight_limit: rare events weigh more, at most this much.
        hard_negatives: power of a wrong score by which a step without the event weighs: the larger, the more the
            hardest count and the less the many easy ones.
        peak_share: share of the loss that looks at each second's highest score alone, as a trigger does.
        repeated_weight: how much it weighs, beside the labels, that the verifier's answers are repeated.
    """

    positive_weight_limit: float = 4.0
    hard_negatives: float = 0.0
    peak_share: float = 0.3
    repeated_weight: float = 0.0


def positive_weights(labels: np.ndarray, limit: float) -> np.ndarray:
    """Return float32[events]: the square root of how many negatives there are for a positive, at most `limit`."""
    is_target = (labels & TARGET).mean(axis=(0, 1)) / TARGET
    return np.clip(np.sqrt((1 - is_target) / np.maximum(is_target, 1e-4)), 1.0, limit).astype(np.float32)


def detection_loss(logits: tf.Tensor, bits: tf.Tensor, weights: np.ndarray, rule: LossRule) -> tf.Tensor:
    """Return the loss of logits float32[time, batch, events] against label bits uint8 of the same shape.

    Args:
        logits: of the heads; time is a multiple of `WINDOW_STEPS` or shorter than it.
        bits: of `edge.dataset.labels`, with the verifier's answers where they are to be repeated.
        weights: of positives, float32[events].
        rule: how answers are weighed.
    """
    target = tf.cast(tf.bitwise.bitwise_and(bits, tf.constant(TARGET, tf.uint8)) > 0, tf.float32)
    asked = tf.cast(tf.equal(tf.bitwise.bitwise_and(bits, tf.constant(IGNORED, tf.uint8)), 0), tf.float32)
    steps = _weighed(logits, target, weights, rule)
    step_loss = tf.reduce_sum(asked * steps) / float(np.prod(logits.shape))
    repeated = rule.repeated_weight * repetition_loss(logits, bits) if rule.repeated_weight else 0.0
    if rule.peak_share == 0:
        return step_loss + repeated
    time, batch, events = logits.shape
    windows = max(1, time // WINDOW_STEPS)

    def in_windows(value: tf.Tensor) -> tf.Tensor:
        return tf.reshape(value, (windows, time // windows, batch, events))

    asked, target, logits = in_windows(asked), in_windows(target), in_windows(logits)
    has_target = tf.reduce_max(asked * target, axis=1)
    # where the event sounds its own peak counts, elsewhere that of all steps that are asked
    counted = asked * tf.where(has_target[:, None] > 0, target, tf.ones_like(target))
    peak = tf.reduce_max(tf.where(counted > 0, logits, tf.fill(logits.shape, _NOTHING)), axis=1)
    is_asked = tf.reduce_max(asked, axis=1)
    # a window that is mostly not asked says nothing about the event's absence
    is_asked *= tf.where(has_target > 0, 1.0, tf.cast(tf.reduce_mean(asked, axis=1) > 0.5, tf.float32))
    peaks = _weighed(tf.where(is_asked > 0, peak, tf.zeros_like(peak)), has_target, weights, rule)
    peak_loss = tf.reduce_sum(is_asked * peaks) / float(windows * batch * events)
    return (1 - rule.peak_share) * step_loss + rule.peak_share * peak_loss + repeated


def _weighed(logits: tf.Tensor, target: tf.Tensor, weights: np.ndarray, rule: LossRule) -> tf.Tensor:
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
    wrong = tf.sigmoid(logits) if rule.hard_negatives else tf.ones_like(logits)
    of_negatives = (1.0 - target) * tf.pow(wrong, rule.hard_negatives) if rule.hard_negatives else 1.0 - target
    return cross_entropy * (target * weights + of_negatives)
