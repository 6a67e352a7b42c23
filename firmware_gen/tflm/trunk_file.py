"""Cuts the trunk out of a detector's `.tflite`, with its recurrent state as inputs, so that the caller can hold it."""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

from edge.errors import HarkenError
from firmware_gen.compiler.graph import Graph


def trunk_model(content: bytes, trunk: Graph, states: Sequence[int], *, has_state_outputs: bool = False) -> bytes:
    """Return a `.tflite` of the trunk alone.

    Its inputs are the features and then the variable tensors `states` (indices into `trunk.tensors`): TFLM keeps these
    where they are, and naming them as inputs is what lets a program reach them without keeping every tensor. Its output
    is the trunk's, followed by the states where `has_state_outputs`.

    Raises HarkenError where the tflite-micro wheel, which carries the schema, is missing.
    """
    schema = _schema()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    (graph,) = model.subgraphs
    graph.operators = [graph.operators[operator.index] for operator in trunk.operators]
    used = [*trunk.inputs, *states, *(i for op in graph.operators for i in (*op.inputs, *op.outputs)), *trunk.outputs]
    kept = sorted({int(index) for index in used if index >= 0})
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in kept]
    for operator in graph.operators:
        operator.inputs = [place[int(index)] for index in operator.inputs]
        operator.outputs = [place[int(index)] for index in operator.outputs]
        operator.intermediates = None  # of no elements, and unknown to TFLM
    graph.inputs = [place[index] for index in (*trunk.inputs, *states)]
    graph.outputs = [place[index] for index in (*trunk.outputs, *(states if has_state_outputs else ()))]
    graph.name = None
    _drop_what_is_unused(model, graph)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _drop_what_is_unused(model: Any, graph: Any) -> None:
    codes = sorted({operator.opcodeIndex for operator in graph.operators})
    model.operatorCodes = [model.operatorCodes[index] for index in codes]
    for operator in graph.operators:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)
    buffers = [0, *sorted({tensor.buffer for tensor in graph.tensors} - {0})]  # buffer 0 is the empty one
    model.buffers = [model.buffers[index] for index in buffers]
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data):
            buffer.data = np.asarray(buffer.data, np.uint8)
    for tensor in graph.tensors:
        tensor.buffer = buffers.index(tensor.buffer)
        tensor.name = None
    model.metadata = model.metadataBuffer = model.signatureDefs = None
    model.description = "trunk"


def _schema() -> Any:
    try:
        from tflite_micro.tensorflow.lite.micro.python import schema_py_generated
    except ImportError as error:
        raise HarkenError(
            f"the TFLM engine is generated with the tflite-micro wheel ({error}): pip install 'harken[train]', or use "
            "--engine compiled"
        ) from error
    return schema_py_generated
