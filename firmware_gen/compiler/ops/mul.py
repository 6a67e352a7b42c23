"""MUL: int8, with broadcasting and a fused activation."""

from collections.abc import Mapping
from typing import Any

import tflite

from firmware_gen.compiler.broadcast import read_operands
from firmware_gen.compiler.fixed_point import quantize_multiplier
from firmware_gen.compiler.fused_activation import fused_range
from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.lowering import Lowering, Step

KIND = "MUL"
OPTIONS_TYPE = tflite.BuiltinOptions.MulOptions
MAX_RATIO = 2.0**13  # of the scales: a product of two int8 values less their zero points then stays below 2^30


def read_options(table: Any) -> Mapping[str, Any]:
    """Return the fused activation."""
    options = tflite.MulOptions()
    options.Init(table.Bytes, table.Pos)
    return {"activation": int(options.FusedActivationFunction())}


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    graph = lowering.graph
    loops = read_operands(graph, operator)
    first, second, output = graph.input_of(operator, 0), graph.input_of(operator, 1), graph.output_of(operator)
    ratio = first.scale * second.scale / output.scale
    graph.require(operator, ratio < MAX_RATIO, f"its scales' ratio {ratio} is out of range")
    least, greatest = fused_range(graph, operator, output)
    values = {
        "index": operator.index,
        "loops": loops,
        "first_zero_point": first.zero_point,
        "second_zero_point": second.zero_point,
        "output_scale": quantize_multiplier(ratio),
        "zero_point": output.zero_point,
        "least": least,
        "greatest": greatest,
    }
    lowering.add(
        Step(
            operator,
            "mul",
            "mul.c.jinja",
            values,
            reads={"first": lowering.storage(first.index), "second": lowering.storage(second.index)},
            writes={"target": output.index},
        )
    )
