"""Looks for sounds in a device's own known media on emulated boards: what is found, and in how many instructions."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from edge import media_set, native
from edge.contracts import limits
from edge.errors import HarkenError
from edge.media_set import Hit, Opened
from firmware_gen.board import Board, load_board
from firmware_gen.build import Program, build_program
from tools.device.runner import run_to_end

BOARD = "mps2-an386"
CHECKS_MAX = 200
_MIN_BITS = 100
_RUNTIME = Path(__file__).parent
_PROGRAM = Program(
    "media", (_RUNTIME / "media_runtime" / "main.c", _RUNTIME / "instruction_clock" / "hk_bench_clock.c")
)
_ROW = np.dtype(
    [
        ("ticks", "<u4"),
        ("status", "<i4"),
        ("clip", "<u4"),
        ("phase", "<u4"),
        ("offset", "<i4"),
        ("bits", "<u4"),
        ("bit_errors", "<u4"),
    ]
)


@dataclass(frozen=True)
class Check:
    """One sound: what it took, and what was found."""

    instructions: int
    hit: Hit | None


def run(board: Board, blob: bytes, sounds: Sequence[native.Words]) -> list[Check]:
    """Have `board` look for each of `sounds` (words of every 40 ms, at most those of a trigger) in a set.

    Raises:
        HarkenError: a tool is missing, the image cannot be built or run, or the set is none.
    """
    opened = Opened(blob)
    image = build_program(board, _PROGRAM)
    with TemporaryDirectory(prefix="harken-media-") as name:
        folder = Path(name)
        parts = [struct.pack("<I", len(blob)), blob]
        for words in sounds:
            parts += [struct.pack("<I", len(words.bits)), *(each.astype("<u4").tobytes() for each in words[:2])]
        (folder / "in.bin").write_bytes(b"".join(parts))
        run_to_end(board, image, ["in.bin", "out.bin"], folder, emulator_options=("-icount", "shift=0"))
        written = (folder / "out.bin").read_bytes()
    spin_instructions, spin_ticks = struct.unpack_from("<II", written)
    return [
        Check(round(int(row["ticks"]) * spin_instructions / spin_ticks), _hit(opened, row))
        for row in np.frombuffer(written, _ROW, offset=8)
    ]


def _hit(opened: Opened, row: np.void) -> Hit | None:
    if row["status"] != 0:
        return None
    match = native.Match(int(row["offset"]), int(row["bits"]), int(row["bit_errors"]))
    return opened.hit(int(row["clip"]), int(row["phase"]), match)


@dataclass(frozen=True)
class Figures:
    """What checks of one board take against a full set, in instructions.

    found: sounds that a check finds. found_at_every_place: that the same rule finds without going from coarse to fine.
    """

    board: str
    clips: int
    set_bytes: int
    checks: int
    found: int
    found_at_every_place: int
    mean_instructions: int
    most_instructions: int


def measure(known: Sequence[native.Words], sounds: Sequence[native.Words], board: str = BOARD) -> Figures:
    """Look for `sounds` (words of every 40 ms, of which the latest count) in a full set cut from `known` recordings.

    `known` are words of every step; the stretches lie evenly over them.

    Raises:
        HarkenError: as `run`, or a check finds otherwise than on this machine.
    """
    count = limits.MEDIA_CLIP_WORDS_MAX
    steps = count * media_set.STEPS_PER_WORD
    places = [
        (words, first) for words in known for first in range(0, len(words.bits) - steps - 1, limits.STEPS_PER_SECOND)
    ]
    chosen = [
        places[n * len(places) // limits.MEDIA_CLIPS_MAX] for n in range(min(len(places), limits.MEDIA_CLIPS_MAX))
    ]
    clips = [
        media_set.Clip(
            f"{n:016x}", tuple(words.bits[first + phase :: media_set.STEPS_PER_WORD][:count] for phase in (0, 1))
        )
        for n, (words, first) in enumerate(chosen)
    ]
    most = limits.TRIGGER_FINGERPRINT_WORDS
    latest = [words.between(max(0, len(words.bits) - most), len(words.bits)) for words in sounds]
    asked = latest[:: -(-len(latest) // CHECKS_MAX)]
    blob = media_set.make(clips, 1).blob
    checks = run(load_board(board), blob, asked)
    opened = Opened(blob)
    if differing := sum(check.hit != opened.find(words) for check, words in zip(checks, asked, strict=True)):
        raise HarkenError(
            f"{differing} of {len(checks)} checks on {board} find otherwise than here: the C core is wrong"
        )
    instructions = [check.instructions for check in checks]
    return Figures(
        board=board,
        clips=len(clips),
        set_bytes=len(blob),
        checks=len(checks),
        found=sum(check.hit is not None for check in checks),
        found_at_every_place=sum(_is_anywhere(words, clips) for words in asked),
        mean_instructions=round(sum(instructions) / len(instructions)),
        most_instructions=max(instructions),
    )


def _is_anywhere(words: native.Words, clips: Sequence[media_set.Clip]) -> bool:
    """Whether the cloud's rule finds a sound in one of the clips, every place compared."""
    stride = media_set.STEPS_PER_WORD // limits.TRIGGER_FINGERPRINT_WORD_STEPS
    for phase in (phase for clip in clips for phase in clip.words):
        found = native.match(words.bits, words.reliable, phase, stride=stride, min_bits=_MIN_BITS)
        if found is not None and found.z >= limits.MEDIA_MIN_Z:
            compared = words.reliable[max(0, -found.offset) : len(phase) * stride - found.offset]
            if np.count_nonzero(compared) >= limits.MEDIA_MIN_WORDS:
                return True
    return False
