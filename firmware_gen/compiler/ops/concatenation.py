"""CONCATENATION: int8 values of one quantisation, joined along one axis."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.lowering import Lowering, Step

KIND = "CONCATENATION"
OPTIONS_TYPE = tflite.BuiltinOptions.ConcatenationOptions
TFLM_MAX_INPUTS = 10


def read_options(table: Any) -> Mapping[str, Any]:
    """Return axis and fused activation."""
    options = tflite.ConcatenationOptions()
    options.Init(table.Bytes, table.Pos)
    return {"axis": int(options.Axis()), "activation": int(options.FusedActivationFunction())}


def joined_axis(graph: Graph, operator: Operator) -> int:
    """Check types, shapes and quantisation; return the axis counted from the front."""
    output = graph.output_of(operator)
    inputs = [graph.input_of(operator, position) for position in range(len(operator.inputs))]
    count = len(inputs)
    graph.require(operator, 1 <= count <= TFLM_MAX_INPUTS, f"{count} inputs: TFLM joins at most {TFLM_MAX_INPUTS}")
    graph.require(operator, operator.options.get("activation", 0) == 0, "it has a fused activation")
    rank = len(output.shape)
    axis = operator.options.get("axis", 0)
    graph.require(operator, -rank <= axis < rank, f"axis {axis} does not exist")
    axis %= rank
    for tensor in inputs:
        graph.require(operator, tensor.dtype == output.dtype == np.int8, "it joins values that are not int8")
        is_same = (tensor.scale, tensor.zero_point) == (output.scale, output.zero_point)
        graph.require(operator, is_same, f"input '{tensor.name}' is quantised unlike the output")
        rest = [size for i, size in enumerate(tensor.shape) if i != axis]
        expected = [size for i, size in enumerate(output.shape) if i != axis]
        graph.require(operator, len(tensor.shape) == rank and rest == expected, "the shapes do not agree")
    graph.require(
        operator, sum(t.shape[axis] for t in inputs) == output.shape[axis], "the shapes do not add up to the output's"
    )
    return int(axis)


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step that copies every input to its place."""
    graph = lowering.graph
    axis = joined_axis(graph, operator)
    output = graph.output_of(operator)
    rows = int(np.prod(output.shape[:axis], dtype=np.int64))
    stride = output.elements // rows
    pieces, offset = [], 0
    for position in range(len(operator.inputs)):
        run = graph.input_of(operator, position).elements // rows
        pieces.append({"source": f"source{position}", "offset": offset, "run": run})
        offset += run
    lowering.add(
        Step(
            operator,
            "copy",
            "concatenation.c.jinja",
            {"rows": rows, "stride": stride, "pieces": pieces},
            reads={f"source{i}": lowering.storage(index) for i, index in enumerate(operator.inputs)},
            writes={"target": output.index},
        )
    )
