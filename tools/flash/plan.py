"""What flashing a board takes: commands in order, known before any board is plugged in or any image built."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge import build_core
from edge.errors import HarkenError
from tools.flash.target import FlashTarget

UNKNOWN_PORT = "PORT"


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        purpose: what it does, for people.
        command: the program and its arguments.
        folder: where it runs; the current one when None.
        is_needed: asked just before the step; False leaves it out.
        remedy: how to get the program where it is missing.
    """

    purpose: str
    command: tuple[str, ...]
    remedy: str
    folder: Path | None = None
    is_needed: Callable[[], bool] = lambda: True

    def __str__(self) -> str:
        line = shlex.join(self.command)
        return line if self.folder is None else f"(cd {shlex.quote(str(self.folder))} && {line})"


@dataclass(frozen=True)
class FlashPlan:
    """How an image gets onto a board.

    Attributes:
        target: the board.
        tool: the programmer that the plan uses.
        steps: commands, in order. The last of a board with flash verifies what was written and resets it.
    """

    target: FlashTarget
    tool: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class FlashRequest:
    """What a person asked for.

    Attributes:
        port: serial port for tools that use one.
        probe: serial number of the debug probe, for the others.
        model: detector; the committed one when None.
        project: an exported SDK project, or where one is to be written; `build/sdk/<board>` when None.
        image: an image that is built already; None builds one.
    """

    port: str | None = None
    probe: str | None = None
    model: Path | None = None
    project: Path | None = None
    image: Path | None = None


def plan_flash(target: FlashTarget, request: FlashRequest, tool: str | None = None) -> FlashPlan:
    """Return the commands that bring an image onto `target`.

    Args:
        target: the board.
        request: what was asked for; a port that is None appears as PORT.
        tool: another programmer than the board's own.

    Raises:
        HarkenError: the tool cannot flash the board.
    """
    chosen = tool or target.tool
    if chosen not in _PLANNERS or (chosen != target.tool and chosen != target.fallback):
        can = " or ".join(name for name in (target.tool, target.fallback) if name)
        raise HarkenError(f"{target.board} is not flashed by {chosen}: use {can}")
    return FlashPlan(target, chosen, tuple(_PLANNERS[chosen](target, request)))


def image_path(target: FlashTarget, request: FlashRequest) -> Path:
    """Return where the board's image is, or will be once built."""
    if request.image is not None:
        return request.image
    return build_core.build_root() / "firmware" / target.board / "device.elf"


def _harken(*arguments: str) -> tuple[str, ...]:
    return (str(Path(sys.argv[0])) if Path(sys.argv[0]).name == "harken" else "harken", *arguments)


def _build(target: FlashTarget, request: FlashRequest) -> list[Step]:
    if request.image is not None:
        return []
    model = ("--model", str(request.model)) if request.model else ()
    command = _harken("firmware", "build", "--board", target.board, *model)
    return [Step("build the image", command, "pip install harken")]


def _plan_started(target: FlashTarget, request: FlashRequest) -> list[Step]:
    # Nothing is written anywhere: `harken flash` starts the image in a folder of its own.
    return _build(target, request)


def _plan_esptool(target: FlashTarget, request: FlashRequest) -> list[Step]:
    if request.image is not None:
        raise HarkenError(
            f"an ESP board's image has several parts: give the built project of {target.board} with --project DIR"
        )
    project = request.project or build_core.build_root() / "sdk" / target.board
    built = project / "build"
    arguments = built / "flash_args"  # written by ESP-IDF's build: offsets and files, flash mode and size
    model = ("--model", str(request.model)) if request.model else ()
    export = _harken("firmware", "export", "--sdk", "esp-idf", "--board", target.board, "--out", str(project), *model)
    esptool = (sys.executable, "-m", "esptool", "--chip", str(target.target), "--port", request.port or UNKNOWN_PORT)
    speed = ("--baud", str(target.baud_rate))
    pip = "pip install -c constraints.txt -e '.[flash]'"
    idf = "install ESP-IDF 5.5 (docs.espressif.com), then: . $IDF_PATH/export.sh; or give a built project by --project"

    def is_unbuilt() -> bool:
        return request.project is None or not arguments.is_file()

    return [
        Step("write the ESP-IDF project", export, "pip install harken", is_needed=is_unbuilt),
        Step("build it", ("idf.py", "-C", str(project), "build"), idf, is_needed=is_unbuilt),
        Step(
            "write the image; each part is verified by its MD5, then the chip is reset",
            (*esptool, *speed, "--before", "default-reset", "--after", "hard-reset", "write-flash", "@flash_args"),
            pip,
            folder=built,
        ),
    ]


def _plan_pyocd(target: FlashTarget, request: FlashRequest) -> list[Step]:
    image = image_path(target, request)
    chip = str(target.target)
    where = ("--no-wait", "--target", chip, *(("--uid", request.probe) if request.probe else ()))
    pyocd = (sys.executable, "-m", "pyocd")
    pip = "pip install -c constraints.txt -e '.[flash]'"
    binary = str(image.with_suffix(".bin"))
    return [
        *_build(target, request),
        Step(
            "fetch the chip's description, once",
            (*pyocd, "pack", "install", chip),
            pip,
            is_needed=lambda: not _pyocd_knows(pyocd, chip),
        ),
        Step("write the image", (*pyocd, "load", *where, "--no-reset", str(image)), pip),
        Step(
            "compare what was written, then reset the chip",
            (*pyocd, "commander", *where, "-c", f"compare {_flash_address(target)} {binary}", "-c", "reset"),
            pip,
        ),
    ]


def _plan_openocd(target: FlashTarget, request: FlashRequest) -> list[Step]:
    files = [argument for name in target.openocd for argument in ("-f", name)]
    probe = ("-c", f"adapter serial {request.probe}") if request.probe else ()
    program = f"program {{{image_path(target, request)}}} verify reset exit"
    return [
        *_build(target, request),
        Step(
            "write the image, verify it, reset the chip",
            ("openocd", *files, *probe, "-c", program),
            "sudo apt-get install openocd",
        ),
    ]


def _pyocd_knows(pyocd: tuple[str, ...], chip: str) -> bool:
    import subprocess

    listed = subprocess.run([*pyocd, "list", "--targets", "--no-header"], capture_output=True, text=True, check=False)
    return any(line.split()[:1] == [chip] for line in listed.stdout.splitlines())


def _flash_address(target: FlashTarget) -> str:
    from firmware_gen.board import board_table

    return f"0x{board_table(target.board)['memory']['flash_address']:08x}"


_PLANNERS: dict[str, Callable[[FlashTarget, FlashRequest], list[Step]]] = {
    "qemu": _plan_started,
    "process": _plan_started,
    "esptool": _plan_esptool,
    "pyocd": _plan_pyocd,
    "openocd": _plan_openocd,
}
