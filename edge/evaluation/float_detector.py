"""The detector before quantisation, on the features that the device computes: what int8 is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.errors import HarkenError
from edge.evaluation.tflite_runtime import open_interpreter

FLOAT_DETECTOR_FILE = "detector.float.tflite"
_FEATURE_SCALE = np.float32(1 / 32)
_SCORE_SCALE = np.float32(256)  # as the device's scores: 0 to 255


class FloatDetector:
    """Scores a stream by the float network, from rest.

    Args:
        model_path: float32[1, steps, 80] → float32[1, steps, events], its state kept from call to call.

    Raises:
        HarkenError: the file is missing, or is not of that form.
    """

    def __init__(self, model_path: Path) -> None:
        if not model_path.is_file():
            raise HarkenError(f"there is no float detector at {model_path}: deliver it with `harken quantize`")
        self._interpreter = open_interpreter(model_path)
        taken, given = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        self._input, self._output = taken["index"], given["index"]
        if len(taken["shape"]) != 3 or len(given["shape"]) != 3 or taken["shape"][1] != given["shape"][1]:
            raise HarkenError(f"{model_path} is no float detector: it takes {taken['shape']}, gives {given['shape']}")
        self._steps = int(taken["shape"][1])

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return scores float32[steps, events], 0 to 256, of features int8[steps, 80]."""
        self._interpreter.reset_all_variables()
        out = []
        for start in range(0, len(features), self._steps):
            part = features[start : start + self._steps].astype(np.float32) * _FEATURE_SCALE
            padded = np.pad(part, ((0, self._steps - len(part)), (0, 0)))
            self._interpreter.set_tensor(self._input, padded[None])
            self._interpreter.invoke()
            out.append(self._interpreter.get_tensor(self._output)[0, : len(part)])
        return np.concatenate(out) * _SCORE_SCALE
