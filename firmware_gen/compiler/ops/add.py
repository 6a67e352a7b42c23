"""ADD: int8, with broadcasting and a fused activation."""

from collections.abc import Mapping
from typing import Any

import tflite

from firmware_gen.compiler.broadcast import read_operands
from firmware_gen.compiler.fixed_point import Scale, quantize_multiplier
from firmware_gen.compiler.fused_activation import fused_range
from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.lowering import Lowering, Step

KIND = "ADD"
OPTIONS_TYPE = tflite.BuiltinOptions.AddOptions
HEADROOM_BITS = 20  # by which TFLM shifts both values before it rescales them


def read_options(table: Any) -> Mapping[str, Any]:
    """Return the fused activation."""
    options = tflite.AddOptions()
    options.Init(table.Bytes, table.Pos)
    return {"activation": int(options.FusedActivationFunction())}


def _scale_below_one(graph: Graph, operator: Operator, real: float) -> Scale:
    is_below = 2.0**-31 <= real < 1.0
    graph.require(operator, is_below, f"its scales are too far apart: a factor of {real}")
    scale = quantize_multiplier(real)
    graph.require(operator, scale.shift <= 0, f"its scales are too far apart: a factor of {real}")
    return scale


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    graph = lowering.graph
    loops = read_operands(graph, operator)
    first, second, output = graph.input_of(operator, 0), graph.input_of(operator, 1), graph.output_of(operator)
    # Both values are brought to half of the coarser scale, added, and the sum to the output's.
    unit = 2 * max(first.scale, second.scale)
    least, greatest = fused_range(graph, operator, output)
    values = {
        "index": operator.index,
        "loops": loops,
        "first_zero_point": first.zero_point,
        "second_zero_point": second.zero_point,
        "first_scale": _scale_below_one(graph, operator, first.scale / unit),
        "second_scale": _scale_below_one(graph, operator, second.scale / unit),
        "output_scale": _scale_below_one(graph, operator, unit / (2**HEADROOM_BITS * output.scale)),
        "headroom_bits": HEADROOM_BITS,
        "zero_point": output.zero_point,
        "least": least,
        "greatest": greatest,
    }
    lowering.add(
        Step(
            operator,
            "add",
            "add.c.jinja",
            values,
            reads={"first": lowering.storage(first.index), "second": lowering.storage(second.index)},
            writes={"target": output.index},
        )
    )
