"""Makes `detector_form_random_i8.tflite`: the detector's form with random weights, converted as the detector is.

Needs TensorFlow: `python -m tests.models.make_detector_form tests/models/detector_form_random_i8.tflite`.
The weights are larger than trained ones, so that gates and cells come near their limits.
"""

import sys
from pathlib import Path

import numpy as np

from edge import catalogue
from edge.quantization.convert import convert_detector

FEATURES, UNITS, HIDDEN = 80, 64, 16
CALIBRATION_STEPS = 600
SEED = 11


def random_weights(events: int) -> dict[str, np.ndarray]:
    """Return weights in the order and shapes of a training's result."""
    rng = np.random.default_rng(SEED)
    weights = {}
    for layer, inputs in enumerate((FEATURES, UNITS)):
        weights[f"trunk_{layer}_kernel"] = rng.normal(0, 0.25, (inputs, 4 * UNITS))
        weights[f"trunk_{layer}_recurrent"] = rng.normal(0, 0.25, (UNITS, 4 * UNITS))
        weights[f"trunk_{layer}_bias"] = rng.normal(0, 0.5, 4 * UNITS)
    weights["hidden_kernel"] = rng.normal(0, 0.6, (UNITS, events * HIDDEN))
    weights["hidden_bias"] = rng.normal(0, 0.5, events * HIDDEN)
    weights["output_kernel"] = rng.normal(0, 0.8, (events, HIDDEN))
    weights["output_bias"] = rng.normal(0, 0.5, events)
    return {name: values.astype(np.float32) for name, values in weights.items()}


def main(out: Path) -> None:
    """Convert and write."""
    events = catalogue.load().names
    rng = np.random.default_rng(SEED + 1)
    calibration = np.clip(rng.normal(0, 48, (CALIBRATION_STEPS, FEATURES)), -128, 127).astype(np.int8)
    convert_detector(random_weights(len(events)), events, calibration, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
