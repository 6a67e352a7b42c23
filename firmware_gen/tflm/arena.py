"""How large TensorFlow Lite Micro's arena must be: its allocations replayed with a target's struct sizes.

The arena is filled from both ends. At its tail lies what lives as long as the interpreter; at its head what is needed
while the model is prepared, and afterwards the activations, laid out by a greedy planner. The size is the largest sum
of both that occurs on the way, which is more than `arena_used_bytes()` says when all is done: planning itself needs
room. Sizes are multiples of the arena's 16-byte alignment, so 16 bytes less never do.
"""

from collections.abc import Callable
from dataclasses import dataclass

from firmware_gen.compiler.graph import Graph, Operator, Tensor
from firmware_gen.tflm.layouts import Abi, round_up

ALIGNMENT = 16
SCRATCH_REQUESTS_PER_OPERATOR = 12


@dataclass(frozen=True)
class Arena:
    """bytes: the smallest arena that works. used_bytes: what `arena_used_bytes()` reports once all is allocated."""

    bytes: int
    used_bytes: int


@dataclass(frozen=True)
class _Kind:
    """What a reference kernel takes from the arena.

    options, op_data: struct names, "" for none. temporaries: how many TfLiteTensors it holds while preparing;
    None for one for each input and output. scratch: sizes of its scratch buffers.
    """

    options: str = ""
    op_data: str = ""
    temporaries: Callable[[Graph, Operator], list[Tensor]] | None = None
    scratch: Callable[[Graph, Operator], list[int]] | None = None


def _inputs_and_outputs(graph: Graph, operator: Operator) -> list[Tensor]:
    return [graph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]


def _first_input_and_output(graph: Graph, operator: Operator) -> list[Tensor]:
    return [graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]]


def _concatenated(graph: Graph, operator: Operator) -> list[Tensor]:
    """The kernel looks at its first input twice."""
    return [graph.tensors[operator.inputs[0]], *_inputs_and_outputs(graph, operator)]


def _lstm_scratch(graph: Graph, operator: Operator) -> list[int]:
    hidden, cell = (graph.input_of(operator, position) for position in (18, 19))
    return [hidden.elements * cell.dtype.itemsize] * 4


KINDS: dict[str, _Kind] = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _Kind(
        "TfLiteUnidirectionalSequenceLSTMParams", "OpDataLSTM", _inputs_and_outputs, _lstm_scratch
    ),
    "FULLY_CONNECTED": _Kind("TfLiteFullyConnectedParams", "OpDataFullyConnected", _inputs_and_outputs),
    "LOGISTIC": _Kind("", "OpDataLogistic", _first_input_and_output),
    "QUANTIZE": _Kind("", "OpDataQuantizeReference", _first_input_and_output),
    "CONCATENATION": _Kind("TfLiteConcatenationParams", "OpDataConcatenation", _concatenated),
    "RESHAPE": _Kind("TfLiteReshapeParams", "", _first_input_and_output),
}


def arena_of(graph: Graph, abi: Abi) -> Arena:
    """Return what the arena of `graph` takes with the reference kernels under `abi`.

    Raises HarkenError for an operator whose allocations are not known here.
    """
    for operator in graph.operators:
        graph.require(
            operator,
            operator.kind in KINDS,
            "what TensorFlow Lite Micro allocates for it is not known: add it to firmware_gen/tflm/arena.py, or use "
            "the compiled engine",
        )
    return _Replay(graph, abi).run()


class _Replay:
    """One AllocateTensors(). Positions count from the head up and from the tail down."""

    def __init__(self, graph: Graph, abi: Abi) -> None:
        self.graph = graph
        self.abi = abi
        self.head = 0  # of what is resizable
        self.temporary = 0
        self.tail = 0
        self.peak = 0

    def run(self) -> Arena:
        graph, abi = self.graph, self.abi
        for struct in (
            "SingleArenaBufferAllocator",
            "GreedyMemoryPlanner",
            "MicroAllocator",
            "MicroBuiltinDataAllocator",
        ):
            self._keep_struct(struct)
        self._resize_head(SCRATCH_REQUESTS_PER_OPERATOR * abi.size("ScratchBufferRequest"))
        self._keep_struct("SubgraphAllocations")
        self._keep_struct("TfLiteEvalTensor", len(graph.tensors))
        self._keep_struct("NodeAndRegistration", len(graph.operators))
        for operator in graph.operators:
            if KINDS[operator.kind].options:
                self._keep_struct(KINDS[operator.kind].options)
        for operator in graph.operators:
            if KINDS[operator.kind].op_data:
                self._keep(abi.size(KINDS[operator.kind].op_data), ALIGNMENT)
        scratch = self._prepare()
        self._plan(scratch)
        for ends in (graph.inputs, graph.outputs):
            self._keep(abi.pointer_bytes * len(ends), ALIGNMENT)
            for index in ends:
                self._tensor(graph.tensors[index], self._keep)
        return Arena(round_up(self.peak, ALIGNMENT), self.tail + self.head)

    def _prepare(self) -> list[tuple[int, int]]:
        """Prepare every operator; return (operator's position, bytes) of the scratch buffers that they ask for."""
        requests: list[tuple[int, int]] = []
        for position, operator in enumerate(self.graph.operators):
            kind = KINDS[operator.kind]
            assert kind.temporaries is not None
            for tensor in kind.temporaries(self.graph, operator):
                self._tensor(tensor, self._hold)
            if operator.kind == "FULLY_CONNECTED":
                channels = _channels(self.graph.input_of(operator, 1))
                if channels > 1:
                    self._keep(4 * channels, ALIGNMENT)
                    self._keep(4 * channels, ALIGNMENT)
            if kind.scratch is not None:
                requests += [(position, size) for size in kind.scratch(self.graph, operator)]
            self.temporary = self.head
            spare = len(requests) + SCRATCH_REQUESTS_PER_OPERATOR
            self._resize_head(spare * self.abi.size("ScratchBufferRequest"))
        return requests

    def _plan(self, scratch: list[tuple[int, int]]) -> None:
        abi, graph = self.abi, self.graph
        if scratch:
            self._keep_struct("ScratchBufferHandle", len(scratch))
        self._hold(abi.pointer_bytes, abi.pointer_bytes)
        info = abi.layout("AllocationInfo")
        self._hold(info.size * (len(graph.tensors) + len(scratch)), info.alignment)
        for tensor in graph.tensors:
            if tensor.is_variable:
                self._keep(tensor.byte_count, ALIGNMENT)
        buffers = _buffers(graph, scratch)
        per_buffer = abi.size("BufferRequirements") + abi.size("ListEntry") + 3 * 4
        # The planner takes all that is left between whole alignments, and lays its tables out in it.
        room = round_up(self.temporary, ALIGNMENT) + per_buffer * len(buffers) + round_up(self.tail, ALIGNMENT)
        self.peak = max(self.peak, room)
        self.temporary = self.head = 0
        self._resize_head(_planned_bytes(buffers))

    def _keep(self, size: int, alignment: int) -> None:
        self.tail = round_up(self.tail + size, alignment)
        self.peak = max(self.peak, self.tail + self.head)

    def _keep_struct(self, struct: str, count: int = 1) -> None:
        layout = self.abi.layout(struct)
        self._keep(layout.size * count, layout.alignment)

    def _hold(self, size: int, alignment: int) -> None:
        self.temporary = round_up(self.temporary, alignment) + size
        self.peak = max(self.peak, self.tail + self.temporary)

    def _resize_head(self, size: int) -> None:
        self.head = self.temporary = size
        self.peak = max(self.peak, self.tail + self.head)

    def _tensor(self, tensor: Tensor, allocate: Callable[[int, int], None]) -> None:
        layout = self.abi.layout("TfLiteTensor")
        allocate(layout.size, layout.alignment)
        if tensor.quantization is not None:
            layout = self.abi.layout("TfLiteAffineQuantization")
            allocate(layout.size, layout.alignment)
            allocate(4 + 4 * len(tensor.quantization.scales), 4)


def _channels(tensor: Tensor) -> int:
    return 1 if tensor.quantization is None else len(tensor.quantization.scales)


@dataclass(frozen=True)
class _Buffer:
    size: int
    first: int
    last: int


def _buffers(graph: Graph, scratch: list[tuple[int, int]]) -> list[_Buffer]:
    """Return what the planner lays out, in its order: the activations by tensor index, then the scratch buffers."""
    first: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    last: dict[int, int] = dict.fromkeys(graph.inputs, 0)
    for scope, operator in enumerate(graph.operators, start=1):
        for index in operator.outputs:
            first.setdefault(index, scope)
        for index in (*operator.inputs, *operator.outputs):
            last[index] = scope
    for index in graph.outputs:
        first.setdefault(index, len(graph.operators))
        last[index] = len(graph.operators)
    buffers = [
        _Buffer(round_up(tensor.byte_count, ALIGNMENT), first.get(tensor.index, -1), last.get(tensor.index, -1))
        for tensor in graph.tensors
        if tensor.data is None and not tensor.is_variable and tensor.byte_count > 0
    ]
    return buffers + [_Buffer(round_up(size, ALIGNMENT), position + 1, position + 1) for position, size in scratch]


def _planned_bytes(buffers: list[_Buffer]) -> int:
    """Place the largest first, each into the first gap among those that live at the same time; return the end.

    Ties go to the buffer that was added last, as in TFLM's planner, which fills its list from the tail before it sorts.
    """
    placed: list[tuple[int, _Buffer]] = []
    end = 0
    latest_first = buffers[::-1]
    for buffer in sorted(latest_first, key=lambda item: -item.size):
        offset = 0
        for start, other in placed:
            if other.first <= buffer.last and buffer.first <= other.last:
                if start - offset >= buffer.size:
                    break
                offset = max(offset, start + other.size)
        position = next((i for i, (start, _) in enumerate(placed) if start > offset), len(placed))
        placed.insert(position, (offset, buffer))
        end = max(end, offset + buffer.size)
    return end
