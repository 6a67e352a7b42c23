"""FULLY_CONNECTED: int8, weights per tensor or per row, with RELU, RELU6 or RELU_N1_TO_1 fused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from firmware_gen.compiler.fixed_point import Scale, quantize_multiplier
from firmware_gen.compiler.fused_activation import fused_range
from firmware_gen.compiler.graph import Graph, Operator, Tensor
from firmware_gen.compiler.lowering import Lowering, Step
from firmware_gen.compiler.row_pairs import pair_rows

KIND = "FULLY_CONNECTED"
OPTIONS_TYPE = tflite.BuiltinOptions.FullyConnectedOptions
SUM_LIMIT = 2**30  # leaves room for the zero point after rescaling


@dataclass(frozen=True)
class FullyConnected:
    """One layer in integers.

    weights: int64[rows, columns] of int8 values. bias: int64[rows] of int32 values, the input's zero point folded in.
    scales: one Scale, or one per row. zero_point, least, greatest: of the output, int8.
    """

    weights: npt.NDArray[np.int64]
    bias: npt.NDArray[np.int64]
    scales: tuple[Scale, ...]
    zero_point: int
    least: int
    greatest: int


def read_options(table: Any) -> Mapping[str, Any]:
    """Return the fused activation and the format of the weights."""
    options = tflite.FullyConnectedOptions()
    options.Init(table.Bytes, table.Pos)
    return {
        "activation": int(options.FusedActivationFunction()),
        "weights_format": int(options.WeightsFormat()),
    }


def read_layer(graph: Graph, operator: Operator) -> FullyConnected:
    """Return the layer's numbers. Raises HarkenError where it cannot be compiled."""
    source, weights = graph.input_of(operator, 0), graph.input_of(operator, 1)
    bias, output = graph.optional_input(operator, 2), graph.output_of(operator)
    is_int8 = source.dtype == weights.dtype == output.dtype == np.int8
    graph.require(operator, is_int8, "input, weights and output are not int8: convert to full int8")
    graph.require(
        operator, weights.data is not None and len(weights.shape) == 2, "its weights are not a constant matrix"
    )
    graph.require(operator, operator.options.get("weights_format", 0) == 0, "its weights are shuffled")
    rows, columns = weights.shape
    graph.require(
        operator,
        source.elements == columns and output.elements == rows,
        f"{source.elements} values in and {output.elements} out do not fit weights of {rows} x {columns} and one batch",
    )
    matrix = np.asarray(weights.data, np.int64)
    quantization = weights.quantization
    if quantization is None or any(quantization.zero_points):
        raise graph.refuse(operator, "its weights are not quantised around zero")
    is_per_row = len(quantization.scales) == rows > 1 and quantization.axis == 0
    graph.require(operator, len(quantization.scales) == 1 or is_per_row, "its weights' scales are not one per row")
    for tensor in (source, output):
        graph.require(operator, -128 <= tensor.zero_point <= 127, "a zero point is outside int8")
    start = np.zeros(rows, np.int64)
    if bias is not None:
        is_fit = bias.data is not None and bias.dtype == np.int32 and bias.elements == rows
        graph.require(operator, is_fit, f"its bias is not constant int32 of {rows} values")
        start = np.asarray(bias.data, np.int64).ravel()
    scales = _scales(graph, operator, source, weights, output, is_per_row)
    magnitudes = np.abs(matrix).sum(axis=1)
    folded = start - source.zero_point * matrix.sum(axis=1)
    reach = max(127 - source.zero_point, 128 + source.zero_point)
    greatest_sum = np.maximum(np.abs(folded) + 128 * magnitudes, np.abs(start) + reach * magnitudes)
    left = max(scale.left_shift for scale in scales)
    graph.require(
        operator,
        int(greatest_sum.max()) << left < SUM_LIMIT,
        "its sums can overflow 32 bits: weights or bias are out of range",
    )
    least, greatest = fused_range(graph, operator, output)
    return FullyConnected(matrix, folded, scales, output.zero_point, least, greatest)


def _scales(
    graph: Graph, operator: Operator, source: Tensor, weights: Tensor, output: Tensor, is_per_row: bool
) -> tuple[Scale, ...]:
    assert weights.quantization is not None
    try:
        if is_per_row:
            return tuple(
                quantize_multiplier(source.scale * scale / output.scale) for scale in weights.quantization.scales
            )
        return (quantize_multiplier(source.scale * weights.scale / output.scale),)
    except ValueError as error:
        raise graph.refuse(operator, str(error)) from error


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step: by pairs of rows where there are two, which takes room for the input as int16."""
    layer = read_layer(lowering.graph, operator)
    rows, columns = layer.weights.shape
    pairs = pair_rows(layer.weights) if rows > 1 else None
    values = {"index": operator.index, "layer": layer, "rows": rows, "columns": columns}
    kernel = "fully_connected"
    if pairs is not None:
        kernel = "fully_connected_rows"
        values["pairs"] = pairs.ravel()
    lowering.add(
        Step(
            operator,
            kernel,
            f"{kernel}.c.jinja",
            values,
            reads={"source": lowering.storage(operator.inputs[0])},
            writes={"target": operator.outputs[0]},
            scratch_bytes=0 if pairs is None else 2 * pairs.shape[1],
        )
    )
