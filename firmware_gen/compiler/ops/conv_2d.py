"""CONV_2D: int8, any stride, dilation and padding, groups, weights per tensor or per channel, fused activation."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from firmware_gen.compiler.convolution import read_filters
from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.lowering import Lowering, Step
from firmware_gen.compiler.row_pairs import pair_rows
from firmware_gen.compiler.windows import read_window

KIND = "CONV_2D"
OPTIONS_TYPE = tflite.BuiltinOptions.Conv2DOptions


def read_options(table: Any) -> Mapping[str, Any]:
    """Return padding, stride and dilation (height, width) and fused activation."""
    options = tflite.Conv2DOptions()
    options.Init(table.Bytes, table.Pos)
    return {
        "padding": int(options.Padding()),
        "stride": (int(options.StrideH()), int(options.StrideW())),
        "dilation": (int(options.DilationHFactor()), int(options.DilationWFactor())),
        "activation": int(options.FusedActivationFunction()),
    }


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    graph = lowering.graph
    layer = read_filters(graph, operator, axis=0)
    source, weights, output = graph.input_of(operator, 0), graph.input_of(operator, 1), graph.output_of(operator)
    filters, height, width, depth = weights.shape
    window = read_window(graph, operator, source, output, (height, width))
    groups = window.channels // depth
    is_grouped = groups >= 1 and groups * depth == window.channels and filters % groups == 0
    graph.require(operator, is_grouped, f"filters of depth {depth} do not fit {window.channels} channels")
    is_gathered = not window.is_single_point
    columns = height * width * depth
    of_groups = [pairs for rows in np.split(layer.weights, groups) if (pairs := pair_rows(rows)) is not None]
    pairs = np.concatenate(of_groups) if len(of_groups) == groups else None
    wide_bytes = 0 if pairs is None else 2 * pairs.shape[1]
    values = {
        "index": operator.index,
        "layer": layer,
        "window": window,
        "depth": depth,
        "groups": groups,
        "filters": filters // groups,
        "columns": columns,
        "input_zero_point": source.zero_point,
        "is_gathered": is_gathered,
        "pairs": None if pairs is None else pairs.ravel(),
        "wide_bytes": wide_bytes,
    }
    lowering.add(
        Step(
            operator,
            "conv_2d",
            "conv_2d.c.jinja",
            values,
            reads={"source": lowering.storage(source.index)},
            writes={"target": output.index},
            scratch_bytes=wide_bytes + (columns if is_gathered else 0),
        )
    )
