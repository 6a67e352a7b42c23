"""Writes small `.tflite` files from numbers: operators are tested without TensorFlow, at any quantisation."""

from collections.abc import Callable
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

_TYPES = {
    "int8": tflite.TensorType.INT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "float32": tflite.TensorType.FLOAT32,
}

WriteOptions = Callable[[flatbuffers.Builder], int]


@dataclass
class _Operator:
    kind: str
    inputs: list[int]
    outputs: list[int]
    options_type: int
    write_options: WriteOptions | None


@dataclass
class ModelWriter:
    """Collects tensors and operators; `finish` returns the file's bytes."""

    version: int = 3
    tensors: list[dict[str, object]] = field(default_factory=list)
    operators: list[_Operator] = field(default_factory=list)

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "int8",
        scale: float | list[float] | None = None,
        zero_point: int = 0,
        data: npt.NDArray[np.generic] | None = None,
        is_variable: bool = False,
        name: str | None = None,
        axis: int = 0,
    ) -> int:
        scales = None if scale is None else [scale] if isinstance(scale, float) else scale
        self.tensors.append(
            {
                "shape": shape,
                "dtype": dtype,
                "scales": scales,
                "zero_points": [zero_point] * len(scales or []),
                "data": data,
                "is_variable": is_variable,
                "axis": axis,
                "name": name or f"t{len(self.tensors)}",
            }
        )
        return len(self.tensors) - 1

    def constant(
        self, values: npt.NDArray[np.generic], scale: float | list[float] | None, name: str | None = None, axis: int = 0
    ) -> int:
        return self.tensor(values.shape, str(values.dtype), scale, 0, values, name=name, axis=axis)

    def add(
        self,
        kind: str,
        inputs: list[int],
        outputs: list[int],
        options_type: int = 0,
        write_options: WriteOptions | None = None,
    ) -> None:
        self.operators.append(_Operator(kind, inputs, outputs, options_type, write_options))

    def fully_connected(
        self,
        source: int,
        weights: npt.NDArray[np.int8],
        weight_scale: float | list[float],
        bias: npt.NDArray[np.int32] | None,
        output: int,
        activation: int = tflite.ActivationFunctionType.NONE,
    ) -> None:
        source_scale = self.tensors[source]["scales"][0]  # type: ignore[index]
        scales = [weight_scale] if isinstance(weight_scale, float) else weight_scale
        bias_scales = [float(np.float32(source_scale) * np.float32(scale)) for scale in scales]
        bias_index = -1 if bias is None else self.constant(bias, bias_scales)

        def options(builder: flatbuffers.Builder) -> int:
            tflite.FullyConnectedOptionsStart(builder)
            tflite.FullyConnectedOptionsAddFusedActivationFunction(builder, activation)
            tflite.FullyConnectedOptionsAddKeepNumDims(builder, True)
            return int(tflite.FullyConnectedOptionsEnd(builder))

        inputs = [source, self.constant(weights, weight_scale), bias_index]
        self.add("FULLY_CONNECTED", inputs, [output], tflite.BuiltinOptions.FullyConnectedOptions, options)

    def concatenation(self, inputs: list[int], output: int, axis: int) -> None:
        def options(builder: flatbuffers.Builder) -> int:
            tflite.ConcatenationOptionsStart(builder)
            tflite.ConcatenationOptionsAddAxis(builder, axis)
            return int(tflite.ConcatenationOptionsEnd(builder))

        self.add("CONCATENATION", inputs, [output], tflite.BuiltinOptions.ConcatenationOptions, options)

    def with_options(
        self, kind: str, inputs: list[int], outputs: list[int], table: str, **fields: int | float | bool
    ) -> None:
        """Add an operator whose options are plain numbers: `table` as in the schema, fields in its spelling."""

        def options(builder: flatbuffers.Builder) -> int:
            getattr(tflite, f"{table}Start")(builder)
            for name, value in fields.items():
                getattr(tflite, f"{table}Add{name}")(builder, value)
            return int(getattr(tflite, f"{table}End")(builder))

        self.add(kind, inputs, outputs, getattr(tflite.BuiltinOptions, table), options)

    def convolution(
        self,
        kind: str,
        source: int,
        weights: npt.NDArray[np.int8],
        weight_scale: float | list[float],
        bias: npt.NDArray[np.int32] | None,
        output: int,
        **fields: int,
    ) -> None:
        """Add a CONV_2D or DEPTHWISE_CONV_2D; what `fields` leaves out is one, or padding SAME."""
        axis = 0 if kind == "CONV_2D" else 3
        inputs = [source, self.constant(weights, weight_scale, axis=axis)]
        if bias is not None:
            inputs.append(self.constant(bias, 1e-5))
        ones = dict.fromkeys(("StrideH", "StrideW", "DilationHFactor", "DilationWFactor"), 1)
        if kind == "CONV_2D":
            self.with_options(kind, inputs, [output], "Conv2DOptions", **(ones | fields))
        else:
            multiplier = weights.shape[3] // self.shape(source)[3]
            self.with_options(
                kind, inputs, [output], "DepthwiseConv2DOptions", **(ones | {"DepthMultiplier": multiplier} | fields)
            )

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self.tensors[tensor]["shape"])  # type: ignore[arg-type, call-overload, no-any-return]

    def lstm(
        self,
        source: int,
        input_weights: list[npt.NDArray[np.int8]],
        recurrent_weights: list[npt.NDArray[np.int8]],
        biases: list[npt.NDArray[np.int32]],
        weight_scales: list[float],
        hidden_scale: float,
        hidden_zero_point: int,
        cell_scale: float = 2.0**-11,
        cell_clip: float = 10.0,
        activation: int = tflite.ActivationFunctionType.TANH,
    ) -> int:
        """Add an LSTM with gates in the order input, forget, cell, output; return its output tensor."""
        units = input_weights[0].shape[0]
        first = [self.constant(w, s) for w, s in zip(input_weights, weight_scales[:4], strict=True)]
        second = [self.constant(w, s) for w, s in zip(recurrent_weights, weight_scales[4:], strict=True)]
        bias = [self.constant(b, 1e-5) for b in biases]
        hidden = self.tensor((1, units), "int8", hidden_scale, hidden_zero_point, is_variable=True)
        cell = self.tensor((1, units), "int16", cell_scale, 0, is_variable=True)
        output = self.tensor((1, 1, units), "int8", hidden_scale, hidden_zero_point)

        def options(builder: flatbuffers.Builder) -> int:
            tflite.UnidirectionalSequenceLSTMOptionsStart(builder)
            tflite.UnidirectionalSequenceLSTMOptionsAddFusedActivationFunction(builder, activation)
            tflite.UnidirectionalSequenceLSTMOptionsAddCellClip(builder, cell_clip)
            return int(tflite.UnidirectionalSequenceLSTMOptionsEnd(builder))

        inputs = [source, *first, *second, -1, -1, -1, *bias, -1, -1, hidden, cell, -1, -1, -1, -1]
        kind = tflite.BuiltinOptions.UnidirectionalSequenceLSTMOptions
        self.add("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [output], kind, options)
        return output

    def finish(self, inputs: list[int], outputs: list[int]) -> bytes:
        builder = flatbuffers.Builder(4096)
        buffers = [self._buffer(builder, None)]
        tensors = []
        for tensor in self.tensors:
            if tensor["data"] is None:
                number = 0
            else:
                number = len(buffers)
                buffers.append(self._buffer(builder, np.ascontiguousarray(tensor["data"]).tobytes()))
            tensors.append(self._tensor(builder, tensor, number))
        kinds = sorted({operator.kind for operator in self.operators})
        operators = [self._operator(builder, operator, kinds.index(operator.kind)) for operator in self.operators]
        codes = [self._code(builder, kind) for kind in kinds]

        tensor_vector = _offsets(builder, tflite.SubGraphStartTensorsVector, tensors)
        operator_vector = _offsets(builder, tflite.SubGraphStartOperatorsVector, operators)
        input_vector, output_vector = _int32s(builder, inputs), _int32s(builder, outputs)
        tflite.SubGraphStart(builder)
        tflite.SubGraphAddTensors(builder, tensor_vector)
        tflite.SubGraphAddInputs(builder, input_vector)
        tflite.SubGraphAddOutputs(builder, output_vector)
        tflite.SubGraphAddOperators(builder, operator_vector)
        subgraph = tflite.SubGraphEnd(builder)

        code_vector = _offsets(builder, tflite.ModelStartOperatorCodesVector, codes)
        subgraph_vector = _offsets(builder, tflite.ModelStartSubgraphsVector, [subgraph])
        buffer_vector = _offsets(builder, tflite.ModelStartBuffersVector, buffers)
        tflite.ModelStart(builder)
        tflite.ModelAddVersion(builder, self.version)
        tflite.ModelAddOperatorCodes(builder, code_vector)
        tflite.ModelAddSubgraphs(builder, subgraph_vector)
        tflite.ModelAddBuffers(builder, buffer_vector)
        builder.Finish(tflite.ModelEnd(builder), b"TFL3")
        return bytes(builder.Output())

    @staticmethod
    def _buffer(builder: flatbuffers.Builder, content: bytes | None) -> int:
        if content is not None:
            tflite.BufferStartDataVector(builder, len(content))
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            data = builder.EndVector()
        tflite.BufferStart(builder)
        if content is not None:
            tflite.BufferAddData(builder, data)
        return int(tflite.BufferEnd(builder))

    @staticmethod
    def _tensor(builder: flatbuffers.Builder, tensor: dict[str, object], buffer: int) -> int:
        name = builder.CreateString(tensor["name"])
        shape = _int32s(builder, list(tensor["shape"]))  # type: ignore[call-overload]
        quantization = None
        if tensor["scales"]:
            scales = builder.CreateNumpyVector(np.array(tensor["scales"], np.float32))
            zero_points = builder.CreateNumpyVector(np.array(tensor["zero_points"], np.int64))
            tflite.QuantizationParametersStart(builder)
            tflite.QuantizationParametersAddScale(builder, scales)
            tflite.QuantizationParametersAddZeroPoint(builder, zero_points)
            tflite.QuantizationParametersAddQuantizedDimension(builder, int(str(tensor["axis"])))
            quantization = tflite.QuantizationParametersEnd(builder)
        tflite.TensorStart(builder)
        tflite.TensorAddName(builder, name)
        tflite.TensorAddShape(builder, shape)
        tflite.TensorAddType(builder, _TYPES[str(tensor["dtype"])])
        tflite.TensorAddBuffer(builder, buffer)
        tflite.TensorAddIsVariable(builder, bool(tensor["is_variable"]))
        if quantization is not None:
            tflite.TensorAddQuantization(builder, quantization)
        return int(tflite.TensorEnd(builder))

    @staticmethod
    def _operator(builder: flatbuffers.Builder, operator: _Operator, code: int) -> int:
        options = operator.write_options(builder) if operator.write_options else None
        inputs, outputs = _int32s(builder, operator.inputs), _int32s(builder, operator.outputs)
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, code)
        tflite.OperatorAddInputs(builder, inputs)
        tflite.OperatorAddOutputs(builder, outputs)
        if options is not None:
            tflite.OperatorAddBuiltinOptionsType(builder, operator.options_type)
            tflite.OperatorAddBuiltinOptions(builder, options)
        return int(tflite.OperatorEnd(builder))

    @staticmethod
    def _code(builder: flatbuffers.Builder, kind: str) -> int:
        number = getattr(tflite.BuiltinOperator, kind)
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, 127))
        tflite.OperatorCodeAddBuiltinCode(builder, number)
        tflite.OperatorCodeAddVersion(builder, 1)
        return int(tflite.OperatorCodeEnd(builder))


def _int32s(builder: flatbuffers.Builder, values: list[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.int32)))


def _offsets(builder: flatbuffers.Builder, start: Callable[[flatbuffers.Builder, int], int], items: list[int]) -> int:
    start(builder, len(items))
    for item in reversed(items):
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())
