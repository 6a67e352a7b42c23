"""Holds a detector .tflite to what the device's engine expects of it."""

from __future__ import annotations

from pathlib import Path

import tflite

from edge.errors import HarkenError

ALLOWED_OPERATORS = frozenset(
    {"UNIDIRECTIONAL_SEQUENCE_LSTM", "FULLY_CONNECTED", "LOGISTIC", "CONCATENATION", "RESHAPE", "QUANTIZE"}
)
INPUT_SCALE, INPUT_ZERO_POINT = 1 / 32, 0
OUTPUT_SCALE, OUTPUT_ZERO_POINT = 1 / 256, -128


def operator_counts(model_path: Path) -> dict[str, int]:
    """Return how often each operator occurs in the model's first subgraph, by name."""
    model = _model(model_path)
    names = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
    graph = model.Subgraphs(0)
    found: dict[str, int] = {}
    for index in range(graph.OperatorsLength()):
        code = model.OperatorCodes(graph.Operators(index).OpcodeIndex())
        name = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        found[name] = found.get(name, 0) + 1
    return found


def check_detector(model_path: Path, events: int) -> None:
    """Raise HarkenError unless the model has the device's operators, shapes and scales exactly."""
    strange = set(operator_counts(model_path)) - ALLOWED_OPERATORS
    if strange:
        raise HarkenError(
            f"{model_path} holds {', '.join(sorted(strange))}, which the engine lacks: convert it with tf_keras so "
            "that the LSTM stays one fused operator"
        )
    graph = _model(model_path).Subgraphs(0)
    ends = (
        ("input", graph.Tensors(graph.Inputs(0)), [1, 1, 80], INPUT_SCALE, INPUT_ZERO_POINT),
        ("output", graph.Tensors(graph.Outputs(0)), [1, events], OUTPUT_SCALE, OUTPUT_ZERO_POINT),
    )
    for end, tensor, shape, scale, zero_point in ends:
        quantisation = tensor.Quantization()
        has = (
            [tensor.Shape(axis) for axis in range(tensor.ShapeLength())],
            tensor.Type() == tflite.TensorType.INT8,
            quantisation.Scale(0) if quantisation and quantisation.ScaleLength() else 0.0,
            quantisation.ZeroPoint(0) if quantisation and quantisation.ZeroPointLength() else 0,
        )
        if has != (shape, True, scale, zero_point):
            raise HarkenError(
                f"{model_path}: its {end} is (shape, is int8, scale, zero point) = {has}, the device expects "
                f"{(shape, True, scale, zero_point)}: calibrate over the whole range"
            )


def _model(model_path: Path) -> tflite.Model:
    return tflite.Model.GetRootAsModel(model_path.read_bytes(), 0)
