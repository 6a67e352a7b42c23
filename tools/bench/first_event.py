"""How long it takes from a board with nothing built to the first event that it hears, by the one command for it."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edge import catalogue
from edge.build_core import BUILD_FOLDER_VARIABLE
from edge.errors import HarkenError
from firmware_gen.board import load_board

TIMEOUT_S = 600.0
_EVENT_MARK = " s "  # `harken listen` begins an event's line with its time


@dataclass(frozen=True)
class FirstEvent:
    """What one run took, in seconds of the wall clock from the command's start.

    Attributes:
        board: which one.
        started_s: until the image was built and the board had said hello.
        first_event_s: until the first event was printed, whatever it is called: an alarm sounds, and nothing else.
        event: that line.
    """

    board: str
    started_s: float
    first_event_s: float
    event: str


def measure(board: str) -> FirstEvent:
    """Run `harken listen --board BOARD --alarm` over an empty build folder, in a process of its own.

    Args:
        board: host or an emulated board, `qemu:` before it or not.

    Raises:
        HarkenError: the board does not run here, or the command fails or hears nothing.
    """
    name = board.removeprefix("qemu:")
    missing = load_board(name).missing_tools()
    if missing:
        raise HarkenError(f"{name} needs {', '.join(missing)}: make setup installs it")
    with TemporaryDirectory(prefix="harken-first-") as scratch:
        command = [sys.executable, "-m", "tools.cli", "listen", "--board", name, "--alarm"]
        environment = {**os.environ, BUILD_FOLDER_VARIABLE: str(Path(scratch) / "build"), "PYTHONUNBUFFERED": "1"}
        return _run(name, command, environment)


def _run(board: str, command: list[str], environment: dict[str, str]) -> FirstEvent:
    began_s = time.monotonic()
    started_s: float | None = None
    first: tuple[float, str] | None = None
    lines: list[str] = []
    titles = [event.title for event in catalogue.load()]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        for text in process.stdout:
            line, at_s = text.rstrip(), time.monotonic() - began_s
            lines.append(line)
            if line.startswith("hearing "):
                started_s = at_s
            elif first is None and started_s is not None and any(f"{_EVENT_MARK} {title}" in line for title in titles):
                first = (at_s, line.strip())
        process.wait(TIMEOUT_S)
    if process.returncode != 0 or first is None or started_s is None:
        raise HarkenError(f"{board} heard no event (exit {process.returncode}): {'; '.join(lines[-3:]) or 'no word'}")
    return FirstEvent(board, round(started_s, 1), round(first[0], 1), first[1])
