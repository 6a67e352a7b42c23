"""`harken eval`: judges engines and models, and prints the figures that the project states."""

import argparse
import json
from pathlib import Path


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `eval` and its commands."""
    group = subparsers.add_parser("eval", help="judge engines and models").add_subparsers(
        dest="eval_command", required=True
    )
    parity = group.add_parser("parity", help="compare boards and TensorFlow Lite Micro byte for byte")
    parity.add_argument("--steps", type=int, metavar="N", help="steps of 20 ms to hear (default: 12500)")
    parity.add_argument("--model", type=Path, help="a detector's .tflite (default: the committed one)")
    parity.add_argument(
        "--boards",
        metavar="A,B,…",
        help="boards, and tflm; all: every board that can run here, and tflm (default: host,mps2-an386,tflm)",
    )
    parity.add_argument("--json", action="store_true", help="end with one line of JSON")
    parity.set_defaults(func=_parity)


def _parity(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from tools.bench.parity import ALL, DEFAULT_STEPS, ENGINES, left_out, measure

    steps = DEFAULT_STEPS if args.steps is None else args.steps
    if steps < 1:
        raise HarkenError(f"--steps {steps} hears nothing: give at least 1")
    engines = tuple(name.strip() for name in args.boards.split(",")) if args.boards is not None else ENGINES
    if engines == ALL:
        for board, reason in left_out().items():
            print(f"{board} is left out: {reason}")
    result = measure(steps, args.model, engines)
    print(
        f"{result.steps:,} steps ({result.frames:,} frames) through {', '.join(result.engines)}: "
        f"{result.differing_bytes:,} of {result.compared_bytes:,} bytes differ"
    )
    for item in result.first_differences:
        print(
            f"{item.engine}: {item.what} first differ at step {item.step}, position {item.position}: "
            f"{item.got} where {result.engines[0]} has {item.expected}"
        )
    if args.json:
        print(
            json.dumps(
                {
                    "frames": result.frames,
                    "steps": result.steps,
                    "engines": list(result.engines),
                    "compared_bytes": result.compared_bytes,
                    "differing_bytes": result.differing_bytes,
                }
            )
        )
    return 0 if result.differing_bytes == 0 else 1
