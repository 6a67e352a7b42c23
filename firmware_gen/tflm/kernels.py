"""Which kernel library may run a model in TensorFlow Lite Micro: one that changes an answer is refused."""

from typing import Literal

from edge.errors import HarkenError
from firmware_gen.compiler.graph import Graph

KernelLibrary = Literal["reference", "esp-nn", "cmsis-nn"]

# For operators that the library has kernels of its own for, but not those of the reference.
_REFUSED: dict[str, dict[str, str]] = {
    "reference": {},
    "esp-nn": dict.fromkeys(
        (
            "ADD",
            "AVERAGE_POOL_2D",
            "CONV_2D",
            "DEPTHWISE_CONV_2D",
            "FULLY_CONNECTED",
            "MAX_POOL_2D",
            "MUL",
            "SOFTMAX",
        ),
        "ESP-NN has a kernel of its own for it, whose allocations and rounding have not been held to the reference",
    ),
    "cmsis-nn": {
        "UNIDIRECTIONAL_SEQUENCE_LSTM": "CMSIS-NN's wrapper never passes the state tensors to its kernel, so every "
        "step starts from a zeroed cell (tflite-micro issues #3564 and #3607) and no saving of state repairs that",
    },
}


def check_kernels(graph: Graph, library: KernelLibrary) -> None:
    """Raise HarkenError where `library` would answer otherwise than the reference kernels, and say why."""
    refused = _REFUSED[library]
    for operator in graph.operators:
        if operator.kind in refused:
            raise HarkenError(
                f"{library} kernels cannot run {graph.place(operator)}: {refused[operator.kind]}; use --kernels "
                "reference or --engine compiled"
            )
