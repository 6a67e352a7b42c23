"""AVERAGE_POOL_2D and MAX_POOL_2D: everything but the kernel."""

from collections.abc import Mapping
from typing import Any

import tflite

from firmware_gen.compiler.fused_activation import fused_range
from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.int8_checks import require_int8, require_same_quantization
from firmware_gen.compiler.lowering import Lowering, Step
from firmware_gen.compiler.windows import read_window

MAX_POINTS = 2**20  # of a filter: their sum stays in 32 bits


def read_pool_options(table: Any) -> Mapping[str, Any]:
    """Return padding, stride and filter (height, width) and fused activation."""
    options = tflite.Pool2DOptions()
    options.Init(table.Bytes, table.Pos)
    return {
        "padding": int(options.Padding()),
        "stride": (int(options.StrideH()), int(options.StrideW())),
        "filter": (int(options.FilterHeight()), int(options.FilterWidth())),
        "activation": int(options.FusedActivationFunction()),
    }


def lower_pool(lowering: Lowering, operator: Operator, function: str) -> None:
    """Add one step that calls `function` of kernels/pool.h. Raises HarkenError where it cannot be compiled."""
    graph = lowering.graph
    graph.require(operator, len(operator.inputs) == 1, f"{len(operator.inputs)} inputs where there is one")
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    require_int8(graph, operator, source, output)
    require_same_quantization(graph, operator, source, output)
    graph.require(operator, bool(operator.options), "it has no options")
    window = read_window(graph, operator, source, output, operator.options["filter"])
    graph.require(operator, source.shape[3] == output.shape[3], "input and output differ in channels")
    height, width = window.filter
    graph.require(
        operator, height * width <= MAX_POINTS, f"its filter has {height * width} points (limit {MAX_POINTS})"
    )
    least, greatest = fused_range(graph, operator, output)
    values = {
        "index": operator.index,
        "function": function,
        "window": window,
        "least": least,
        "greatest": greatest,
    }
    lowering.add(
        Step(
            operator,
            "pool_2d",
            "pool.c.jinja",
            values,
            reads={"source": lowering.storage(source.index)},
            writes={"target": output.index},
        )
    )
