"""Reads a `.tflite` file into a Graph, and trusts nothing in it."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from edge.errors import HarkenError
from firmware_gen.compiler import ops
from firmware_gen.compiler.graph import Graph, Operator, Quantization, Tensor

SCHEMA_VERSION = 3
MAX_FILE_BYTES = 16 * 2**20
MAX_TENSOR_ELEMENTS = 2**24
MAX_DIMENSIONS = 6

_DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype("<f4"),
    tflite.TensorType.INT8: np.dtype("int8"),
    tflite.TensorType.UINT8: np.dtype("uint8"),
    tflite.TensorType.INT16: np.dtype("<i2"),
    tflite.TensorType.INT32: np.dtype("<i4"),
    tflite.TensorType.INT64: np.dtype("<i8"),
    tflite.TensorType.BOOL: np.dtype("bool"),
}
_TYPE_NAMES = {value: name for name, value in vars(tflite.TensorType).items() if isinstance(value, int)}
_KINDS = {value: name for name, value in vars(tflite.BuiltinOperator).items() if isinstance(value, int)}
# The flatbuffers reader follows offsets without looking whether they stay inside the file: this is what comes of it.
_READER_FAILURES = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError)


def read_tflite(path: Path) -> tuple[Graph, bytes]:
    """Read the model at `path`; return its graph and the file's bytes.

    Raises HarkenError for a file that is missing, damaged or hostile, of another schema version, or that has an
    operator outside `firmware_gen/compiler/ops/`.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise HarkenError(f"{path}: {size} bytes is no model for a microcontroller (limit {MAX_FILE_BYTES})")
        content = path.read_bytes()
    except OSError as error:
        raise HarkenError(f"cannot read the model {path}: {error.strerror or error}") from error
    return parse_tflite(content, str(path)), content


def parse_tflite(content: bytes, name: str) -> Graph:
    """Parse a model from memory; `name` stands in the messages. Raises HarkenError as `read_tflite` does."""
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise HarkenError(f"{name} is no .tflite model (no TFL3 mark): export it again with the TFLite converter")
    try:
        return _Reader(content, name).graph()
    except _READER_FAILURES as error:
        raise HarkenError(f"{name} is truncated or damaged ({error}): export or copy it again") from error


class _Reader:
    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name
        self._model = tflite.Model.GetRootAs(content, 0)

    def graph(self) -> Graph:
        if self._model.Version() != SCHEMA_VERSION:
            raise HarkenError(
                f"{self._name} has schema version {self._model.Version()}, this compiler reads {SCHEMA_VERSION}: "
                "convert it with TensorFlow 2.19"
            )
        if self._model.SubgraphsLength() != 1:
            raise HarkenError(
                f"{self._name} has {self._model.SubgraphsLength()} subgraphs: "
                "control flow (IF, WHILE) cannot be compiled"
            )
        subgraph = self._model.Subgraphs(0)
        tensors = tuple(
            self._tensor(subgraph.Tensors(i), i) for i in range(self._count(subgraph.TensorsLength(), "tensors"))
        )
        operators = tuple(
            self._operator(subgraph.Operators(i), i, tensors)
            for i in range(self._count(subgraph.OperatorsLength(), "operators"))
        )
        graph = Graph(
            tensors,
            operators,
            self._indices(subgraph.InputsLength(), subgraph.Inputs, tensors, "inputs"),
            self._indices(subgraph.OutputsLength(), subgraph.Outputs, tensors, "outputs"),
        )
        self._check_order(graph)
        return graph

    def _count(self, length: int, what: str) -> int:
        """Bound a vector's length by what the file can hold: each entry takes four bytes at least."""
        if not 0 <= length <= len(self._content) // 4:
            raise HarkenError(f"{self._name} is damaged: {length} {what} in a file of {len(self._content)} bytes")
        return length

    def _indices(self, length: int, get: Any, tensors: tuple[Tensor, ...], what: str) -> tuple[int, ...]:
        indices = tuple(int(get(i)) for i in range(self._count(length, what)))
        if any(not -1 <= index < len(tensors) for index in indices):
            raise HarkenError(f"{self._name} is damaged: {what} name tensors that do not exist")
        return indices

    def _tensor(self, source: tflite.Tensor, index: int) -> Tensor:
        label = f"{self._name}: tensor {index}"
        shape = tuple(int(source.Shape(i)) for i in range(self._count(source.ShapeLength(), "dimensions")))
        dtype = _DTYPES.get(source.Type())
        if dtype is None:
            raise HarkenError(
                f"{label} has type {_TYPE_NAMES.get(source.Type(), source.Type())}, which cannot be compiled"
            )
        # The converter declares the LSTM's unused intermediate tensors with no elements.
        has_no_elements = shape == (0,)
        if len(shape) > MAX_DIMENSIONS or (min(shape, default=1) < 1 and not has_no_elements):
            raise HarkenError(f"{label} has shape {list(shape)}: only fixed shapes can be compiled")
        elements = int(np.prod(shape, dtype=object))
        if elements > MAX_TENSOR_ELEMENTS:
            raise HarkenError(f"{label} has {elements} elements (limit {MAX_TENSOR_ELEMENTS})")
        raw_name = source.Name() or b""
        name = raw_name.decode("utf-8", "replace")
        # Names end up in messages and in comments of generated C.
        name = "".join(c if c.isalnum() or c in "_-./:;" else "?" for c in name)[:120]
        quantization = self._quantization(source.Quantization(), label)
        return Tensor(
            index, name, shape, dtype, self._data(source, shape, dtype, label), quantization, bool(source.IsVariable())
        )

    def _data(
        self, source: tflite.Tensor, shape: tuple[int, ...], dtype: np.dtype[Any], label: str
    ) -> np.ndarray[Any, Any] | None:
        if source.Buffer() >= self._count(self._model.BuffersLength(), "buffers"):
            raise HarkenError(f"{label} is damaged: it names buffer {source.Buffer()}, which does not exist")
        buffer = self._model.Buffers(source.Buffer())
        length = buffer.DataLength()
        if length == 0:
            return None
        if length > len(self._content):
            raise HarkenError(f"{label} is damaged: its data reach beyond the end of the file")
        raw = buffer.DataAsNumpy()
        expected = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if raw.size != expected:
            raise HarkenError(f"{label} is damaged: {raw.size} bytes of data where its shape takes {expected}")
        data = np.frombuffer(raw.tobytes(), dtype).reshape(shape)
        data.flags.writeable = False
        return data

    def _quantization(self, source: tflite.QuantizationParameters | None, label: str) -> Quantization | None:
        if source is None or source.ScaleLength() == 0:
            return None
        count = self._count(source.ScaleLength(), "scales")
        scales = tuple(float(source.Scale(i)) for i in range(count))
        zero_points = tuple(
            int(source.ZeroPoint(i)) for i in range(self._count(source.ZeroPointLength(), "zero points"))
        )
        if any(not 2.0**-100 < scale < 2.0**100 for scale in scales):
            raise HarkenError(f"{label} has a quantisation scale that is not a positive number")
        if len(zero_points) != count or any(not -(2**15) <= point < 2**15 for point in zero_points):
            raise HarkenError(f"{label} has zero points that do not fit its scales or its type")
        return Quantization(scales, zero_points, int(source.QuantizedDimension()))

    def _operator(self, source: tflite.Operator, index: int, tensors: tuple[Tensor, ...]) -> Operator:
        if source.OpcodeIndex() >= self._count(self._model.OperatorCodesLength(), "operator codes"):
            raise HarkenError(f"{self._name} is damaged: operator {index} names a code that does not exist")
        code = self._model.OperatorCodes(source.OpcodeIndex())
        # Codes above 126 live in the wider field, older ones in either.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = _KINDS.get(number, f"operator code {number}")
        outputs = self._indices(source.OutputsLength(), source.Outputs, tensors, "outputs")
        place = f"{kind} (subgraph 0, operator {index}, tensor '{tensors[outputs[0]].name if outputs else ''}')"
        if not outputs or min(outputs) < 0:
            raise HarkenError(f"{self._name} is damaged: {place} lacks an output")
        compiled_op = ops.REGISTRY.get(kind)
        if compiled_op is None:
            raise HarkenError(
                f"{self._name}: {place} is not among the operators that can be compiled "
                f"({', '.join(sorted(ops.REGISTRY))}): change the model or add a file to firmware_gen/compiler/ops"
            )
        options_table = source.BuiltinOptions()
        expected = getattr(compiled_op, "OPTIONS_TYPE", source.BuiltinOptionsType())
        if options_table is not None and source.BuiltinOptionsType() != expected:
            raise HarkenError(f"{self._name} is damaged: {place} has the options of another operator")
        return Operator(
            index,
            kind,
            self._indices(source.InputsLength(), source.Inputs, tensors, "inputs"),
            outputs,
            compiled_op.read_options(options_table) if options_table is not None else {},
        )

    def _check_order(self, graph: Graph) -> None:
        """Every value must be written before it is read, and once."""
        known = {t.index for t in graph.tensors if t.data is not None or t.is_variable} | set(graph.inputs)
        for operator in graph.operators:
            missing = [i for i in operator.inputs if i >= 0 and i not in known]
            graph.require(operator, not missing, f"it reads tensors {missing}, which nothing before it writes")
            written = [i for i in operator.outputs if i in known]
            graph.require(operator, not written, f"it writes tensors {written}, which have a value already")
            known.update(operator.outputs)
        is_fed = bool(graph.inputs) and min(graph.inputs) >= 0
        if not is_fed or not graph.outputs or any(i not in known for i in graph.outputs):
            raise HarkenError(f"{self._name} is damaged: it lacks inputs, or outputs that something writes")
