"""LOGISTIC: int8 to int8 with an output of scale 1/256 and zero point -128, as a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from firmware_gen.compiler.fixed_point import logistic_int8
from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.int8_table import lower_table, tabulate
from firmware_gen.compiler.lowering import Lowering, Table

KIND = "LOGISTIC"


def read_options(table: Any) -> Mapping[str, Any]:  # noqa: ARG001 - LOGISTIC has none
    """Return no options."""
    return {}


def read_table(graph: Graph, operator: Operator) -> Table:
    """Return TFLM's answers to all 256 inputs. Raises HarkenError where it cannot be compiled."""
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    graph.require(
        operator, source.dtype == output.dtype == np.int8, "input and output are not int8: convert to full int8"
    )
    graph.require(operator, source.elements == output.elements, "input and output differ in size")
    # TFLM never reads the output's scale: its values always count in 1/256.
    is_unit = output.zero_point == -128 and output.scale == 1 / 256
    graph.require(operator, is_unit, "its output is not quantised with scale 1/256 and zero point -128")
    graph.require(operator, -128 <= source.zero_point <= 127, "a zero point is outside int8")
    is_in_reach = 2.0**-27 <= source.scale < 2.0**3
    graph.require(operator, is_in_reach, f"its input's scale {source.scale} is out of range")
    return tabulate(lambda value: logistic_int8(value, source.zero_point, source.scale))


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one look-up, for the operators chained to this one too."""
    lower_table(lowering, operator)
