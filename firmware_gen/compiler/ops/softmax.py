"""SOFTMAX: int8 to int8 with an output of scale 1/256 and zero point -128, along the last axis."""

from collections.abc import Mapping
from typing import Any

import tflite

from firmware_gen.compiler.fixed_point import softmax_exponentials
from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.int8_checks import require_int8
from firmware_gen.compiler.lowering import Lowering, Step

KIND = "SOFTMAX"
OPTIONS_TYPE = tflite.BuiltinOptions.SoftmaxOptions
MAX_COLUMNS = 511  # more equal values than that stop TFLM: the reciprocal of their sum leaves 31 bits


def read_options(table: Any) -> Mapping[str, Any]:
    """Return beta, by which the inputs are multiplied."""
    options = tflite.SoftmaxOptions()
    options.Init(table.Bytes, table.Pos)
    return {"beta": float(options.Beta())}


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    graph = lowering.graph
    graph.require(operator, len(operator.inputs) == 1, f"{len(operator.inputs)} inputs where there is one")
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    require_int8(graph, operator, source, output)
    graph.require(operator, source.shape == output.shape != (), "input and output differ in shape")
    is_unit = (output.scale, output.zero_point) == (1 / 256, -128)
    graph.require(operator, is_unit, "its output is not quantised with scale 1/256 and zero point -128")
    columns = source.shape[-1]
    graph.require(operator, columns <= MAX_COLUMNS, f"{columns} values in a row (limit {MAX_COLUMNS})")
    graph.require(operator, bool(operator.options), "it has no options")
    values = {
        "index": operator.index,
        "exponentials": softmax_exponentials(source.scale, operator.options["beta"]),
        "rows": source.elements // columns,
        "columns": columns,
    }
    lowering.add(
        Step(
            operator,
            "softmax",
            "softmax.c.jinja",
            values,
            reads={"source": lowering.storage(source.index)},
            writes={"target": output.index},
        )
    )
