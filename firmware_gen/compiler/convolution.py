"""The numbers of a convolution: what CONV_2D and DEPTHWISE_CONV_2D have in common."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from firmware_gen.compiler.fixed_point import Scale, quantize_multiplier
from firmware_gen.compiler.fused_activation import fused_range
from firmware_gen.compiler.graph import Graph, Operator, Tensor
from firmware_gen.compiler.int8_checks import require_int8

SUM_LIMIT = 2**30  # what hk_requantize_bounded takes once it is shifted left


@dataclass(frozen=True)
class Filters:
    """The filters of a layer in integers.

    weights: int64[outputs, values of a filter] of int8 values. bias: int64[outputs] of int32 values, the input's zero
    point folded in. scales: one per output. zero_point, least, greatest: of the output, int8.
    """

    weights: npt.NDArray[np.int64]
    bias: npt.NDArray[np.int64]
    scales: tuple[Scale, ...]
    zero_point: int
    least: int
    greatest: int


def read_filters(graph: Graph, operator: Operator, axis: int) -> Filters:
    """Return the filters, of which `axis` of the weights counts.

    Raises HarkenError where they cannot be compiled, ValueError for a scale that cannot be quantised.
    """
    graph.require(operator, len(operator.inputs) in (2, 3), f"{len(operator.inputs)} inputs where there are 2 or 3")
    source, weights, output = graph.input_of(operator, 0), graph.input_of(operator, 1), graph.output_of(operator)
    require_int8(graph, operator, source, output)
    is_fit = weights.data is not None and weights.dtype == np.int8 and len(weights.shape) == 4
    graph.require(operator, is_fit, "its weights are not constant int8 of 4 dimensions: convert to full int8")
    quantization = weights.quantization
    if quantization is None or any(quantization.zero_points):
        raise graph.refuse(operator, "its weights are not quantised around zero")
    count = weights.shape[axis]
    is_per_output = len(quantization.scales) == count and quantization.axis == axis
    graph.require(
        operator, len(quantization.scales) == 1 or is_per_output, "its weights' scales are not one per output channel"
    )
    graph.require(operator, output.shape[-1:] == (count,), f"{count} filters do not give the output's channels")
    scales = quantization.scales * (count if len(quantization.scales) == 1 else 1)
    factors = tuple(quantize_multiplier(source.scale * scale / output.scale) for scale in scales)
    matrix = np.moveaxis(np.asarray(weights.data, np.int64), axis, 0).reshape(count, -1)
    bias = _fold(graph, operator, source, matrix, factors)
    return Filters(matrix, bias, factors, output.zero_point, *fused_range(graph, operator, output))


def _fold(
    graph: Graph, operator: Operator, source: Tensor, matrix: npt.NDArray[np.int64], scales: tuple[Scale, ...]
) -> npt.NDArray[np.int64]:
    """Return the bias less zero point times weights; refuse what could overflow in TFLM or here."""
    count = len(matrix)
    bias = graph.optional_input(operator, 2)
    start = np.zeros(count, np.int64)
    if bias is not None:
        is_fit = bias.data is not None and bias.dtype == np.int32 and bias.shape == (count,)
        graph.require(operator, is_fit, f"its bias is not constant int32 of {count} values")
        start = np.asarray(bias.data, np.int64)
    magnitudes = np.abs(matrix).sum(axis=1)
    folded = start - source.zero_point * matrix.sum(axis=1)
    reach = max(127 - source.zero_point, 128 + source.zero_point)
    greatest = np.maximum(np.abs(folded) + 128 * magnitudes, np.abs(start) + reach * magnitudes)
    shifted = [int(total) << scale.left_shift for total, scale in zip(greatest, scales, strict=True)]
    graph.require(
        operator, max(shifted) < SUM_LIMIT, "its sums can overflow 32 bits: weights, bias or scales are out of range"
    )
    return np.asarray(folded)
