"""MAX_POOL_2D: int8, any filter, stride and padding, fused activation."""

import tflite

from firmware_gen.compiler.graph import Operator
from firmware_gen.compiler.lowering import Lowering
from firmware_gen.compiler.pooling import lower_pool, read_pool_options

KIND = "MAX_POOL_2D"
OPTIONS_TYPE = tflite.BuiltinOptions.Pool2DOptions

read_options = read_pool_options


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step."""
    lower_pool(lowering, operator, "hk_max_pool_2d")
