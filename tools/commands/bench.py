"""`harken bench`: measures what engines take of the cores they run on."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `bench` and its commands."""
    group = subparsers.add_parser("bench", help="measure engines on emulated cores").add_subparsers(
        dest="bench_command", required=True
    )
    engine = group.add_parser("engine", help="instructions, code, constants, RAM and stack of one step of a model")
    engine.add_argument("--model", type=Path, help="an int8 .tflite (default: the committed detector)")
    engine.add_argument("--boards", nargs="+", metavar="BOARD", help="default: every one whose tools are installed")
    engine.add_argument("--split", action="store_true", help="also say what each kind of operator takes of a step")
    engine.add_argument("--json", action="store_true", help="end with one line of JSON")
    engine.set_defaults(func=_engine)


def _engine(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from firmware_gen.build import DEFAULT_MODEL
    from tools.bench.engine import EMULATED, find_emulated, measure, split

    model = args.model or DEFAULT_MODEL
    if args.boards:
        targets = [find_emulated(board) for board in args.boards]
    else:
        targets = [target for target in EMULATED if target.missing_tool() is None]
        for target in EMULATED:
            if target not in targets:
                print(f"{target.board}: left out, {target.missing_tool()} is missing: {target.remedy}", file=sys.stderr)
        if not targets:
            raise HarkenError(f"no core can be measured: {EMULATED[0].remedy}")
    figures = measure(model, targets)
    titles = ("instructions", "code", "constants", "RAM", "stack", "differ")
    print(f"{'board':<12} {'core':<11} " + " ".join(f"{title:>{max(6, len(title))}}" for title in titles))
    for board, item in figures.items():
        print(
            f"{board:<12} {item.core:<11} {item.instructions_per_step:>12,} {item.code_bytes:>6,} "
            f"{item.constant_bytes:>9,} {item.ram_bytes:>6,} {item.stack_bytes:>6,} {item.differing_bytes:>6,}"
        )
    if args.split:
        for board, kinds in split(model, targets).items():
            print(f"{board}: " + ", ".join(f"{kind} {instructions:,}" for kind, instructions in kinds.items()))
    if args.json:
        print(json.dumps({"model": str(model), "boards": {board: asdict(item) for board, item in figures.items()}}))
    return 0 if all(item.differing_bytes == 0 for item in figures.values()) else 1
