"""Carries out a plan: runs its commands, shows what they print, and says what went wrong in one line."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from edge.errors import HarkenError
from tools.flash.diagnosis import diagnose
from tools.flash.plan import FlashPlan, Step
from tools.link import Link, open_stream
from tools.link.identity import check_board, check_model

HELLO_TIMEOUT_S = 15.0
KEPT_OUTPUT_CHARS = 20_000


def run_plan(plan: FlashPlan, say: Callable[[str], None]) -> None:
    """Run every step that is needed, the tool's own progress passing through.

    Raises:
        HarkenError: a program is missing, or a step failed; names the step, the cause and the remedy.
    """
    steps = [step for step in plan.steps if step.is_needed()]
    for step in steps:
        _check_program(step)
    for number, step in enumerate(steps, 1):
        say(f"[{number}/{len(steps)}] {step.purpose}: {step}")
        started_s = time.monotonic()
        _run(step)
        say(f"[{number}/{len(steps)}] done in {time.monotonic() - started_s:.1f} s")


def _check_program(step: Step) -> None:
    program, arguments = step.command[0], step.command[1:]
    if shutil.which(program) is None:
        raise HarkenError(f"{program} is not installed, which is to {step.purpose.split(';')[0]}: {step.remedy}")
    if program == sys.executable and arguments[:1] == ("-m",):
        import importlib.util

        if importlib.util.find_spec(arguments[1]) is None:
            raise HarkenError(f"{arguments[1]} is not installed in {sys.prefix}: {step.remedy}")


def _run(step: Step) -> None:
    try:
        process = subprocess.Popen(
            step.command,
            cwd=step.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    except OSError as error:
        raise HarkenError(f"{step.command[0]} cannot be started ({error.strerror}): {step.remedy}") from None
    assert process.stdout is not None
    output = b""
    with process:
        # by pieces, not lines: a progress bar writes over its own line
        while piece := os.read(process.stdout.fileno(), 4096):
            sys.stdout.write(piece.decode("utf-8", "replace"))
            sys.stdout.flush()
            output = (output + piece)[-KEPT_OUTPUT_CHARS:]
    if process.returncode != 0:
        text = output.decode("utf-8", "replace")
        raise HarkenError(f"could not {step.purpose.split(';')[0]}: {diagnose(text)}")


def check_hello(address: str, board: str, model_hash: bytes | None, timeout_s: float = HELLO_TIMEOUT_S) -> str:
    """Ask the device at `address` who it is, and return a line that says so.

    Args:
        address: of its link, as `tools.link.open_stream` takes it.
        board: what it must say it is.
        model_hash: of the detector that it must run; None for any.
        timeout_s: how long it may take to start.

    Raises:
        HarkenError: it does not answer, or is another board, or still runs another model.
    """
    with Link(open_stream(address, timeout_s)) as link:
        hello = link.hello(timeout_s)
    check_board(hello, address, board)
    check_model(hello, address, model_hash)
    return f"{hello.board} answers: Harken {hello.firmware}, detector {hello.model_hash.hex()}"
