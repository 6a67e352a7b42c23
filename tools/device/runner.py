"""Runs images on this machine: as a process of their own, or under QEMU."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from edge.audio import Int16Array
from edge.errors import HarkenError
from edge.native import DetectedEvent, events_of_records
from firmware_gen.board import Board
from firmware_gen.build import Image

# Names inside the folder that a device runs in. Short and relative, because a Unix socket's path may have 107 bytes
# and an argument by semihosting no space.
LINK_NAME = "link"
MICROPHONE_NAME = "microphone.pcm"
SETTINGS_NAME = "settings.cbor"
EVENTS_NAME = "events.bin"
NO_EVENTS = "-"

STEP_SAMPLES = 320
STEP_FEATURES = 80


@dataclass(frozen=True)
class RunningDevice:
    """A started device: its process and the files through which it is reached.

    Attributes:
        process: the device program, or QEMU.
        link_path: Unix socket on which the device serves its link.
        microphone_path: file of int16 samples that the device hears as far as the host announces them.
        console_path: what the program or QEMU says itself.
    """

    process: subprocess.Popen[bytes]
    link_path: Path
    microphone_path: Path
    console_path: Path

    def console(self) -> str:
        """Return the last lines that the program printed, for error messages."""
        text = self.console_path.read_text(errors="replace") if self.console_path.is_file() else ""
        lines = [line for line in text.splitlines() if "waiting for connection" not in line]
        return "; ".join(lines[-3:])


def start(board: Board, image: Image, folder: Path) -> RunningDevice:
    """Start the device image in `folder`, which will hold its link, microphone and settings.

    Raises:
        HarkenError: QEMU is missing, or the program cannot be started.
    """
    microphone = folder / MICROPHONE_NAME
    microphone.touch()
    console = folder / "console.txt"
    command = device_command(board, image)
    with console.open("wb") as out:
        try:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise HarkenError(f"{command[0]} cannot be started: {error.strerror}; build it again") from None
    return RunningDevice(process, folder / LINK_NAME, microphone, console)


def device_command(board: Board, image: Image) -> list[str]:
    """Return the command that starts the device image in the folder that holds its files. Raises HarkenError."""
    arguments = ["--microphone", MICROPHONE_NAME, "--settings", SETTINGS_NAME]
    if board.run.runner == "process":
        return [str(image.elf.resolve()), "--link", f"unix:{LINK_NAME}", *arguments]
    chardev = f"socket,id=link,path={LINK_NAME},server=on,wait=on"
    return [*_qemu(board, image, arguments), "-chardev", chardev, "-serial", "chardev:link"]


def replay(
    board: Board, image: Image, pcm: Int16Array, timeout_s: float = 600.0, seed: int | None = None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8]]:
    """Run the replay image over `pcm` (int16[n], 16 kHz).

    Args:
        board: what runs it.
        image: of the app `replay`.
        pcm: heard from a fresh start.
        timeout_s: how long it may take.
        seed: 1 to 2**32 - 1: let the sound come in pieces of random length, the state saved, wiped and restored before
            each of them.

    Returns:
        features int8[n // 320, 80] and scores uint8[n // 320, heads], in the order of the model's outputs.

    Raises:
        HarkenError: the image cannot be run, fails, or takes longer than `timeout_s`.
    """
    pieces = [] if seed is None else [NO_EVENTS, str(seed)]
    features, scores, _ = _replay(board, image, pcm, ["in.pcm", "out.bin", *pieces], timeout_s)
    return features, scores


def replay_events(
    board: Board, image: Image, pcm: Int16Array, timeout_s: float = 600.0
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8], list[DetectedEvent]]:
    """Run the replay image over `pcm` as `replay` does, the tracker listening too, armed and with every event on.

    Returns:
        features int8[n // 320, 80], scores uint8[n // 320, heads] and what the tracker reported, in order.

    Raises:
        HarkenError: the image cannot be run, fails, or takes longer than `timeout_s`.
    """
    features, scores, events = _replay(board, image, pcm, ["in.pcm", "out.bin", EVENTS_NAME], timeout_s)
    return features, scores, events_of_records(events)


def _replay(
    board: Board, image: Image, pcm: Int16Array, arguments: list[str], timeout_s: float
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.uint8], bytes]:
    steps = len(pcm) // STEP_SAMPLES
    if steps == 0:
        raise HarkenError(f"{len(pcm)} samples are less than one step of {STEP_SAMPLES}: replay a longer recording")
    with TemporaryDirectory(prefix="harken-replay-") as name:
        folder = Path(name)
        (folder / "in.pcm").write_bytes(pcm.astype("<i2").tobytes())
        run_to_end(board, image, arguments, folder, timeout_s)
        rows = np.fromfile(folder / "out.bin", np.uint8)
        events = (folder / EVENTS_NAME).read_bytes() if EVENTS_NAME in arguments else b""
    if len(rows) % steps or len(rows) // steps <= STEP_FEATURES:
        raise HarkenError(f"replay on {board.name} wrote {len(rows)} bytes for {steps} steps: build the image again")
    table = rows.reshape(steps, -1)
    return table[:, :STEP_FEATURES].view(np.int8), table[:, STEP_FEATURES:], events


def run_to_end(
    board: Board,
    image: Image,
    arguments: Sequence[str],
    folder: Path,
    timeout_s: float = 600.0,
    emulator_options: Sequence[str] = (),
) -> None:
    """Run a program that takes `arguments`, none of which holds a space, and ends by itself; its folder is `folder`.

    Raises:
        HarkenError: the image cannot be run, fails, or takes longer than `timeout_s`.
    """
    name = image.elf.stem
    if board.run.runner == "process":
        command = [str(image.elf.resolve()), *arguments]
    else:
        command = [*_qemu(board, image, arguments), *emulator_options, "-serial", "none"]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise HarkenError(f"{name} on {board.name} took over {timeout_s:.0f} s: give it less audio") from None
    if result.returncode != 0:
        said = (result.stderr + result.stdout).strip().replace("\n", "; ")
        raise HarkenError(f"{name} on {board.name} failed (exit {result.returncode}): {said or 'no message'}")


def _qemu(board: Board, image: Image, arguments: Sequence[str]) -> list[str]:
    command = shutil.which(board.run.command or "")
    if command is None:
        raise HarkenError(f"board {board.name} runs under {board.run.command}, which is missing: {board.run.remedy}")
    machine = ["-M", str(board.run.machine), *board.run.options, "-nographic", "-monitor", "none"]
    machine += ["-kernel", str(image.elf.resolve())]
    words = ",".join(f"arg={word}" for word in (image.elf.stem, *arguments))
    return [command, *machine, "-semihosting-config", f"enable=on,target=native,{words}"]
