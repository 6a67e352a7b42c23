"""MEAN: int8, over any axes."""

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import tflite

from firmware_gen.compiler.fixed_point import Scale, quantize_multiplier
from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.int8_checks import constant_int32, require_int8
from firmware_gen.compiler.lowering import Lowering, Step
from firmware_gen.compiler.moves import strides_of

KIND = "MEAN"
OPTIONS_TYPE = tflite.BuiltinOptions.ReducerOptions
LOOPS = 3  # of each kind in kernels/mean.h: six dimensions alternate at most so often
SUM_LIMIT = 2**30  # leaves room for the zero point after rescaling


def read_options(table: Any) -> Mapping[str, Any]:
    """Return whether the axes stay, with one value each."""
    options = tflite.ReducerOptions()
    options.Init(table.Bytes, table.Pos)
    return {"keep_dims": bool(options.KeepDims())}


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    graph = lowering.graph
    graph.require(operator, len(operator.inputs) == 2, f"{len(operator.inputs)} inputs where there are 2")
    source, output = graph.input_of(operator, 0), graph.output_of(operator)
    require_int8(graph, operator, source, output)
    rank = len(source.shape)
    named = constant_int32(graph, operator, 1, "axes")
    graph.require(operator, all(-rank <= axis < rank for axis in named), f"axes {named} do not exist")
    axes = {axis % rank for axis in named}
    kept_shape = [1 if i in axes else size for i, size in enumerate(source.shape)]
    if not operator.options.get("keep_dims", False):
        kept_shape = [size for i, size in enumerate(source.shape) if i not in axes]
    graph.require(
        operator,
        list(output.shape) == kept_shape,
        f"its output {list(output.shape)} is not its input {list(source.shape)} without axes {sorted(axes)}",
    )
    count = math.prod(source.shape[axis] for axis in axes)
    ratio = source.scale / output.scale
    graph.require(operator, ratio < 2.0**22, f"its scales' ratio {ratio} is out of range")
    scale = _divided(quantize_multiplier(ratio), count)
    graph.require(operator, 255 * count << scale.left_shift < SUM_LIMIT, "its sums can overflow 32 bits")
    kept, reduced = _loops(source.shape, axes)
    values = {
        "index": operator.index,
        "kept": kept,
        "reduced": reduced,
        "start": -source.zero_point * count,
        "scale": scale,
        "zero_point": output.zero_point,
    }
    lowering.add(
        Step(
            operator,
            "mean",
            "mean.c.jinja",
            values,
            reads={"source": lowering.storage(source.index)},
            writes={"target": output.index},
        )
    )


def _divided(scale: Scale, count: int) -> Scale:
    """Return the scale over `count` in TFLM's rounding: cut off, after as many bits as the count has are gained."""
    gained = min(count.bit_length() - 1, 32, 31 + scale.shift)
    return Scale((scale.multiplier << gained) // count, scale.shift - gained)


def _loops(shape: tuple[int, ...], axes: set[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return LOOPS pairs (count, stride) over the axes that stay and as many over the others, the outermost first."""
    loops: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
    sizes = [
        (i in axes, size, stride)
        for i, (size, stride) in enumerate(zip(shape, strides_of(shape), strict=True))
        if size > 1
    ]
    for is_reduced, group in groupby(sizes, key=lambda item: item[0]):
        neighbours = list(group)
        loops[is_reduced].append((math.prod(size for _, size, _ in neighbours), neighbours[-1][2]))
    kept, reduced = ([(1, 0)] * (LOOPS - len(loops[key])) + loops[key] for key in (False, True))
    return kept, reduced
