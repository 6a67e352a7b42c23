"""What the verifier makes of whole scenes, so that the detector's heads may learn to repeat it (distillation).

A label says that a door shuts; the verifier says how much it sounds like one, and what else does. Its answers stand in
the upper bits of the labels, so that they are cut, drawn and put side by side with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from edge import catalogue
from edge.dataset.shards import FRAMES_PER_STEP, Shards
from edge.errors import HarkenError

# the verifier hears four seconds; its answer is kept at the first step of them, every two seconds
WINDOW_STEPS, HOP_STEPS = 200, 100
# above the bits of `edge.dataset.labels`: 0, nothing was answered; else 1 + thirtieths of a probability
ANSWER_SHIFT = 3
ANSWER_MOST = 30
# an alarm lasts longer than the verifier hears, and one head of it fires on the other's tone: these are not repeated
REPEATED = ("glass_break", "footsteps", "door", "appliance_beep", "dog_bark", "baby_cry")
_FEATURE_SCALE = 32.0
_BATCH = 16


def with_answers(training: Shards, coded: Shards, verifier: Path, events: Sequence[str] = REPEATED) -> Shards:
    """Return the scenes with the verifier's answers about some events in their labels.

    Args:
        training: the scenes.
        coded: the same scenes as they are after the clip codec, which is what a verifier hears.
        verifier: its .tflite, float32[n, 400, 40, 1] to float32[n, events].
        events: of which the answers are kept.

    Raises:
        HarkenError: the file is no such model.
    """
    run = _runner(verifier)
    labels = training.labels.copy()
    chosen = [catalogue.load().index(name) for name in events]
    frames = WINDOW_STEPS * FRAMES_PER_STEP
    scenes, steps, _ = labels.shape
    starts = range(0, steps - WINDOW_STEPS + 1, HOP_STEPS)
    for scene in range(scenes):
        heard = coded.features[scene]
        windows = np.stack([heard[start * FRAMES_PER_STEP : start * FRAMES_PER_STEP + frames] for start in starts])
        answers = np.concatenate([run(windows[at : at + _BATCH]) for at in range(0, len(windows), _BATCH)])
        levels = (1 + np.rint(answers[:, chosen] * ANSWER_MOST)).astype(np.uint8)
        labels[np.ix_([scene], list(starts), chosen)] |= (levels << ANSWER_SHIFT)[None]
    return replace(training, labels=labels)


def without_answers(labels: np.ndarray) -> np.ndarray:
    """Return label bits uint8 without what the verifier answered."""
    return labels & np.uint8((1 << ANSWER_SHIFT) - 1)


def repetition_loss(logits: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Return the cross entropy of each window's highest logit against what the verifier answered there.

    Args:
        logits: float32[time, batch, events]; the first step is one at which answers are kept.
        bits: uint8 of the same shape.
    """
    time, batch, events = logits.shape
    starts = range(0, time - WINDOW_STEPS + 1, HOP_STEPS)
    total = tf.constant(0.0)
    for start in starts:
        level = tf.cast(tf.bitwise.right_shift(bits[start], tf.constant(ANSWER_SHIFT, tf.uint8)), tf.float32)
        is_answered = tf.cast(level > 0, tf.float32)
        answer = tf.maximum(level - 1, 0) / ANSWER_MOST
        peak = tf.reduce_max(logits[start : start + WINDOW_STEPS], axis=0)
        total += tf.reduce_sum(is_answered * tf.nn.sigmoid_cross_entropy_with_logits(answer, peak))
    return total / float(max(1, len(starts)) * batch * events)


def _runner(verifier: Path) -> Any:
    try:
        model = tf.lite.Interpreter(model_content=verifier.read_bytes(), num_threads=1)
        taken = model.get_input_details()[0]
        model.resize_tensor_input(taken["index"], (_BATCH, *taken["shape"][1:]))
        model.allocate_tensors()
        given = model.get_output_details()[0]
    except (OSError, ValueError, RuntimeError) as error:
        raise HarkenError(f"{verifier} cannot be loaded ({error}): name a verifier's .tflite") from error
    shapes = tuple(int(n) for n in taken["shape"][1:]), int(given["shape"][-1])
    if shapes != ((WINDOW_STEPS * FRAMES_PER_STEP, 40, 1), len(catalogue.load().names)):
        raise HarkenError(
            f"{verifier} takes {shapes[0]} and answers {shapes[1]} events: name a verifier of this project"
        )

    def run(windows: np.ndarray) -> np.ndarray:
        x = np.zeros((_BATCH, *windows.shape[1:], 1), np.float32)
        x[: len(windows), ..., 0] = windows / _FEATURE_SCALE
        model.set_tensor(taken["index"], x)
        model.invoke()
        return np.asarray(model.get_tensor(given["index"])[: len(windows)])

    return run
