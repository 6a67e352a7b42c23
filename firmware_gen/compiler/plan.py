"""From a graph to a plan: which kernel runs when, with which constants, and where every value lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.errors import HarkenError
from firmware_gen.compiler import ops
from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.lowering import Lowering, State, Step

ALIGN_BYTES = 8


@dataclass(frozen=True)
class Plan:
    """What the generated engine does. Offsets are in bytes into the engine's state struct."""

    graph: Graph
    steps: tuple[Step, ...]
    states: tuple[State, ...]
    pointers: tuple[Mapping[str, str], ...]  # for each step: name in the template → C expression
    state_offsets: Mapping[int, int]
    state_bytes: int  # recurrent state alone
    total_bytes: int  # recurrent state and working memory
    constants: Mapping[int, str]  # tensors that steps read as they are → their names in C

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that the plan calls, each once, in the order of their first call."""
        return tuple(dict.fromkeys(step.kernel for step in self.steps))


def lower(graph: Graph) -> Lowering:
    """Turn every operator into steps. Raises HarkenError for what cannot be compiled, with its place."""
    lowering = Lowering(graph, ops.TABULATED)
    for operator in graph.operators:
        if lowering.is_absorbed(operator):
            continue
        try:
            ops.REGISTRY[operator.kind].lower(lowering, operator)
        except ValueError as error:  # a scale that cannot be quantised
            raise graph.refuse(operator, str(error)) from error
    return lowering


def make_plan(graph: Graph) -> Plan:
    """Plan an engine with one input and one output.

    Working memory is shared: a value's bytes are free again after its last reader. Raises HarkenError for what cannot
    be compiled.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise HarkenError(
            f"the model has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; an engine has one of each"
        )
    source, target = graph.inputs[0], graph.outputs[0]
    fed = graph.tensors[source]
    if fed.dtype != np.int8 or fed.data is not None or fed.is_variable:
        raise HarkenError(f"input '{fed.name}' is not int8 that the caller gives: convert to full int8")
    lowering = lower(graph)
    steps = list(lowering.steps)
    written = {lowering.storage(index) for step in steps for index in step.writes.values()}
    output_storage = lowering.storage(target)
    if output_storage in lowering.states or output_storage not in written:
        # The output is a recurrent state, the input under another name, or a constant: copy it out.
        steps.append(_copy_out(graph, output_storage, target))
    _check_variables(graph, lowering, steps)
    constants = {
        index: f"hk_constant_{index}"
        for index in sorted({lowering.storage(index) for step in steps for index in step.reads.values()})
        if graph.tensors[index].data is not None
    }
    state_offsets, state_bytes = _stack([state.tensor.byte_count for state in lowering.states.values()])
    offsets = dict(zip(lowering.states, state_offsets, strict=True))
    pointers, total_bytes = _place(graph, lowering, steps, offsets, state_bytes, constants)
    return Plan(
        graph=graph,
        steps=tuple(steps),
        states=tuple(lowering.states.values()),
        pointers=pointers,
        state_offsets=offsets,
        state_bytes=state_bytes,
        total_bytes=max(total_bytes, 1),
        constants=constants,
    )


def _check_variables(graph: Graph, lowering: Lowering, steps: Sequence[Step]) -> None:
    """Refuse to read a variable that nothing keeps from step to step."""
    for step in steps:
        for index in step.reads.values():
            tensor = graph.tensors[lowering.storage(index)]
            graph.require(
                step.operator,
                not tensor.is_variable or tensor.index in lowering.states,
                f"it reads the variable '{tensor.name}', which is the state of no LSTM",
            )


def _copy_out(graph: Graph, storage: int, target: int) -> Step:
    last = graph.operators[-1] if graph.operators else Operator(0, "COPY", (storage,), (target,))
    values = {"byte_count": graph.tensors[target].byte_count}
    # The output's own index: it is an alias, so only this step writes to the caller's buffer.
    return Step(last, "copy", "copy.c.jinja", values, {"source": storage}, {"target": target})


def _round_up(value: int) -> int:
    return -(-value // ALIGN_BYTES) * ALIGN_BYTES


def _stack(sizes: Sequence[int]) -> tuple[list[int], int]:
    """Lay sizes one after the other; return their offsets and the end."""
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end)
        end = _round_up(end + size)
    return offsets, end


@dataclass(frozen=True)
class _Lifetime:
    key: tuple[str, int]
    byte_count: int
    first: int
    last: int


def _place(
    graph: Graph,
    lowering: Lowering,
    steps: Sequence[Step],
    state_offsets: Mapping[int, int],
    base: int,
    constants: Mapping[int, str],
) -> tuple[tuple[Mapping[str, str], ...], int]:
    """Lay out working memory after the states; return each step's pointer expressions and the end of memory."""
    source = graph.inputs[0]
    is_copied = bool(steps) and steps[-1].kernel == "copy" and graph.outputs[0] in steps[-1].writes.values()
    caller_output = graph.outputs[0] if is_copied else lowering.storage(graph.outputs[0])

    def storage(index: int) -> int:
        return index if index == caller_output else lowering.storage(index)

    def is_work(index: int) -> bool:
        return index not in state_offsets and index not in (caller_output, source) and graph.tensors[index].data is None

    lifetimes: dict[tuple[str, int], _Lifetime] = {}
    for position, step in enumerate(steps):
        for index in {storage(i) for i in (*step.writes.values(), *step.reads.values())}:
            if is_work(index):
                key = ("tensor", index)
                first = lifetimes[key].first if key in lifetimes else position
                lifetimes[key] = _Lifetime(key, graph.tensors[index].byte_count, first, position)
        if step.scratch_bytes:
            key = ("scratch", position)
            lifetimes[key] = _Lifetime(key, step.scratch_bytes, position, position)
    offsets, end = _pack(list(lifetimes.values()), base)

    def expression(index: int) -> str:
        where = storage(index)
        if where in state_offsets:
            return f"state + {state_offsets[where]}"
        if where == source:
            return "in"
        if where in constants:
            return constants[where]
        if where == caller_output:
            return "out"
        return f"state + {offsets[('tensor', where)]}"

    pointers = []
    for position, step in enumerate(steps):
        names = {**step.reads, **step.writes, **step.states}
        expressions = {name: expression(index) for name, index in names.items()}
        if step.scratch_bytes:
            expressions["scratch"] = f"state + {offsets[('scratch', position)]}"
        pointers.append(expressions)
    return tuple(pointers), end


def _pack(lifetimes: Sequence[_Lifetime], base: int) -> tuple[dict[tuple[str, int], int], int]:
    """Place the largest first, each at the lowest offset that is free for as long as it lives."""
    placed: list[tuple[int, _Lifetime]] = []
    end = base
    for lifetime in sorted(lifetimes, key=lambda item: (-item.byte_count, item.first, item.key)):
        offset = base
        for taken, other in sorted(placed, key=lambda item: item[0]):
            overlaps_in_time = lifetime.first <= other.last and other.first <= lifetime.last
            if (
                overlaps_in_time
                and offset + lifetime.byte_count > taken
                and offset < taken + _round_up(other.byte_count)
            ):
                offset = taken + _round_up(other.byte_count)
        placed.append((offset, lifetime))
        end = max(end, _round_up(offset + lifetime.byte_count))
    return {lifetime.key: offset for offset, lifetime in placed}, end
