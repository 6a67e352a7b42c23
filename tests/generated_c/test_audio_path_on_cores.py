"""Front end, fingerprint and clip ring on every emulated core: bit for bit what portable C gives on this machine."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest

from edge import native
from edge.audio import Int16Array
from firmware_gen.board import Board, load_board, local_boards
from firmware_gen.build import Program, build_program
from tools.device.runner import run_to_end

TONES = Path(__file__).parents[1] / "models" / "tones.tflite"
AUDIO_PATH = Program("audio-path", (Path(__file__).with_name("audio_path.c"),))

RATE_HZ = 16_000
STEP_SAMPLES = 320
LOUDEST = 32_767
WORDS_KEPT = 100
STEPS_PER_WORD = 2
STEPS_BETWEEN_WORDS = 37

ROW = np.dtype(
    [
        ("power", "<u8", 256),
        ("total_power", "<u8"),
        ("first_sample", "<u8"),
        ("words", "<u4", WORDS_KEPT),
        ("reliable", "<u4", WORDS_KEPT),
        ("word_count", "<u4"),
        ("log_mel_q8", "<i2", (2, 40)),
        ("features", "i1", 80),
        ("predicted", "<i2"),
        ("step_index", "u1"),
        ("usable", "u1", 13),
        ("padding", "u1", 4),
    ]
)

pytestmark = pytest.mark.qemu


@cache
def sounds() -> Int16Array:
    """Sounds at the ends of what numbers hold, each long enough to fill every history, and loud after quiet."""
    rng = np.random.default_rng(11)
    n = 75 * STEP_SAMPLES
    t = np.arange(n)
    parts = [
        np.zeros(n),
        rng.normal(0, 1, n),
        LOUDEST * np.sin(2 * np.pi * 3100 * t / RATE_HZ),
        np.zeros(n),
        np.full(n, -32768.0),
        np.where(t % 2 == 0, LOUDEST, -32768),  # alternating: all energy at half the sample rate
        np.where(t // 200 % 2 == 0, LOUDEST, -32768),  # rail to rail, a window apart
        LOUDEST * np.sign(np.sin(2 * np.pi * 520 * t / RATE_HZ)),
        rng.uniform(-32768, LOUDEST, n),
        rng.choice([-32768, LOUDEST], n),
        rng.normal(0, 3000, n),
        np.where(t % 4001 == 0, -32768, 0),  # clicks
        20_000 + rng.normal(0, 2, n),
        rng.normal(0, 1, n) * np.geomspace(0.3, 20_000, n),
        20_000 * np.sin(2 * np.pi * (50 * t / RATE_HZ + 2600 * (t / RATE_HZ) ** 2)),
    ]
    return np.clip(np.round(np.concatenate(parts)), -32768, LOUDEST).astype(np.int16)


def run(board: Board) -> bytes:
    image = build_program(board, AUDIO_PATH, TONES)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in.pcm").write_bytes(sounds().astype("<i2").tobytes())
        run_to_end(board, image, ["in.pcm", "out.bin"], folder)
        return (folder / "out.bin").read_bytes()


@cache
def on_this_machine() -> bytes:
    return run(load_board("host"))


def rows(written: bytes) -> npt.NDArray[np.void]:
    return np.frombuffer(written, ROW, len(sounds()) // STEP_SAMPLES)


@pytest.mark.parametrize("board", [board.name for board in local_boards() if board.run.runner == "qemu"])
def test_a_core_computes_what_this_machine_computes(board: str) -> None:
    target = load_board(board)
    if target.missing_tools():
        pytest.skip(f"{', '.join(target.missing_tools())} not found: {target.toolchain.remedy}")
    written, expected = run(target), on_this_machine()
    assert len(written) == len(expected)
    for name in ROW.names or ():
        assert np.array_equal(rows(written)[name], rows(expected)[name]), name
    assert written == expected  # and the clip ring behind the rows


def test_the_listener_s_words_are_the_stream_s_latest() -> None:
    words = native.fingerprint(sounds())
    kept = words.every(STEPS_PER_WORD)
    asked = np.flatnonzero(rows(on_this_machine())["word_count"])
    assert len(asked) == len(words.bits) // STEPS_BETWEEN_WORDS
    for step in asked.tolist():
        row = rows(on_this_machine())[step]
        end = step // STEPS_PER_WORD + 1
        count = min(end, WORDS_KEPT)
        latest = kept.between(end - count, end)
        assert (row["word_count"], row["first_sample"]) == (count, (end - count) * STEPS_PER_WORD * STEP_SAMPLES)
        assert np.array_equal(row["words"][:count], latest.bits)
        assert np.array_equal(row["reliable"][:count], latest.reliable)
        assert np.array_equal(np.unpackbits(row["usable"], bitorder="little")[:count], latest.is_usable)
    assert 0 < np.count_nonzero(words.is_usable) < len(words.is_usable)
    assert 0 < np.count_nonzero(words.reliable) < len(words.reliable)


def test_the_listener_s_features_are_those_of_training() -> None:
    features = rows(on_this_machine())["features"]
    assert np.array_equal(features.reshape(-1, 40), native.features(sounds()))


def test_the_total_is_the_sum_of_the_spectrum() -> None:
    heard = rows(on_this_machine())
    assert np.array_equal(heard["power"].sum(axis=1), heard["total_power"])
    assert heard["total_power"].max() > 1 << 40
