"""Measures the whole audio path of the device image on emulated boards: instructions for each second of audio, by part.

What is counted is `hk_listener_step`, linked from the very objects of the device image: clip ring, front end,
fingerprint, engine, heads, tracker. It runs twice under QEMU `-icount shift=0`: once whole, once with the calls between
parts sent through a look at the clock, whose own cost is taken off.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from edge.audio import Int16Array
from edge.errors import HarkenError
from firmware_gen.board import Board, load_board, local_boards
from firmware_gen.build import Program, build_image, build_program
from tools.demo.scene import make_scene
from tools.device.runner import STEP_SAMPLES, run_to_end

FloatArray = npt.NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
STEPS_PER_SECOND = SAMPLE_RATE_HZ // STEP_SAMPLES

BASELINE = Path(__file__).parent / "device_baseline.json"

OTHER, ANALYSIS, NOTHING = "other", "cadence_analysis", "nothing"

# Stretches of the demo's scene, in seconds: a quiet room, a microwave that has finished, a television, and a fan with a
# smoke alarm, which is under suspicion from its first beep on.
STRETCHES_S = ((0, 4), (8, 14), (56, 60), (20, 36))

_RUNTIME = Path(__file__).parent / "device_runtime"
_LISTEN = (
    _RUNTIME / "main.c",
    _RUNTIME / "nothing.c",
    Path(__file__).parent / "instruction_clock" / "hk_bench_clock.c",
)
# The functions that wrap.c stands before. One that no other file calls any more is found out: its part counts no call.
_WRAPPED = (
    "hk_clip_ring_push",
    "hk_frontend_push",
    "hk_frame_features",
    "hk_fingerprint_push",
    "hk_engine_step",
    "hk_head_score",
    "hk_tracker_step",
    "hk_cadence_push",
    "hk_cadence_analyze",
    "hk_bench_nothing",
)
_WHOLE = Program("listen-whole", (*_LISTEN, _RUNTIME / "whole.c"))
_SPLIT = Program("listen-split", (*_LISTEN, _RUNTIME / "wrap.c"), tuple(f"-Wl,--wrap={name}" for name in _WRAPPED))

_NAMES_BYTES = 128


@dataclass(frozen=True)
class CadenceAnalysis:
    """What looking for an alarm's cadence takes, once in 200 ms and only while an event is suspected.

    instructions: of one analysis, in the mean. worst_instructions: of the longest. analyses: how many were seen.
    """

    instructions: int
    worst_instructions: int
    analyses: int


@dataclass(frozen=True)
class Figures:
    """What the device takes of one board.

    instructions_per_audio_second: of a second without cadence analysis, in the mean over the sound; `split` adds up to
    it. worst_audio_second: of the 50 consecutive steps that took most, analyses included. flash_bytes, ram_bytes: of
    the device image, the stack it reserves included.
    """

    instructions_per_audio_second: int
    split: dict[str, int]
    worst_audio_second: int
    cadence_analysis: CadenceAnalysis
    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class Run:
    """What one image wrote, in instructions.

    names: of the parts. steps: float64[steps], each as a whole. parts: float64[steps, names], without the parts that
    each called. calls, nested: int64[steps, names], calls of the part, and by it of others. These three are 0 in the
    image that counts steps whole. nothing, nothing_inside: of a call that does nothing, with the loop around it, and
    inside.
    """

    names: tuple[str, ...]
    steps: FloatArray
    parts: FloatArray
    calls: npt.NDArray[np.int64]
    nested: npt.NDArray[np.int64]
    nothing: float
    nothing_inside: float


@cache
def sound() -> Int16Array:
    """Return the 30 s of sound that are heard, int16[480000], made by the project: the same every time."""
    pcm = make_scene().pcm
    return np.concatenate([pcm[start * SAMPLE_RATE_HZ : end * SAMPLE_RATE_HZ] for start, end in STRETCHES_S])


def countable_boards(names: Sequence[str] | None = None) -> tuple[list[Board], dict[str, str]]:
    """Return the boards to measure, and why others are left out, by name. `names`: None for every one that can be.

    Raises:
        HarkenError: a board that is named does not exist or cannot be measured here, or none can be.
    """
    boards = [load_board(name) for name in names] if names else local_boards()
    reasons = {board.name: reason for board in boards if (reason := _hindrance(board)) is not None}
    if names and reasons:
        name, reason = next(iter(reasons.items()))
        raise HarkenError(f"board {name} cannot be measured: {reason}")
    able = [board for board in boards if board.name not in reasons]
    if not able:
        raise HarkenError("no board can be measured: install qemu-system-arm and gcc-arm-none-eabi")
    return able, reasons


def _hindrance(board: Board) -> str | None:
    if board.run.runner != "qemu":
        return "it runs as a process, whose instructions are not counted: name an emulated board"
    missing = board.missing_tools()
    return f"{', '.join(missing)} not found: {board.toolchain.remedy}" if missing else None


def measure(board: Board, model: Path | None = None, pcm: Int16Array | None = None) -> Figures:
    """Build the images of `board` with `model` (default: the committed detector), let them hear `pcm`, and add up.

    Args:
        board: an emulated one.
        model: a detector's `.tflite`.
        pcm: int16[n] at 16 kHz, at least a second; default: `sound()`.

    Raises:
        HarkenError: a tool or the model is missing, an image fails, or a part of the path is no longer called.
    """
    heard = sound() if pcm is None else pcm
    if len(heard) < SAMPLE_RATE_HZ:
        raise HarkenError(f"{len(heard)} samples are less than a second: let the device hear more")
    whole = listen(board, _WHOLE, model, heard)
    split = listen(board, _SPLIT, model, heard)
    device = build_image(board, model)
    return add_up(whole, split, device.flash_bytes, device.ram_bytes)


def listen(board: Board, program: Program, model: Path | None, pcm: Int16Array) -> Run:
    """Build `program` for `board`, run it over `pcm`, and read what it wrote. Raises HarkenError as `measure`."""
    image = build_program(board, program, model)
    with TemporaryDirectory(prefix="harken-bench-") as name:
        folder = Path(name)
        (folder / "in.pcm").write_bytes(pcm.astype("<i2").tobytes())
        run_to_end(board, image, ["in.pcm", "figures.bin"], folder, emulator_options=("-icount", "shift=0"))
        return _read(folder / "figures.bin")


def _read(path: Path) -> Run:
    """Read what main.c of the device runtime says it writes."""
    data = path.read_bytes()
    spin_instructions, spin_ticks, rounds, nothing_ticks = np.frombuffer(data, "<u4", 4).tolist()
    start = len(data.partition(f"{OTHER} ".encode())[0])
    names = tuple(data[start : start + _NAMES_BYTES].rstrip(b"\0").decode().split())
    rows = np.frombuffer(data, "<u4", offset=start + _NAMES_BYTES).reshape(-1, 1 + 3 * len(names)).astype(np.int64)
    nothing = np.frombuffer(data, "<u4", 3 * len(names), offset=16).astype(np.int64)
    instructions_per_tick = spin_instructions / spin_ticks
    ticks, calls, nested = np.split(rows[:, 1:], 3, axis=1)
    return Run(
        names=names,
        steps=rows[:, 0] * instructions_per_tick,
        parts=ticks * instructions_per_tick,
        calls=calls,
        nested=nested,
        nothing=nothing_ticks * instructions_per_tick / rounds,
        nothing_inside=float(nothing[names.index(NOTHING)]) * instructions_per_tick / rounds,
    )


def add_up(whole: Run, split: Run, flash_bytes: int, ram_bytes: int) -> Figures:
    """Return the figures of one board from its two runs over the same sound and the sizes of its device image.

    Raises:
        HarkenError: a part was never called, so that it would count as another's.
    """
    uncalled = [
        name
        for name, calls in zip(split.names, split.calls.sum(axis=0).tolist(), strict=True)
        if calls == 0 and name not in (OTHER, ANALYSIS, NOTHING)
    ]
    if uncalled:
        raise HarkenError(
            f"nothing calls {', '.join(uncalled)} from another file any more: "
            "let tools/bench/device.py and its wrap.c name the functions that do the work now"
        )
    # A look's cost lies partly inside the part that is called, partly in its caller.
    inside = split.nothing_inside
    parts = split.parts - split.calls * inside - split.nested * (split.nothing - whole.nothing - inside)
    place = {name: number for number, name in enumerate(split.names)}
    is_analysis = split.calls[:, place[ANALYSIS]] > 0
    second = float(whole.steps[~is_analysis].mean()) * STEPS_PER_SECOND
    by_part = {
        name: round(float(parts[~is_analysis, number].mean()) * STEPS_PER_SECOND)
        for name, number in place.items()
        if name not in (OTHER, ANALYSIS, NOTHING)
    }
    by_part[OTHER] = round(second) - sum(by_part.values())
    analyses = parts[is_analysis, place[ANALYSIS]]
    return Figures(
        instructions_per_audio_second=round(second),
        split=by_part,
        worst_audio_second=round(float(np.convolve(whole.steps, np.ones(STEPS_PER_SECOND), "valid").max())),
        cadence_analysis=CadenceAnalysis(
            instructions=round(float(analyses.mean())) if len(analyses) else 0,
            worst_instructions=round(float(analyses.max())) if len(analyses) else 0,
            analyses=len(analyses),
        ),
        flash_bytes=flash_bytes,
        ram_bytes=ram_bytes,
    )


def write_baseline(figures: Mapping[str, Figures]) -> None:
    """Make `figures`, by board, the baseline's; boards that were not measured keep theirs."""
    known = json.loads(BASELINE.read_text(encoding="utf-8")) if BASELINE.is_file() else {}
    known.update((board, asdict(item)) for board, item in figures.items())
    BASELINE.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
