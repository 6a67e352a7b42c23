"""A model as the compiler sees it: tensors, operators in the order in which they run, inputs and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import HarkenError


@dataclass(frozen=True)
class Quantization:
    """real = scale * (value - zero_point), one pair for the tensor or one for each slice along `axis`."""

    scales: tuple[float, ...]  # float32 values
    zero_points: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """One tensor. `data` is read-only and None unless the tensor is a constant; `shape` has no zero in it."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    data: npt.NDArray[Any] | None
    quantization: Quantization | None
    is_variable: bool

    @property
    def elements(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def byte_count(self) -> int:
        """Size of the values in bytes."""
        return self.elements * self.dtype.itemsize

    @property
    def scale(self) -> float:
        """The one float32 scale. Raises HarkenError where there is none or one per slice."""
        if self.quantization is None or len(self.quantization.scales) != 1:
            raise HarkenError(f"tensor {self.index} '{self.name}' needs one quantisation scale: convert to full int8")
        return self.quantization.scales[0]

    @property
    def zero_point(self) -> int:
        """The one zero point. Raises HarkenError where there is none or one per slice."""
        if self.quantization is None or len(self.quantization.zero_points) != 1:
            raise HarkenError(f"tensor {self.index} '{self.name}' needs one zero point: convert to full int8")
        return self.quantization.zero_points[0]


@dataclass(frozen=True)
class Operator:
    """One operation. An input index of -1 stands for an optional input that is absent."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """The one subgraph of a model."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def place(self, operator: Operator) -> str:
        """Say where an operator is, for messages."""
        name = self.tensors[operator.outputs[0]].name if operator.outputs else "no output"
        return f"{operator.kind} (subgraph 0, operator {operator.index}, tensor '{name}')"

    def refuse(self, operator: Operator, cause: str) -> HarkenError:
        """Return the error that this operator cannot be compiled, with its place."""
        return HarkenError(f"cannot compile {self.place(operator)}: {cause}")

    def require(self, operator: Operator, condition: bool, cause: str) -> None:
        """Raise HarkenError with the operator's place and `cause` unless `condition` holds."""
        if not condition:
            raise self.refuse(operator, cause)

    def input_of(self, operator: Operator, position: int) -> Tensor:
        """Return an input that must be there."""
        tensor = self.optional_input(operator, position)
        if tensor is None:
            raise self.refuse(operator, f"input {position} is missing")
        return tensor

    def optional_input(self, operator: Operator, position: int) -> Tensor | None:
        """Return an input, or None where the model leaves it out."""
        if position >= len(operator.inputs) or operator.inputs[position] < 0:
            return None
        return self.tensors[operator.inputs[position]]

    def output_of(self, operator: Operator) -> Tensor:
        """Return the only output."""
        if len(operator.outputs) != 1:
            raise self.refuse(operator, f"{len(operator.outputs)} outputs where there is one")
        return self.tensors[operator.outputs[0]]

    def consumers(self, tensor: int) -> tuple[Operator, ...]:
        """Return the operators that read a tensor."""
        return tuple(operator for operator in self.operators if tensor in operator.inputs)

    def producer(self, tensor: int) -> Operator | None:
        """Return the operator that writes a tensor; None for inputs, constants and variables."""
        return next((operator for operator in self.operators if tensor in operator.outputs), None)
