"""UNIDIRECTIONAL_SEQUENCE_LSTM: int8 activations and weights, int16 cell, one time step a call, state held by us."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from firmware_gen.compiler.fixed_point import Scale, quantize_multiplier, requantize
from firmware_gen.compiler.graph import Graph, Operator, Tensor
from firmware_gen.compiler.lowering import Lowering, Step

KIND = "UNIDIRECTIONAL_SEQUENCE_LSTM"
OPTIONS_TYPE = tflite.BuiltinOptions.UnidirectionalSequenceLSTMOptions

GATES = ("input", "forget", "cell", "output")
INPUT, INPUT_WEIGHTS, RECURRENT_WEIGHTS, PEEPHOLES, BIASES = 0, 1, 5, (9, 10, 11), 12
PROJECTION, HIDDEN_STATE, CELL_STATE, NORMALIZATION = (16, 17), 18, 19, (20, 21, 22, 23)
INPUTS = 24

GATE_SCALE = 2.0**-12  # Q3.12 into the activations
ACTIVATION_SCALE = 2.0**-15  # Q0.15 out of them
COLUMNS_PER_GROUP = 4
UNITS_PER_VECTOR = 8
COLUMNS_IN_REGISTERS = 64
INT16_MAX = 2**15 - 1
SUM_LIMIT = 2**30  # the kernel doubles its sums

Array = npt.NDArray[Any]


def read_options(table: Any) -> Mapping[str, Any]:
    """Return the activation and the clips."""
    options = tflite.UnidirectionalSequenceLSTMOptions()
    options.Init(table.Bytes, table.Pos)
    return {
        "activation": int(options.FusedActivationFunction()),
        "cell_clip": float(options.CellClip()),
        "projection_clip": float(options.ProjClip()),
    }


def lower(lowering: Lowering, operator: Operator) -> None:
    """Add one step that updates cell and hidden state; the output is the hidden state itself."""
    graph = lowering.graph
    source, hidden, cell, output = _check(graph, operator)
    units = hidden.elements
    columns = source.shape[-1]
    input_weights = [_weights(graph, operator, INPUT_WEIGHTS + g, (units, columns)) for g in range(4)]
    recurrent_weights = [_weights(graph, operator, RECURRENT_WEIGHTS + g, (units, units)) for g in range(4)]
    biases = [_bias(graph, operator, BIASES + g, units) for g in range(4)]

    input_scales = [_gate_scale(source, graph.input_of(operator, INPUT_WEIGHTS + g)) for g in range(4)]
    recurrent_scales = [_gate_scale(hidden, graph.input_of(operator, RECURRENT_WEIGHTS + g)) for g in range(4)]
    products = {
        "forget_scale": _product_scale(ACTIVATION_SCALE, cell.scale, cell.scale),
        "update_scale": _product_scale(ACTIVATION_SCALE, ACTIVATION_SCALE, cell.scale),
        "hidden_scale": _product_scale(ACTIVATION_SCALE, ACTIVATION_SCALE, hidden.scale),
    }

    # w * (x - zero point) + bias = w * x + (bias - zero point * sum of w)
    by_input = np.stack([b - source.zero_point * w.sum(axis=1) for b, w in zip(biases, input_weights, strict=True)], 1)
    by_hidden = np.stack([-hidden.zero_point * w.sum(axis=1) for w in recurrent_weights], 1)
    input_stack = np.stack(input_weights, 1)  # unit, gate, column
    recurrent_stack = np.stack(recurrent_weights, 1)

    # TFLM takes the same sum with the zero point inside: both ways of adding must stay in 32 bits.
    input_bounds = _bounds(graph, operator, by_input, input_stack, input_scales, _raw_bound(source, biases))
    recurrent_bounds = _bounds(graph, operator, by_hidden, recurrent_stack, recurrent_scales, _raw_bound(hidden, []))
    bounds = np.concatenate([input_bounds, recurrent_bounds])
    for name, scale in products.items():
        graph.require(
            operator, scale.left_shift == 0, f"its {name.replace('_', ' ')} exceeds one: state or output scale too fine"
        )
    is_packable = _is_packable(input_stack, recurrent_stack, bounds, (*input_scales, *recurrent_scales))

    tanh_multiplier, tanh_shift = _tanh_argument(graph, operator, cell)
    fits_vectors = units % UNITS_PER_VECTOR == 0 and tanh_multiplier <= 3 << 6
    values = {
        "index": operator.index,
        "inputs": columns,
        "units": units,
        "input_scales": input_scales,
        "recurrent_scales": recurrent_scales,
        "input_saturates": _saturates(input_bounds, input_scales),
        "recurrent_saturates": _saturates(recurrent_bounds, recurrent_scales),
        **products,
        "hidden_zero_point": hidden.zero_point,
        "cell_clip": _cell_clip(graph, operator, cell),
        "tanh_multiplier": tanh_multiplier,
        "tanh_shift": tanh_shift,
        "is_packable": is_packable,
        "packed": _pack_units(by_input, input_stack, by_hidden, recurrent_stack) if is_packable else [],
        "interleaved": _interleave(input_stack, recurrent_stack),
        "biases": _pair_biases(by_input, by_hidden),
        "fits_vectors": fits_vectors,
        "chunks": (_chunks(columns), _chunks(units)),
        "vectors": _lay_out_vectors(input_stack, recurrent_stack) if fits_vectors else [],
        "vector_biases": _lay_out_vector_biases(by_input, by_hidden) if fits_vectors else [],
    }
    groups = -(-columns // COLUMNS_PER_GROUP) + -(-units // COLUMNS_PER_GROUP)
    lowering.add_state(hidden, hidden.zero_point & 0xFF)
    lowering.add_state(cell, 0)
    lowering.alias(output.index, hidden.index)
    lowering.add(
        Step(
            operator,
            "lstm",
            "lstm.c.jinja",
            values,
            reads={"source": lowering.storage(source.index)},
            writes={},
            states={"hidden": hidden.index, "cell": cell.index},
            scratch_bytes=max(2 * COLUMNS_PER_GROUP * groups, _round_up(columns, 16) + _round_up(units, 16)),
        )
    )


def _check(graph: Graph, operator: Operator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    graph.require(operator, len(operator.inputs) == INPUTS, f"{len(operator.inputs)} inputs where there are {INPUTS}")
    absent = {"peephole weights": PEEPHOLES, "a projection": PROJECTION, "layer normalisation": NORMALIZATION}
    for what, positions in absent.items():
        is_plain = all(graph.optional_input(operator, position) is None for position in positions)
        graph.require(operator, is_plain, f"it has {what}: only the plain LSTM of Keras can be compiled")
    activation = operator.options.get("activation")
    graph.require(operator, activation == tflite.ActivationFunctionType.TANH, "its activation is not tanh")
    source = graph.input_of(operator, INPUT)
    hidden = graph.input_of(operator, HIDDEN_STATE)
    cell = graph.input_of(operator, CELL_STATE)
    output = graph.output_of(operator)
    is_int8 = source.dtype == hidden.dtype == output.dtype == np.int8 and cell.dtype == np.int16
    graph.require(operator, is_int8, "it is not int8 with an int16 cell: convert to full int8")
    graph.require(
        operator,
        len(source.shape) == 3 and source.shape[:2] == (1, 1),
        f"its input has shape {list(source.shape)}: a streaming model takes one batch of one step, [1, 1, n]",
    )
    units = hidden.shape[-1] if hidden.shape else 0
    graph.require(
        operator,
        hidden.elements == cell.elements == units and output.shape == (1, 1, units),
        "the shapes of its states and its output do not agree",
    )
    graph.require(operator, hidden.is_variable and cell.is_variable, "its states are not variables")
    is_same = (hidden.scale, hidden.zero_point) == (output.scale, output.zero_point)
    # TFLM copies the hidden state's bytes into the output without looking at the output's quantisation.
    graph.require(operator, is_same, "its output and its hidden state are quantised differently")
    for tensor in (source, hidden):
        graph.require(operator, -128 <= tensor.zero_point <= 127, "a zero point is outside int8")
    graph.require(operator, cell.zero_point == 0, "its cell state has a zero point")
    return source, hidden, cell, output


def _weights(graph: Graph, operator: Operator, position: int, shape: tuple[int, int]) -> Array:
    tensor = graph.input_of(operator, position)
    graph.require(
        operator,
        tensor.data is not None and tensor.dtype == np.int8 and tensor.shape == shape,
        f"weights {position} are not constant int8 of shape {list(shape)}",
    )
    graph.require(operator, tensor.zero_point == 0, f"weights {position} have a zero point")
    return np.asarray(tensor.data, np.int64)


def _bias(graph: Graph, operator: Operator, position: int, units: int) -> Array:
    tensor = graph.input_of(operator, position)
    graph.require(
        operator,
        tensor.data is not None and tensor.dtype == np.int32 and tensor.shape == (units,),
        f"bias {position} is not constant int32 of shape [{units}]",
    )
    return np.asarray(tensor.data, np.int64)


def _gate_scale(activation: Tensor, weights: Tensor) -> Scale:
    return quantize_multiplier(activation.scale * weights.scale / GATE_SCALE)


def _product_scale(first: float, second: float, output: float) -> Scale:
    return quantize_multiplier(first * second / output)


def _raw_bound(activation: Tensor, biases: list[Array]) -> tuple[int, Array | int]:
    reach = max(127 - activation.zero_point, 128 + activation.zero_point)
    return reach, np.abs(np.stack(biases, 1)) if biases else 0


def _bounds(
    graph: Graph, operator: Operator, start: Array, weights: Array, scales: list[Scale], raw: tuple[int, Array | int]
) -> Array:
    """Return the greatest magnitude of every sum [unit, gate]; refuse what could overflow in TFLM or here."""
    magnitudes = np.abs(weights).sum(axis=2)
    folded = np.abs(start) + 128 * magnitudes
    greatest = np.maximum(folded, magnitudes * raw[0] + raw[1])
    shifted = greatest << np.array([scale.left_shift for scale in scales])
    graph.require(
        operator,
        int(shifted.max()) < SUM_LIMIT,
        "its sums can overflow 32 bits: weights, biases or scales are out of range",
    )
    return np.asarray(folded << np.array([scale.left_shift for scale in scales]))


def _saturates(bounds: Array, scales: list[Scale]) -> list[bool]:
    """Return for every gate whether a sum within its bounds [unit, gate] can leave int16 once it is rescaled."""
    greatest = bounds.max(axis=0)
    return [
        requantize(int(bound) >> scale.left_shift, scale) >= INT16_MAX
        for bound, scale in zip(greatest, scales, strict=True)
    ]


def _is_packable(inputs: Array, recurrent: Array, bounds: Array, scales: tuple[Scale, ...]) -> bool:
    """Whether weights and sums fit the packed form of kernels/lstm.h."""
    weights = np.concatenate([inputs.ravel(), recurrent.ravel()])
    return bool(weights.min() > -128 and bounds.max() < 2**23 and all(scale.shift > -31 for scale in scales))


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _chunks(columns: int) -> list[int]:
    """Return the runs of columns that the vector form keeps in registers, one after the other."""
    return [min(COLUMNS_IN_REGISTERS, columns - start) for start in range(0, columns, COLUMNS_IN_REGISTERS)]


def _group_eights(rows: Array) -> Array:
    """Return [blocks, 32, ...] of [units, gates, ...]: of eight units gate by gate, even units first, then odd."""
    blocks = rows.reshape(-1, UNITS_PER_VECTOR, *rows.shape[1:])
    ordered = np.concatenate([blocks[:, 0::2], blocks[:, 1::2]], axis=1).swapaxes(1, 2)
    return ordered.reshape(len(blocks), -1, *rows.shape[2:])


def _lay_out_vectors(inputs: Array, recurrent: Array) -> Array:
    """Return the vector form of the weights: for every eight units, run of columns after run, their 32 rows."""
    runs = []
    for weights in (inputs, recurrent):
        blocks = _group_eights(weights)
        for start in range(0, blocks.shape[-1], COLUMNS_IN_REGISTERS):
            runs.append(blocks[..., start : start + COLUMNS_IN_REGISTERS].reshape(len(blocks), -1))
    laid_out = np.concatenate(runs, axis=1).ravel()
    return np.pad(laid_out, (0, -recurrent.shape[-1] % 16))  # what the last row's last vector reads beyond it


def _lay_out_vector_biases(by_input: Array, by_hidden: Array) -> Array:
    return np.concatenate([_group_eights(by_input), _group_eights(by_hidden)], axis=1).ravel()


def _pair_units(rows: Array) -> Array:
    """Return [pairs, 8, ...] of [units, gates, ...]: the rows of two units together, zeros where the last is alone."""
    padding = [(0, len(rows) % 2)] + [(0, 0)] * (rows.ndim - 1)
    return np.pad(rows, padding).reshape(-1, 2 * rows.shape[1], *rows.shape[2:])


def _interleave(inputs: Array, recurrent: Array) -> Array:
    """Return the portable form of the weights: for every pair of units, column after column of their eight rows."""
    parts = [_pair_units(weights).transpose(0, 2, 1) for weights in (inputs, recurrent)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1).ravel()


def _pair_biases(by_input: Array, by_hidden: Array) -> Array:
    return np.concatenate([_pair_units(by_input), _pair_units(by_hidden)], axis=1).ravel()


def _pack_units(by_input: Array, inputs: Array, by_hidden: Array, recurrent: Array) -> Array:
    """Return the words of kernels/lstm.h, unit after unit, as uint32."""
    parts = [_pack_sums(by_input), _pack_columns(inputs), _pack_sums(by_hidden), _pack_columns(recurrent)]
    return np.concatenate(parts, axis=1).ravel()


def _pack_sums(start: Array) -> Array:
    units = start.shape[0]
    pairs = start.reshape(units, 2, 2)
    words = np.stack([256 * pairs[..., 0] + pairs[..., 1], pairs[..., 1]], axis=2)
    return (words & 0xFFFFFFFF).astype(np.uint32).reshape(units, 4)


def _pack_columns(weights: Array) -> Array:
    units, gates, columns = weights.shape
    padding = -columns % COLUMNS_PER_GROUP
    padded = np.pad(weights, ((0, 0), (0, 0), (0, padding)))
    halves = (256 * padded[:, 0::2] + padded[:, 1::2]) & 0xFFFF  # unit, gate pair, column
    groups = halves.reshape(units, gates // 2, -1, COLUMNS_PER_GROUP)
    words = np.stack([groups[..., 0] | groups[..., 2] << 16, groups[..., 1] | groups[..., 3] << 16], axis=-1)
    return words.transpose(0, 2, 1, 3).astype(np.uint32).reshape(units, -1)


def _tanh_argument(graph: Graph, operator: Operator, cell: Tensor) -> tuple[int, int]:
    """Return multiplier and right shift that bring a cell value to the tanh table's argument, 1/(3 * 2^12)."""
    power = round(math.log2(cell.scale))
    graph.require(
        operator, abs(math.log2(cell.scale) - power) < 1e-3, f"its cell state's scale {cell.scale} is no power of two"
    )
    graph.require(operator, -27 <= power <= 1, f"its cell state's scale 2^{power} is out of range")
    left = 15 + power - 3
    return (3 << left, 0) if left >= 0 else (3, -left)


def _cell_clip(graph: Graph, operator: Operator, cell: Tensor) -> int:
    clip = float(np.float32(operator.options["cell_clip"]))
    graph.require(operator, math.isfinite(clip), "its cell clip is not a number")
    if clip <= 0:
        return 32768  # beyond int16: no clipping
    return int(min(clip / cell.scale, 32767.0))
