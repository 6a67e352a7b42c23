"""From trained weights to the int8 detector that the device runs, and how close the two are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge import catalogue
from edge.quantization.contract import check_detector, operator_counts
from edge.quantization.convert import convert_detector
from edge.quantization.tflm import TflmModel


def quantize(weights: dict[str, np.ndarray], calibration: np.ndarray, output_path: Path) -> dict[str, Any]:
    """Convert to int8, calibrated over whole training scenes one after another, and check the result.

    Args:
        weights: as `edge.training.network.DetectorNetwork.weights` returns them.
        calibration: int8[steps, 80]: scenes of the training part, whole and in order.
        output_path: the .tflite to write.

    Returns:
        What a manifest says of it: calibration steps and operators.

    Raises:
        HarkenError: the converter failed, or the model is not what the device expects.
    """
    names = catalogue.load().names
    convert_detector(weights, names, calibration, output_path)
    check_detector(output_path, len(names))
    return {"calibration_steps": len(calibration), "operators": operator_counts(output_path)}


class TflmScorer:
    """Scores by the real TFLM, as the device does: int8[steps, 80] from rest to uint8[steps, events]."""

    def __init__(self, model_path: Path) -> None:
        self._model = TflmModel(model_path)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the scores of one clip or scene."""
        self._model.reset()
        return (self._model.run(features).astype(np.int16) + 128).astype(np.uint8)


def agreement(float_scores: Sequence[np.ndarray], int8_scores: Sequence[np.ndarray]) -> Mapping[str, Any]:
    """Return how the int8 scores (0–255) follow the float ones: correlation by event, mean and largest difference."""
    exact = np.concatenate([score.reshape(-1, score.shape[-1]) for score in float_scores]).astype(np.float64)
    given = np.concatenate([score.reshape(-1, score.shape[-1]) for score in int8_scores]).astype(np.float64)
    difference = np.abs(exact - given) / 256
    correlations = {
        name: round(float(np.corrcoef(exact[:, index], given[:, index])[0, 1]), 5)
        for index, name in enumerate(catalogue.load().names)
    }
    return {
        "steps": len(exact),
        "correlation": correlations,
        "mean_difference": round(float(difference.mean()), 5),
        "largest_difference": round(float(difference.max()), 4),
    }
