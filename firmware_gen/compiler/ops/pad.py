"""PAD: int8, with the output's zero point around the values."""

from collections.abc import Mapping
from typing import Any

from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.int8_checks import constant_int32, require_int8, require_same_quantization
from firmware_gen.compiler.lowering import Lowering, Step
from firmware_gen.compiler.moves import Axis, plan_move, strides_of

KIND = "PAD"
TFLM_MAX_DIMENSIONS = 5


def read_options(table: Any) -> Mapping[str, Any]:  # noqa: ARG001 - PAD has none
    """Return no options."""
    return {}


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    graph = lowering.graph
    graph.require(operator, len(operator.inputs) == 2, f"{len(operator.inputs)} inputs where there are 2")
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    require_int8(graph, operator, source, output)
    require_same_quantization(graph, operator, source, output)
    rank = len(source.shape)
    graph.require(operator, 1 <= rank <= TFLM_MAX_DIMENSIONS, f"{rank} dimensions (limit {TFLM_MAX_DIMENSIONS})")
    flat = constant_int32(graph, operator, 1, "paddings")
    graph.require(operator, len(flat) == 2 * rank and min(flat) >= 0, f"its paddings {flat} are not two for each axis")
    before, after = flat[::2], flat[1::2]
    expected = tuple(size + a + b for size, a, b in zip(source.shape, before, after, strict=True))
    graph.require(operator, output.shape == expected, f"its output is {list(output.shape)}, not {list(expected)}")
    strides = strides_of(output.shape)
    axes = [
        Axis(size, inner, outer)
        for size, inner, outer in zip(source.shape, strides_of(source.shape), strides, strict=True)
    ]
    values = {
        "index": operator.index,
        "move": plan_move(axes),
        "offset": sum(count * stride for count, stride in zip(before, strides, strict=True)),
        "count": output.elements,
        "fill": output.zero_point,
    }
    lowering.add(
        Step(
            operator,
            "move",
            "pad.c.jinja",
            values,
            reads={"source": lowering.storage(source.index)},
            writes={"target": output.index},
        )
    )
