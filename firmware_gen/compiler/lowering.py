"""What operators write when they are compiled: steps, states and which tensors share bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.errors import HarkenError
from firmware_gen.compiler.graph import Graph, Operator, Tensor

Table = tuple[int, ...]  # a function of one int8 value: entry i answers the value i - 128
ReadTable = Callable[[Graph, Operator], Table]


@dataclass(frozen=True)
class Step:
    """One call of a kernel.

    `kernel` names a file in `kernels/`, `template` one in `templates/ops/`, which gets `values` and the C expressions
    of the pointers named in `reads`, `writes` and `states` (name in the template → tensor index). `scratch_bytes` of
    working memory exist during the call as pointer `scratch`.
    """

    operator: Operator
    kernel: str
    template: str
    values: Mapping[str, Any]
    reads: Mapping[str, int]
    writes: Mapping[str, int]
    states: Mapping[str, int] = field(default_factory=dict)
    scratch_bytes: int = 0


@dataclass(frozen=True)
class State:
    """A value that lives from step to step: every byte of it starts as `reset_byte`."""

    tensor: Tensor
    reset_byte: int


class Lowering:
    """The plan while operators add to it."""

    def __init__(self, graph: Graph, tabulated: Mapping[str, ReadTable]) -> None:
        self.graph = graph
        self.tabulated = tabulated  # operators that are functions of one int8 value
        self.steps: list[Step] = []
        self.states: dict[int, State] = {}
        self._same_bytes: dict[int, int] = {}
        self._absorbed: set[int] = set()

    def add(self, step: Step) -> None:
        """Append a step."""
        self.steps.append(step)

    def add_state(self, tensor: Tensor, reset_byte: int) -> None:
        """Keep `tensor` from step to step. Raises HarkenError where another operator keeps it already."""
        if tensor.index in self.states:
            raise HarkenError(f"two operators share the state '{tensor.name}': give each its own")
        self.states[tensor.index] = State(tensor, reset_byte)

    def alias(self, tensor: int, other: int) -> None:
        """Let `tensor` be another name for the bytes of `other`."""
        self._same_bytes[tensor] = self.storage(other)

    def storage(self, tensor: int) -> int:
        """Return the tensor whose bytes `tensor` shares: itself, unless it is another name."""
        return self._same_bytes.get(tensor, tensor)

    def absorb(self, operator: Operator) -> None:
        """Mark an operator as done by an earlier one."""
        self._absorbed.add(operator.index)

    def is_absorbed(self, operator: Operator) -> bool:
        """Whether an earlier operator has done this one's work."""
        return operator.index in self._absorbed
