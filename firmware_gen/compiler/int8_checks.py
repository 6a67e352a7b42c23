"""What every int8 operator demands of its tensors."""

import numpy as np

from firmware_gen.compiler.graph import Graph, Operator, Tensor


def require_int8(graph: Graph, operator: Operator, *tensors: Tensor) -> None:
    """Raise HarkenError unless all tensors are int8 with one scale and a zero point within int8."""
    for tensor in tensors:
        graph.require(operator, tensor.dtype == np.int8, f"'{tensor.name}' is not int8: convert to full int8")
        is_single = tensor.quantization is not None and len(tensor.quantization.scales) == 1
        graph.require(operator, is_single, f"'{tensor.name}' has not one quantisation scale")
        graph.require(operator, -128 <= tensor.zero_point <= 127, "a zero point is outside int8")


def require_same_quantization(graph: Graph, operator: Operator, source: Tensor, output: Tensor) -> None:
    """Raise HarkenError unless the values mean the same on both sides: TFLM moves them without rescaling."""
    is_same = (source.scale, source.zero_point) == (output.scale, output.zero_point)
    graph.require(operator, is_same, f"input '{source.name}' is quantised unlike the output")


def constant_int32(graph: Graph, operator: Operator, position: int, what: str) -> list[int]:
    """Return the values of a constant int32 input. Raises HarkenError where it is none; `what` names it."""
    tensor = graph.input_of(operator, position)
    graph.require(operator, tensor.data is not None and tensor.dtype == np.int32, f"its {what} are not constant int32")
    return [int(value) for value in np.asarray(tensor.data).ravel()]
