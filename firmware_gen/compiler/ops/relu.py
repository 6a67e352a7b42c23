"""RELU on its own (not fused into the operator before it): int8 to int8, as a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from firmware_gen.compiler.fixed_point import quantize_multiplier, requantize
from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.int8_table import lower_table, tabulate
from firmware_gen.compiler.lowering import Lowering, Table

KIND = "RELU"


def read_options(table: Any) -> Mapping[str, Any]:  # noqa: ARG001 - RELU has none
    """Return no options."""
    return {}


def read_table(graph: Graph, operator: Operator) -> Table:
    """Return TFLM's answers to all 256 inputs. Raises HarkenError where it cannot be compiled."""
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    graph.require(
        operator, source.dtype == output.dtype == np.int8, "input and output are not int8: convert to full int8"
    )
    graph.require(operator, source.elements == output.elements, "input and output differ in size")
    for tensor in (source, output):
        graph.require(operator, -128 <= tensor.zero_point <= 127, "a zero point is outside int8")
    ratio = source.scale / output.scale
    graph.require(operator, ratio < 2.0**22, f"its scales' ratio {ratio} is out of range")
    scale = quantize_multiplier(ratio)

    def answer(value: int) -> int:
        moved = output.zero_point + requantize(value - source.zero_point, scale)
        return max(output.zero_point, min(127, moved))

    return tabulate(answer)


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one look-up, for the operators chained to this one too."""
    lower_table(lowering, operator)
