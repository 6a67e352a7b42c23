"""The operators that can be compiled: one module each, found by listing this folder.

A module says `KIND` (the operator's name in the .tflite schema), `read_options(table)` (its builtin options as a
mapping) and `lower(lowering, operator)` (adds steps to the plan, or raises HarkenError by `graph.refuse`; a ValueError
becomes one, with the operator's place). One that reads options also says `OPTIONS_TYPE`, their type in the schema. One
whose operator is a function of single int8 values also says `read_table(graph, operator)`: such operators are chained.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from firmware_gen.compiler.graph import Operator
    from firmware_gen.compiler.lowering import Lowering, ReadTable


class CompiledOp(Protocol):
    """What a module in this folder supplies."""

    KIND: str

    def read_options(self, table: Any) -> Mapping[str, Any]:
        """Return the builtin options as plain values."""

    def lower(self, lowering: "Lowering", operator: "Operator") -> None:
        """Add the operator's steps to the plan."""


def _find() -> dict[str, Any]:
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return {module.KIND: module for module in modules}


REGISTRY: "dict[str, CompiledOp]" = _find()
TABULATED: "dict[str, ReadTable]" = {
    kind: module.read_table for kind, module in _find().items() if hasattr(module, "read_table")
}
