"""The command `harken`: finds the command groups in `tools/commands/` and runs the one asked for.

Packages above this one (the bench, `hil`) bring theirs by the entry point group `harken.commands`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import pkgutil
import sys
from collections.abc import Sequence

import tools.commands
from edge.errors import HarkenError

COMMANDS_GROUP = "harken.commands"
EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every command group of `tools/commands/` and of entry points registered."""
    parser = argparse.ArgumentParser(
        prog="harken",
        description="Hears the sounds that matter in a home on a microcontroller; the cloud has the second say.",
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module_info in sorted(pkgutil.iter_modules(tools.commands.__path__), key=lambda info: info.name):
        module = importlib.import_module(f"tools.commands.{module_info.name}")
        module.register(subparsers)
    for entry in importlib.metadata.entry_points(group=COMMANDS_GROUP):
        entry.load().register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    A `HarkenError` becomes one line on standard error and status 1; Ctrl-C becomes status 130.
    """
    args = build_parser().parse_args(argv)
    try:
        return int(args.func(args))
    except HarkenError as error:
        print(f"harken: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # the reader (head, less) has closed: nothing is wrong on this side
        sys.stderr.close()
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
