"""`harken firmware`: builds images and says what they take of a board's memory."""

import argparse
import json
from pathlib import Path
from typing import Any


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `firmware` and its commands."""
    group = subparsers.add_parser("firmware", help="build firmware images").add_subparsers(
        dest="firmware_command", required=True
    )
    build = group.add_parser("build", help="build the image of a board with a detector model")
    build.add_argument("--board", required=True, help="a folder of firmware_gen/boards, for example mps2-an386")
    build.add_argument("--model", type=Path, help="a detector's .tflite (default: the committed one)")
    build.add_argument("--app", choices=["device", "replay"], default="device", help="default: device")
    build.add_argument("--json", action="store_true", help="end with one line of JSON")
    build.set_defaults(func=_build)
    export = group.add_parser("export", help="write a project that an SDK builds")
    export.add_argument("--sdk", required=True, choices=["esp-idf", "cmsis", "zephyr"])
    export.add_argument("--board", required=True, help="a folder of firmware_gen/boards, for example esp32s3")
    export.add_argument("--out", required=True, type=Path, help="where the project goes: a new folder or an old export")
    export.add_argument("--model", type=Path, help="a detector's .tflite (default: the committed one)")
    export.add_argument("--engine", choices=["tflm", "compiled"], default="tflm", help="default: tflm")
    export.add_argument(
        "--kernels",
        choices=["reference", "esp-nn", "cmsis-nn"],
        help="TFLM's kernel library (default: esp-nn for esp-idf, which has no LSTM of its own, else reference)",
    )
    export.set_defaults(func=_export)
    boards = group.add_parser("boards", help="list the boards that can be built for")
    boards.add_argument("--sizes", action="store_true", help="build each one's device image and say what it takes")
    boards.set_defaults(func=_boards)


def _build(args: argparse.Namespace) -> int:
    from firmware_gen.board import load_board
    from firmware_gen.build import build_image

    board = load_board(args.board)
    image = build_image(board, args.model, args.app)
    memory = board.memory
    flash_limit = memory.flash_bytes if memory else None
    ram_limit = memory.ram_bytes if memory else None
    print(f"{image.elf}")
    print(f"flash {_of(image.flash_bytes, flash_limit)}")
    print(f"RAM   {_of(image.ram_bytes, ram_limit)}")
    if args.json:
        figures: dict[str, Any] = {
            "board": board.name,
            "app": args.app,
            "elf": str(image.elf),
            "bin": str(image.bin) if image.bin else None,
            "flash_bytes": image.flash_bytes,
            "flash_limit_bytes": flash_limit,
            "ram_bytes": image.ram_bytes,
            "ram_limit_bytes": ram_limit,
            "sections": image.sections,
        }
        print(json.dumps(figures))
    return 0


def _boards(args: argparse.Namespace) -> int:
    from firmware_gen.board import board_names, load_board, load_sdk_board, sdk_board_names
    from firmware_gen.build import build_image

    for name in board_names():
        board = load_board(name)
        memory, missing = board.memory, board.missing_tools()
        line = [f"{name:<14} {board.title}"]
        if args.sizes and not missing:
            image = build_image(board)
            line.append(f"flash {_of(image.flash_bytes, memory.flash_bytes if memory else None)}")
            line.append(f"RAM {_of(image.ram_bytes, memory.ram_bytes if memory else None)}")
        elif memory:
            line.append(f"{memory.flash_bytes // 1024} KB flash, {memory.ram_bytes // 1024} KB RAM")
        if board.flash:
            line.append(f"flashed by {board.flash.tool}{f' as {board.flash.target}' if board.flash.target else ''}")
        if missing:
            line.append(f"not here: {', '.join(missing)} not found")
        print("; ".join(line))
    for name in sdk_board_names():
        print(f"{name:<14} {load_sdk_board(name).title}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from firmware_gen.sdk import export_project

    export = export_project(args.sdk, args.board, args.out, args.model, args.engine, args.kernels)
    print(f"{export.folder}: {len(export.files)} files for {args.sdk}, {args.board}")
    if export.arena is not None:
        print(f"TFLM's arena: {export.arena.bytes:,} B, of which {export.arena.used_bytes:,} B stay in use")
    print(f"build it with: {export.build_command}")
    print(f"not built here: {export.checked}")
    return 0


def _of(used: int, limit: int | None) -> str:
    return f"{used:,} B" if limit is None else f"{used:,} B of {limit:,} B ({100 * used / limit:.1f} %)"
