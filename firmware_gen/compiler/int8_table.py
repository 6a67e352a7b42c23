"""Functions of one int8 value as tables of all 256 answers: LOGISTIC, QUANTIZE, RELU and chains of them."""

from collections.abc import Callable, Mapping, Sequence

from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.lowering import Lowering, ReadTable, Step, Table


def tabulate(function: Callable[[int], int]) -> Table:
    """Return the table of a function from int8 to int8."""
    return tuple(function(value) for value in range(-128, 128))


def compose(tables: Sequence[Table]) -> Table:
    """Return the table of the first function, then the second and so on."""
    return tabulate(lambda value: _follow(value, tables))


def _follow(value: int, tables: Sequence[Table]) -> int:
    for table in tables:
        value = table[value + 128]
    return value


def chain(graph: Graph, operator: Operator, readers: Mapping[str, ReadTable]) -> list[Operator]:
    """Return `operator` and the tabulated operators after it, while each result has one reader and is no output."""
    operators = [operator]
    while True:
        result = operators[-1].outputs[0]
        consumers = graph.consumers(result)
        if result in graph.outputs or len(consumers) != 1 or consumers[0].kind not in readers:
            return operators
        operators.append(consumers[0])


def lower_table(lowering: Lowering, operator: Operator) -> None:
    """Add one look-up step for the whole chain that starts at `operator`."""
    graph = lowering.graph
    operators = chain(graph, operator, lowering.tabulated)
    table = compose([lowering.tabulated[item.kind](graph, item) for item in operators])
    for item in operators:
        graph.require(item, len(item.inputs) == 1, f"{len(item.inputs)} inputs where there is one")
    for item in operators[1:]:
        lowering.absorb(item)
    target = graph.output_of(operators[-1])
    lowering.add(
        Step(
            operator,
            "table",
            "table.c.jinja",
            {"index": operator.index, "table": table, "count": target.elements},
            reads={"source": lowering.storage(operator.inputs[0])},
            writes={"target": target.index},
        )
    )
