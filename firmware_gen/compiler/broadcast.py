"""Two values that meet element by element, the smaller repeated: what ADD and MUL have in common."""

from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.int8_checks import require_int8

LOOPS = 4  # of kernels/broadcast.h; TFLM broadcasts tensors of as many dimensions


def read_operands(graph: Graph, operator: Operator) -> list[dict[str, int]]:
    """Return the LOOPS loops over an operator's output, the outermost first, as hk_broadcast_t wants them.

    Each has `count` and the strides `first` and `second` in the inputs, 0 where a value is repeated. Raises HarkenError
    unless the operator has two int8 inputs whose shapes broadcast to the output's.
    """
    graph.require(operator, len(operator.inputs) == 2, f"{len(operator.inputs)} inputs where there are 2")
    first, second, output = graph.input_of(operator, 0), graph.input_of(operator, 1), graph.output_of(operator)
    require_int8(graph, operator, first, second, output)
    shapes = [tensor.shape for tensor in (first, second, output)]
    is_same = first.shape == second.shape == output.shape
    graph.require(operator, is_same or max(map(len, shapes)) <= LOOPS, f"it broadcasts more than {LOOPS} dimensions")
    rank = max(map(len, shapes))
    one, two, joined = ((1,) * (rank - len(shape)) + shape for shape in shapes)
    is_fit = all({a, b} <= {1, size} and max(a, b) == size for a, b, size in zip(one, two, joined, strict=True))
    graph.require(
        operator, is_fit, f"inputs {list(first.shape)} and {list(second.shape)} do not give {list(output.shape)}"
    )
    if is_same:
        one = two = joined = (output.elements,)
    loops: list[dict[str, int]] = []
    steps = [1, 1]
    for a, b, count in reversed(list(zip(one, two, joined, strict=True))):
        strides = [step if size > 1 else 0 for step, size in zip(steps, (a, b), strict=True)]
        steps = [steps[0] * a, steps[1] * b]
        if count > 1:
            loops.insert(0, {"count": count, "first": strides[0], "second": strides[1]})
    return [{"count": 1, "first": 0, "second": 0}] * (LOOPS - len(loops)) + loops
