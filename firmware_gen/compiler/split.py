"""Splits a detector's graph into the trunk, which becomes code, and one head per event, which becomes data."""

from dataclasses import dataclass

from edge.errors import HarkenError
from firmware_gen.compiler.graph import Graph, Operator

# What a head may be made of: everything else belongs to the trunk.
HEAD_KINDS = frozenset({"FULLY_CONNECTED", "LOGISTIC", "QUANTIZE", "RELU", "RESHAPE"})


@dataclass(frozen=True)
class Detector:
    """The two halves of a model. Each head lists its operators in the order in which they run."""

    trunk: Graph
    heads: tuple[tuple[Operator, ...], ...]


def split(graph: Graph) -> Detector:
    """Split at the last tensor that every head reads.

    The model must have one input and one output: a CONCATENATION of one value per head, or a single head's value.
    Raises HarkenError for a model of another form.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise HarkenError(
            f"a detector has one input and one output, this model has {len(graph.inputs)} and {len(graph.outputs)}"
        )
    last = graph.producer(graph.outputs[0])
    while last is not None and last.kind == "RESHAPE":
        last = graph.producer(last.inputs[0])
    ends = last.inputs if last is not None and last.kind == "CONCATENATION" else graph.outputs
    chains = [_trace(graph, end) for end in ends]
    for end, chain in zip(ends, chains, strict=True):
        if not chain or graph.tensors[end].elements != 1:
            raise HarkenError(
                f"tensor '{graph.tensors[end].name}' is no head: a detector ends in FULLY_CONNECTED and LOGISTIC with "
                "one value per event, joined by one CONCATENATION"
            )
    trunk_output = _nearest_common(graph, chains)
    heads = tuple(_from(chain, trunk_output) for chain in chains)
    head_operators = {operator.index for head in heads for operator in head}
    tail = graph.producer(graph.outputs[0])
    trunk_operators = []
    for operator in graph.operators:
        if operator.index not in head_operators and (tail is None or _is_upstream(graph, operator, trunk_output)):
            trunk_operators.append(operator)
    trunk = Graph(graph.tensors, tuple(trunk_operators), graph.inputs, (trunk_output,))
    return Detector(trunk, heads)


def _trace(graph: Graph, end: int) -> list[Operator]:
    """Return the operators that lead to `end` and may belong to a head, the first first."""
    chain: list[Operator] = []
    producer = graph.producer(end)
    while producer is not None and producer.kind in HEAD_KINDS:
        chain.insert(0, producer)
        producer = graph.producer(producer.inputs[0])
    return chain


def _nearest_common(graph: Graph, chains: list[list[Operator]]) -> int:
    candidates = [operator.inputs[0] for operator in reversed(chains[0])]
    if len(chains) == 1:
        return candidates[-1]
    for tensor in candidates:
        if all(any(operator.inputs[0] == tensor for operator in chain) for chain in chains):
            return tensor
    raise HarkenError(
        f"the heads do not share a trunk: '{graph.tensors[candidates[-1]].name}' is read by one of them alone"
    )


def _from(chain: list[Operator], tensor: int) -> tuple[Operator, ...]:
    start = next(i for i, operator in enumerate(chain) if operator.inputs[0] == tensor)
    return tuple(chain[start:])


def _is_upstream(graph: Graph, operator: Operator, tensor: int) -> bool:
    """Whether `tensor` depends on `operator`."""
    wanted = [tensor]
    seen: set[int] = set()
    while wanted:
        index = wanted.pop()
        producer = graph.producer(index)
        if producer is None or producer.index in seen:
            continue
        if producer.index == operator.index:
            return True
        seen.add(producer.index)
        wanted.extend(i for i in producer.inputs if i >= 0)
    return False
