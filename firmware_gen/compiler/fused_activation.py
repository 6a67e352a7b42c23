"""The activation fused into an operator: the bounds to which its int8 output is clamped."""

import math

import numpy as np
import tflite

from firmware_gen.compiler.graph import Graph, Operator, Tensor

_FUSED = {
    tflite.ActivationFunctionType.NONE: (None, None),
    tflite.ActivationFunctionType.RELU: (0.0, None),
    tflite.ActivationFunctionType.RELU_N1_TO_1: (-1.0, 1.0),
    tflite.ActivationFunctionType.RELU6: (0.0, 6.0),
}


def fused_range(graph: Graph, operator: Operator, output: Tensor) -> tuple[int, int]:
    """Return least and greatest int8 of the output. Raises HarkenError for an activation that cannot be fused."""
    activation = operator.options.get("activation", 0)
    graph.require(
        operator, activation in _FUSED, f"its fused activation {activation} is not among NONE, RELU and RELU6"
    )
    lowest, highest = _FUSED[activation]

    def quantize(real: float) -> int:
        scaled = float(np.float32(real) / np.float32(output.scale))
        return output.zero_point + int(math.copysign(math.floor(abs(scaled) + 0.5), scaled))

    least = -128 if lowest is None else max(-128, quantize(lowest))
    greatest = 127 if highest is None else min(127, quantize(highest))
    graph.require(operator, least <= greatest, "its fused activation leaves no value of the output")
    return least, greatest
