"""TANH: int8 to int8 with an output of scale 1/128 and zero point 0, as a table."""

from collections.abc import Mapping
from typing import Any

from firmware_gen.compiler.fixed_point import tanh_int8
from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.int8_checks import require_int8
from firmware_gen.compiler.int8_table import lower_table, tabulate
from firmware_gen.compiler.lowering import Lowering, Table

KIND = "TANH"


def read_options(table: Any) -> Mapping[str, Any]:  # noqa: ARG001 - TANH has none
    """Return no options."""
    return {}


def read_table(graph: Graph, operator: Operator) -> Table:
    """Return TFLM's answers to all 256 inputs. Raises HarkenError where it cannot be compiled."""
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    require_int8(graph, operator, source, output)
    graph.require(operator, source.elements == output.elements, "input and output differ in size")
    # TFLM never reads the output's quantisation: its values always count in 1/128.
    is_unit = (output.scale, output.zero_point) == (1 / 128, 0)
    graph.require(operator, is_unit, "its output is not quantised with scale 1/128 and zero point 0")
    is_in_reach = 2.0**-27 <= source.scale < 2.0**3
    graph.require(operator, is_in_reach, f"its input's scale {source.scale} is out of range")
    return tabulate(lambda value: tanh_int8(value, source.zero_point, source.scale))


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one look-up, for the operators chained to this one too."""
    lower_table(lowering, operator)
