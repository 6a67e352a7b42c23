"""RESHAPE: the same bytes under another name."""

from collections.abc import Mapping
from typing import Any

from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.lowering import Lowering

KIND = "RESHAPE"


def read_options(table: Any) -> Mapping[str, Any]:  # noqa: ARG001 - the output's own shape says it all
    """Return no options."""
    return {}


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add no step."""
    graph = lowering.graph
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    graph.require(operator, source.dtype == output.dtype, "it changes the type of the values")
    graph.require(operator, source.elements == output.elements, "it changes the number of values")
    lowering.alias(output.index, source.index)
