"""A head trained in float becomes the integers of a blob."""

import math

import numpy as np
import numpy.typing as npt

from firmware_gen.compiler.fixed_point import quantize_multiplier
from firmware_gen.compiler.heads import HeadLayers
from firmware_gen.compiler.ops.fully_connected import FullyConnected

# of the logit: -12.8 to 12.7, where a score of 8 bits has long reached its ends
LOGIT_SCALE = 0.1
_INT8_STEPS = 127


def quantize_head(
    hidden_kernel: npt.NDArray[np.float64],
    hidden_bias: npt.NDArray[np.float64],
    output_kernel: npt.NDArray[np.float64],
    output_bias: float,
    input_scale: float,
    greatest_hidden: float,
) -> HeadLayers:
    """Return a RELU layer and a logistic output in int8.

    Args:
        hidden_kernel: float64[inputs, hidden].
        hidden_bias: float64[hidden].
        output_kernel: float64[hidden].
        output_bias: of the logit.
        input_scale: what one step of the trunk's int8 output, whose zero is 0 here, means to `hidden_kernel`.
        greatest_hidden: the greatest value that a hidden unit takes: the range of its int8.
    """
    hidden_scale = greatest_hidden / 255
    weights, scales = _rows(hidden_kernel.T)
    hidden = FullyConnected(
        weights=weights,
        bias=np.round(hidden_bias / (scales * input_scale)).astype(np.int64),
        scales=tuple(quantize_multiplier(float(scale) * input_scale / hidden_scale) for scale in scales),
        zero_point=-128,
        least=-128,
        greatest=127,
    )
    weights, scales = _rows(output_kernel[None])
    # the hidden layer's zero point of -128 is folded in
    bias = np.round(output_bias / (scales * hidden_scale)).astype(np.int64) + 128 * weights.sum(axis=1)
    output = FullyConnected(
        weights=weights,
        bias=bias,
        scales=(quantize_multiplier(float(scales[0]) * hidden_scale / LOGIT_SCALE),),
        zero_point=0,
        least=-128,
        greatest=127,
    )
    return HeadLayers((hidden, output), tuple(_score(value * LOGIT_SCALE) for value in range(-128, 128)))


def _rows(weights: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return int8 values of float64[rows, columns], and what one step of each row means."""
    scales = np.maximum(np.abs(weights).max(axis=1), 1e-6) / _INT8_STEPS
    return np.round(weights / scales[:, None]).astype(np.int64), scales


def _score(logit: float) -> int:
    return min(255, round(256 / (1 + math.exp(-logit))))
