"""`harken flash`: brings an image onto a devkit, or starts an emulated board."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.flash import FlashTarget


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `flash`."""
    parser = subparsers.add_parser(
        "flash",
        help="build an image and bring it onto a board",
        description=(
            "Builds what is not built, finds the board by USB, writes and verifies the image, and resets the board; "
            "with --link it asks who it is. An emulated board is started, and serves its link until interrupted."
        ),
    )
    parser.add_argument("--board", help="a folder of firmware_gen/boards: esp32s3, netduinoplus2, mps2-an386, …")
    parser.add_argument("--port", help="serial port (default: found by the board's USB ids)")
    parser.add_argument("--serial-number", help="of the board's USB port or debug probe, where several are plugged in")
    parser.add_argument("--tool", choices=["esptool", "pyocd", "openocd"], help="not the board's own programmer")
    parser.add_argument("--model", type=Path, help="a detector's .tflite (default: the committed one)")
    parser.add_argument("--image", type=Path, help="a device.elf that is built already")
    parser.add_argument("--project", type=Path, help="the exported ESP-IDF project; built unless it is")
    parser.add_argument("--link", help="the board's link, to ask who it is afterwards: serial:PORT[@BAUD]")
    parser.add_argument("--dry-run", action="store_true", help="print the exact commands; needs no board and no image")
    parser.add_argument("--once", action="store_true", help="emulated boards: end after they have said who they are")
    parser.add_argument("--ports", action="store_true", help="list serial ports, and the boards that they may be")
    parser.add_argument("--udev-rules", action="store_true", help="print udev rules for all boards")
    parser.set_defaults(func=_flash)


def _flash(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError
    from tools import flash

    if args.udev_rules:
        print(flash.udev_rules(), end="")
        return 0
    if args.ports:
        return _list_ports()
    if not args.board:
        raise HarkenError(f"which board? Name one with --board: {', '.join(flash.flash_targets())}")
    target = flash.load_target(args.board)
    if target.is_emulated:
        return _start(args, target)
    return _write(args, target)


def _list_ports() -> int:
    from tools import flash

    ports = flash.serial_ports()
    known: dict[tuple[int, int], list[str]] = {}
    for board in flash.flash_targets():
        for usb in flash.load_target(board).usb:
            known.setdefault((usb.vendor, usb.product), []).append(board)
    for port in ports:
        boards = known.get((port.vendor or 0, port.product or 0), [])
        print(f"{port}: {'may be ' + ', '.join(boards) if boards else 'no board of ours'}")
    if not ports:
        print("no serial port is there: plug a board in by a cable that carries data")
    return 0


def _write(args: argparse.Namespace, target: "FlashTarget") -> int:
    from tools import flash
    from tools.flash.image import check_image
    from tools.flash.plan import FlashRequest, image_path

    tool = args.tool or _installed_tool(target)
    uses_port = tool == "esptool"
    port = args.port
    if uses_port and not args.dry_run:
        port = flash.find_port(target, args.port, args.serial_number).device
    request = FlashRequest(port, None if uses_port else args.serial_number, args.model, args.project, args.image)
    plan = flash.plan_flash(target, request, tool)
    if args.dry_run:
        for step in plan.steps:
            print(f"# {step.purpose}\n{step}")
        return 0
    if args.image is not None:
        check_image(target, args.image)
    flash.run_plan(plan, lambda line: print(line, flush=True))
    if args.link is not None:
        hash_of_model = None if args.image is not None else _model_hash(args.model)
        print(flash.check_hello(args.link, target.board, hash_of_model))
    elif target.link_baud_rate is not None:
        image = image_path(target, request)
        print(
            f"{image} is on the board. To hear from it: "
            f"harken gateway --device kitchen=serial:PORT@{target.link_baud_rate}"
        )
    else:
        print(f"{target.board} is flashed and starts. To watch it: harken monitor --link serial:{port}")
    return 0


def _installed_tool(target: "FlashTarget") -> str:
    """Return the board's own programmer, or its second where only that is installed."""
    import importlib.util
    import shutil

    def is_there(tool: str) -> bool:
        return shutil.which(tool) is not None if tool == "openocd" else importlib.util.find_spec(tool) is not None

    if not is_there(target.tool) and target.fallback is not None and is_there(target.fallback):
        return target.fallback
    return target.tool


def _model_hash(model: Path | None) -> bytes:
    import hashlib

    from edge.contracts.limits import MODEL_HASH_BYTES
    from firmware_gen.build import DEFAULT_MODEL

    return hashlib.sha256((model or DEFAULT_MODEL).read_bytes()).digest()[:MODEL_HASH_BYTES]


def _start(args: argparse.Namespace, target: "FlashTarget") -> int:
    """Build and start an emulated board (or the host's device), check its hello, and let it run until interrupted."""
    import shlex

    from edge import build_core
    from firmware_gen.board import load_board
    from firmware_gen.build import Image, build_image
    from tools import flash
    from tools.device import runner
    from tools.flash.image import check_image
    from tools.flash.plan import FlashRequest, image_path

    board = load_board(target.board)
    request = FlashRequest(model=args.model, image=args.image)
    folder = build_core.build_root() / "devices" / target.board
    if args.dry_run:
        unbuilt = Image(image_path(target, request), None, 0, 0, {})
        start = shlex.join(runner.device_command(board, unbuilt))
        for step in flash.plan_flash(target, request).steps:
            print(f"# {step.purpose}\n{step}")
        print(f"# start it; its link is the socket {runner.LINK_NAME} there\n(cd {folder} && {start})")
        return 0
    if args.image is not None:
        check_image(target, args.image)
        image = Image(args.image, None, 0, 0, {})
    else:
        image = build_image(board, args.model)
    folder.mkdir(parents=True, exist_ok=True)
    running = runner.start(board, image, folder)
    try:
        model_hash = None if args.image is not None else _model_hash(args.model)
        print(flash.check_hello(f"unix:{running.link_path}", target.board, model_hash), flush=True)
        if not args.once:
            print(f"its link: unix:{running.link_path}; end with Ctrl-C", flush=True)
            running.process.wait()
    finally:
        running.process.terminate()
        running.process.wait()
    return 0
