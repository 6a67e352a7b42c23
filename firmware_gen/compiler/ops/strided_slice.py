"""STRIDED_SLICE: int8, any begin, end and stride, forwards and backwards, with axes that vanish."""

from collections.abc import Mapping
from typing import Any

import tflite

from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.int8_checks import constant_int32, require_int8, require_same_quantization
from firmware_gen.compiler.lowering import Lowering, Step
from firmware_gen.compiler.moves import Axis, plan_move, strides_of

KIND = "STRIDED_SLICE"
OPTIONS_TYPE = tflite.BuiltinOptions.StridedSliceOptions
TFLM_MAX_DIMENSIONS = 4


def read_options(table: Any) -> Mapping[str, Any]:
    """Return the masks, a bit an axis, and whether ends count from begins."""
    options = tflite.StridedSliceOptions()
    options.Init(table.Bytes, table.Pos)
    return {
        "begin_mask": int(options.BeginMask()),
        "end_mask": int(options.EndMask()),
        "ellipsis_mask": int(options.EllipsisMask()),
        "new_axis_mask": int(options.NewAxisMask()),
        "shrink_axis_mask": int(options.ShrinkAxisMask()),
        "is_offset": bool(options.Offset()),
    }


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    graph = lowering.graph
    graph.require(operator, len(operator.inputs) == 4, f"{len(operator.inputs)} inputs where there are 4")
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    require_int8(graph, operator, source, output)
    require_same_quantization(graph, operator, source, output)
    options = operator.options
    graph.require(operator, bool(options), "it has no options")
    # TFLM takes no notice of these: what it answers is not what the model means.
    is_plain = not (options["ellipsis_mask"] or options["new_axis_mask"] or options["is_offset"])
    graph.require(operator, is_plain, "it has an ellipsis, a new axis or ends that count from begins")
    rank = len(source.shape)
    graph.require(operator, 1 <= rank <= TFLM_MAX_DIMENSIONS, f"{rank} dimensions (limit {TFLM_MAX_DIMENSIONS})")
    named = [constant_int32(graph, operator, i + 1, what) for i, what in enumerate(("begins", "ends", "strides"))]
    graph.require(
        operator, all(len(values) == rank for values in named), f"begins, ends and strides are not {rank} each"
    )
    axes, offset, shape = [], 0, []
    sources = strides_of(source.shape)
    for axis, (begin, end, stride) in enumerate(zip(*named, strict=True)):
        size = source.shape[axis]
        graph.require(operator, stride != 0, f"axis {axis} has stride 0")
        is_shrunk = bool(options["shrink_axis_mask"] >> axis & 1)
        slice_begin = None if options["begin_mask"] >> axis & 1 else begin
        slice_end = None if options["end_mask"] >> axis & 1 else end
        if is_shrunk:
            is_inside = -size <= begin < size and stride > 0 and slice_begin is not None
            graph.require(operator, is_inside, f"axis {axis} vanishes at {begin}, which is not one of its {size}")
            first, count = begin % size, 1
        else:
            picked = range(size)[slice_begin:slice_end:stride]
            graph.require(operator, len(picked) > 0, f"nothing of axis {axis} is left")
            first, count = picked[0], len(picked)
            shape.append(count)
        offset += first * sources[axis]
        axes.append((count, stride * sources[axis]))
    graph.require(operator, output.shape == tuple(shape), f"its output is {list(output.shape)}, not {shape}")
    targets = strides_of(tuple(count for count, _ in axes))
    move = plan_move([Axis(count, step, target) for (count, step), target in zip(axes, targets, strict=True)])
    values = {"index": operator.index, "move": move, "offset": offset}
    lowering.add(
        Step(
            operator,
            "move",
            "strided_slice.c.jinja",
            values,
            reads={"source": lowering.storage(source.index)},
            writes={"target": output.index},
        )
    )
