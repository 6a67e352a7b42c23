"""Blocks of values that move from one layout to another: what PAD and STRIDED_SLICE have in common."""

from dataclasses import dataclass

LOOPS = 4  # of kernels/move.h


@dataclass(frozen=True)
class Axis:
    """`count` values `source` apart where they come from and `target` apart where they go."""

    count: int
    source: int
    target: int


@dataclass(frozen=True)
class Move:
    """Runs of `run` neighbours, LOOPS loops around them, the outermost first."""

    loops: tuple[Axis, ...]
    run: int


def plan_move(axes: list[Axis]) -> Move:
    """Return the move along `axes`, the outermost first; neighbours on both sides become runs.

    Raises ValueError where more than LOOPS loops are left.
    """
    wanted = [axis for axis in axes if axis.count > 1]
    run = 1
    while wanted and wanted[-1].source == wanted[-1].target == run:
        run *= wanted.pop().count
    joined: list[Axis] = []
    for axis in wanted:
        outer = joined[-1] if joined else None
        reach = (axis.count * axis.source, axis.count * axis.target)
        if outer is not None and (outer.source, outer.target) == reach:
            joined[-1] = Axis(outer.count * axis.count, axis.source, axis.target)
        else:
            joined.append(axis)
    if len(joined) > LOOPS:
        raise ValueError(f"{len(joined)} loops where there are at most {LOOPS}")
    return Move((Axis(1, 0, 0),) * (LOOPS - len(joined)) + tuple(joined), run)


def strides_of(shape: tuple[int, ...]) -> list[int]:
    """Return how far apart neighbours along each axis of a tensor lie."""
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return strides[: len(shape)]
