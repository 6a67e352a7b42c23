"""DEPTHWISE_CONV_2D: int8, any stride, dilation and padding, several filters a channel, fused activation."""

from collections.abc import Mapping
from typing import Any

import tflite

from firmware_gen.compiler.convolution import read_filters
from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.lowering import Lowering, Step
from firmware_gen.compiler.windows import read_window

KIND = "DEPTHWISE_CONV_2D"
OPTIONS_TYPE = tflite.BuiltinOptions.DepthwiseConv2DOptions


def read_options(table: Any) -> Mapping[str, Any]:
    """Return padding, stride and dilation (height, width), filters a channel and fused activation."""
    options = tflite.DepthwiseConv2DOptions()
    options.Init(table.Bytes, table.Pos)
    return {
        "padding": int(options.Padding()),
        "stride": (int(options.StrideH()), int(options.StrideW())),
        "dilation": (int(options.DilationHFactor()), int(options.DilationWFactor())),
        "depth_multiplier": int(options.DepthMultiplier()),
        "activation": int(options.FusedActivationFunction()),
    }


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    graph = lowering.graph
    layer = read_filters(graph, operator, axis=3)
    source, weights, output = graph.input_of(operator, 0), graph.input_of(operator, 1), graph.output_of(operator)
    batches, height, width, count = weights.shape
    window = read_window(graph, operator, source, output, (height, width))
    multiplier = operator.options["depth_multiplier"]
    graph.require(
        operator,
        batches == 1 and multiplier >= 1 and window.channels * multiplier == count,
        f"its weights {list(weights.shape)} are not {multiplier} filters for each of {window.channels} channels",
    )
    is_gathered = not window.is_single_point
    values = {
        "index": operator.index,
        "layer": layer,
        "window": window,
        "weights": (layer.weights.T if multiplier == 1 else layer.weights).ravel(),
        "multiplier": multiplier,
        "points": height * width,
        "input_zero_point": source.zero_point,
        "is_gathered": is_gathered,
    }
    lowering.add(
        Step(
            operator,
            "depthwise_conv_2d",
            "depthwise_conv_2d.c.jinja",
            values,
            reads={"source": lowering.storage(source.index)},
            writes={"target": output.index},
            scratch_bytes=height * width * window.channels if is_gathered else 0,
        )
    )
