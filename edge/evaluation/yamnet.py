"""YAMNet as a baseline: what a general model of 521 classes says of the same clips.

YAMNet is a mobile network trained on AudioSet (TensorFlow model garden, Apache-2.0). Its file is not part of this
project.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge import catalogue
from edge.errors import HarkenError
from edge.evaluation.tflite_runtime import open_interpreter

WINDOW_SAMPLES = 15_600
_HOP_SAMPLES = WINDOW_SAMPLES // 2
_CLASSES = 521

# classes of AudioSet that mean an event, by number: a narrow choice and a wide one. The better of the two stands in
# a table, so that the choice is never to the baseline's disadvantage
CLASSES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    # Smoke detector, smoke alarm; + Fire alarm
    "smoke_alarm": ((393,), (393, 394)),
    # it has no class of its own: the same tone in another rhythm; + Fire alarm, Alarm
    "co_alarm": ((393,), (382, 393, 394)),
    # Shatter; + Glass, Smash, crash, Breaking
    "glass_break": ((437,), (435, 437, 463, 464)),
    # Walk, footsteps; + Run
    "footsteps": ((48,), (46, 48)),
    # Door; + Sliding door, Slam
    "door": ((348,), (348, 351, 352)),
    # Beep, bleep; + Microwave oven, Alarm clock, Buzzer
    "appliance_beep": ((475,), (362, 389, 392, 475)),
    # Bark; + Dog, Yip, Bow-wow
    "dog_bark": ((70,), (69, 70, 71, 73)),
    # Baby cry, infant cry; + Crying, sobbing
    "baby_cry": ((20,), (19, 20)),
}
CHOICES = 2


class YamnetScorer:
    """Scores clips by YAMNet.

    Args:
        model_path: the `.tflite` that takes 15,600 samples and gives 521 scores.

    Raises:
        HarkenError: no runtime is installed, or the file is not that model.
    """

    def __init__(self, model_path: Path) -> None:
        if not model_path.is_file():
            raise HarkenError(f"there is no baseline at {model_path}: name the .tflite of YAMNet, or leave it out")
        self._interpreter = open_interpreter(model_path)
        given, taken = self._interpreter.get_output_details()[0], self._interpreter.get_input_details()[0]
        if tuple(taken["shape"]) != (WINDOW_SAMPLES,) or given["shape"][-1] != _CLASSES:
            raise HarkenError(
                f"{model_path} takes {list(taken['shape'])} and gives {list(given['shape'])}: YAMNet takes "
                f"[{WINDOW_SAMPLES}] samples and gives [1, {_CLASSES}] scores"
            )
        self._input, self._output = taken["index"], given["index"]

    def __call__(self, pcm: np.ndarray) -> np.ndarray:
        """Return the highest score over half-overlapping windows of int16[n], float32[CHOICES, events]."""
        padded = np.pad(pcm, (0, max(0, WINDOW_SAMPLES - len(pcm))))
        starts = [*range(0, len(padded) - WINDOW_SAMPLES, _HOP_SAMPLES), len(padded) - WINDOW_SAMPLES]
        highest = np.max([self._classes(padded[start : start + WINDOW_SAMPLES]) for start in starts], axis=0)
        out = np.zeros((CHOICES, len(catalogue.load())), np.float32)
        for index, event in enumerate(catalogue.load().names):
            for choice, classes in enumerate(CLASSES[event]):
                out[choice, index] = highest[list(classes)].max()
        return out

    def _classes(self, window: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input, window.astype(np.float32) / np.float32(32768))
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output)[0])
