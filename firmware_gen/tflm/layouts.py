"""Sizes of the structs that TensorFlow Lite Micro puts into its arena, for each target's ABI.

A struct is written down once, as its fields in order; an ABI turns it into bytes. The order of fields is that of
tflite-micro 90b983c2 (August 2026), which the tests hold to what the wheel records on a 64-bit machine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TFLM_VERSION = "90b983c2"

# Fields: p pointer or size_t, e a C enum, i 32-bit integer or float, h 16-bit integer, b bool or byte,
# l 64-bit integer or double, {Name} a struct, a digit before any of them that many.
STRUCTS: dict[str, str] = {
    # the allocator itself
    "SingleArenaBufferAllocator": "2p 5p p i",
    "GreedyMemoryPlanner": "p i i 4p i i p b",
    "MicroAllocator": "p 4p b p p p",
    "MicroBuiltinDataAllocator": "p p",
    "SubgraphAllocations": "p p",
    "ScratchBufferRequest": "p i i",
    "ScratchBufferHandle": "p",
    "AllocationInfo": "p p i i i b",
    "BufferRequirements": "4i",
    "ListEntry": "3i",
    # the graph
    "TfLiteQuantization": "i p",
    "TfLiteQuantizationParams": "i i",
    "TfLiteTensor": "{TfLiteQuantization} {TfLiteQuantizationParams} p p p e e b",
    "TfLiteEvalTensor": "p p e",
    "TfLiteAffineQuantization": "p p i",
    "TfLiteNode": "6p i",
    "NodeAndRegistration": "{TfLiteNode} p",
    # options of the operators, as the flatbuffer is read
    "TfLiteUnidirectionalSequenceLSTMParams": "e i i b b b",
    "TfLiteFullyConnectedParams": "e e b b e",
    "TfLiteConcatenationParams": "i e",
    "TfLiteReshapeParams": "8i i",
    # what the reference kernels keep
    "FullyConnectedParams": "9i b b b",
    "ArithmeticParams": "b 10i 4i 2l 2h 5i",
    "GateParameters": "{FullyConnectedParams} {FullyConnectedParams}",
    "InterGateParameters": "3{ArithmeticParams}",
    "LstmSizeInfo": "b 4i",
    "CellStateInfo": "i h i",
    "OpDataLSTM": "{LstmSizeInfo} {CellStateInfo} e 4{GateParameters} {InterGateParameters} 4i",
    "OpDataFullyConnected": "9i p p b",
    "OpDataLogistic": "4i",
    "ConcatenationParams": "i p p i i i",
    "OpDataConcatenation": "{ConcatenationParams}",
    "QuantizationParams": "i l",
    "OpDataQuantizeReference": "{QuantizationParams} 3i",
}

# The tflite-micro wheel differs: its allocator keeps books, it is built with tensor compression, and the options of a
# fully connected layer take 16 bytes more than in the version above.
WHEEL_STRUCTS: dict[str, str] = {
    "RecordedAllocation": "3p",
    "SingleArenaBufferAllocator": f"{STRUCTS['SingleArenaBufferAllocator']} 4p",
    "MicroAllocator": f"{STRUCTS['MicroAllocator']} p 8{{RecordedAllocation}}",
    "SubgraphAllocations": "p p p",
    "TfLiteFullyConnectedParams": f"{STRUCTS['TfLiteFullyConnectedParams']} 4i",
    "OpDataFullyConnected": f"{STRUCTS['OpDataFullyConnected']} i i",
    "OpDataConcatenation": f"{STRUCTS['OpDataConcatenation']} 10i",
}


@dataclass(frozen=True)
class Layout:
    """What `sizeof` and `alignof` say, in bytes."""

    size: int
    alignment: int


@dataclass(frozen=True)
class Abi:
    """How a compiler lays out structs.

    pointer_bytes: also of size_t. enum_bytes: of an enum whose values fit a byte (1 where the procedure call standard
    asks for short enums). wide_alignment: of 64-bit integers and doubles in a struct. is_wheel: with the structs of
    the tflite-micro wheel.
    """

    name: str
    pointer_bytes: int
    enum_bytes: int
    wide_alignment: int
    is_wheel: bool = False

    def layout(self, struct: str) -> Layout:
        """Return the layout of a struct in STRUCTS."""
        position, alignment = 0, 1
        for count, field in _fields(self._definition(struct)):
            part = self._field(field)
            position = round_up(position, part.alignment) + count * part.size
            alignment = max(alignment, part.alignment)
        return Layout(round_up(position, alignment), alignment)

    def size(self, struct: str) -> int:
        """Return `sizeof` of a struct in STRUCTS."""
        return self.layout(struct).size

    def _definition(self, struct: str) -> str:
        return WHEEL_STRUCTS[struct] if self.is_wheel and struct in WHEEL_STRUCTS else STRUCTS[struct]

    def _field(self, field: str) -> Layout:
        if field.startswith("{"):
            return self.layout(field.strip("{}"))
        return {
            "p": Layout(self.pointer_bytes, self.pointer_bytes),
            "e": Layout(self.enum_bytes, self.enum_bytes),
            "i": Layout(4, 4),
            "h": Layout(2, 2),
            "b": Layout(1, 1),
            "l": Layout(8, self.wide_alignment),
        }[field]


def _fields(text: str) -> Iterator[tuple[int, str]]:
    for field in text.split():
        digits = len(field) - len(field.lstrip("0123456789"))
        yield int(field[:digits] or 1), field[digits:]


def round_up(value: int, alignment: int) -> int:
    """Return the next multiple of `alignment` at or above `value`."""
    return -(-value // alignment) * alignment


def _by_name(abis: Sequence[Abi]) -> dict[str, Abi]:
    return {abi.name: abi for abi in abis}


# What `edge.quantization.tflm` runs on: the wheel on a 64-bit machine.
WHEEL = Abi("wheel", pointer_bytes=8, enum_bytes=4, wide_alignment=8, is_wheel=True)

# GCC for bare-metal Arm makes enums as short as their values allow; the others make them ints.
ABIS = _by_name(
    [
        Abi("cortex-m", pointer_bytes=4, enum_bytes=1, wide_alignment=8),
        Abi("riscv32", pointer_bytes=4, enum_bytes=4, wide_alignment=8),
        Abi("xtensa", pointer_bytes=4, enum_bytes=4, wide_alignment=8),
    ]
)
