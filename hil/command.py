"""`harken hil`: the hardware bench: which boards it has, and its tests."""

import argparse
from pathlib import Path


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the group `hil` and its commands."""
    parser = subparsers.add_parser("hil", help="hardware in the loop: boards of the bench, and their tests")
    group = parser.add_subparsers(dest="hil_command", required=True)
    scan = group.add_parser("scan", help="find boards on USB that the bench does not know")
    scan.add_argument("--boards", type=Path, help="the bench's registry (default: hil/boards.yaml)")
    scan.add_argument("--write", action="store_true", help="add them to the registry")
    scan.set_defaults(func=_scan)
    run = group.add_parser("run", help="run the bench's tests, as pytest does")
    run.add_argument("--board", action="append", default=[], help="host, qemu:BOARD, usb:SERIAL or all; repeatable")
    run.add_argument("--boards", type=Path, help="the bench's registry (default: hil/boards.yaml)")
    run.add_argument("--report", type=Path, metavar="DIR", help="where failures' page goes (default: build/hil)")
    run.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML too")
    run.set_defaults(func=_run)


def _scan(args: argparse.Namespace) -> int:
    from edge.errors import HarkenError

    try:
        from hil import registry
    except ImportError as error:
        raise HarkenError(f"{error.name} is not installed: pip install -c constraints.txt -e '.[hil]'") from None
    path = args.boards or registry.DEFAULT_REGISTRY
    found = registry.scan(registry.load_registry(path).values())
    for entry in found:
        print(f"{entry.name}: {entry.board}{', no link: ' + ', '.join(entry.lacks) if entry.lacks else ''}")
    if not found:
        print("no board on USB that the bench does not know; `harken flash --ports` lists every port")
    elif args.write:
        registry.append(path, found)
        print(f"added to {path}: look whether the kind is right where several boards share a USB bridge")
    return 0


def _run(args: argparse.Namespace) -> int:
    import importlib.util
    import subprocess
    import sys

    from edge.errors import HarkenError

    if importlib.util.find_spec("pytest") is None:
        raise HarkenError("pytest is not installed: pip install -c constraints.txt -e '.[hil]'")
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-p", "hil.plugin", str(folder)]
    for board in args.board:
        command += ["--board", board]
    for option, value in (("--boards", args.boards), ("--hil-report", args.report), ("--junitxml", args.junit)):
        if value is not None:
            command += [option, str(value)]
    return subprocess.run(command, check=False).returncode
