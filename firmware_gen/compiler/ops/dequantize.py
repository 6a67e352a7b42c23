"""DEQUANTIZE: int8 to float32, at the end of a model whose caller wants real numbers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.int8_checks import require_int8
from firmware_gen.compiler.lowering import Lowering, Step

KIND = "DEQUANTIZE"


def read_options(table: Any) -> Mapping[str, Any]:  # noqa: ARG001 - DEQUANTIZE has none
    """Return no options."""
    return {}


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    graph = lowering.graph
    graph.require(operator, len(operator.inputs) == 1, f"{len(operator.inputs)} inputs where there is one")
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    require_int8(graph, operator, source)
    graph.require(operator, output.dtype == np.dtype("<f4"), "its output is not float32")
    graph.require(operator, source.elements == output.elements, "input and output differ in size")
    values = {"count": source.elements, "zero_point": source.zero_point, "scale": source.scale.hex()}
    lowering.add(
        Step(
            operator,
            "dequantize",
            "dequantize.c.jinja",
            values,
            reads={"source": lowering.storage(source.index)},
            writes={"target": output.index},
        )
    )
