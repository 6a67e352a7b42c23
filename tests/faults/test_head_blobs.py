"""A head's blob takes effect whole or not at all: hk_head_open against everything that can be wrong with it."""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.contracts.generate import ERRORS_PATH
from firmware_gen.compiler import CompiledModel, compile_model
from tests.generated_c.engines import AlignedBytes, HostEngine, open_head, score_head

DETECTOR_FORM = Path(__file__).parents[1] / "models" / "detector_form_random_i8.tflite"
RESEALED_MUTATIONS = 3000
LAYER = 56


def _errors() -> dict[str, int]:
    import tomllib

    return {entry["name"]: entry["code"] for entry in tomllib.loads(ERRORS_PATH.read_text())["error"]}


ERRORS = _errors()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> HostEngine:
    folder = tmp_path_factory.mktemp("heads")
    return HostEngine(compile_model(DETECTOR_FORM, folder / "c"), folder, sanitize=True)


@pytest.fixture
def blob(engine: HostEngine) -> bytearray:
    return bytearray(engine.compiled.head_blobs[0])


def seal(content: bytearray) -> bytes:
    """Put the right CRC-32 at the end, as someone would who means it."""
    return bytes(content[:-4]) + struct.pack("<I", zlib.crc32(bytes(content[:-4])))


def status_of(engine: HostEngine, content: bytes) -> int:
    return open_head(engine.library, AlignedBytes(content))[0]


def test_a_good_blob_opens_and_says_what_it_is(engine: HostEngine) -> None:
    compiled: CompiledModel = engine.compiled
    for event, content in zip(compiled.events, compiled.head_blobs, strict=True):
        held = AlignedBytes(content)
        status, head = open_head(engine.library, held)
        assert status == 0
        assert head.event_name.decode() == event
        assert (head.inputs, head.layer_count, head.head_version) == (64, 2, 1)
        assert (head.threshold_low, head.threshold_normal, head.threshold_high) == (192, 128, 96)


def test_one_flipped_bit_anywhere_is_refused(engine: HostEngine, blob: bytearray) -> None:
    for bit in range(8 * len(blob)):
        blob[bit // 8] ^= 1 << bit % 8
        assert status_of(engine, bytes(blob)) < 0, f"bit {bit} went unnoticed"
        blob[bit // 8] ^= 1 << bit % 8


def test_every_truncation_is_refused(engine: HostEngine, blob: bytearray) -> None:
    for length in range(len(blob)):
        assert status_of(engine, bytes(blob[:length])) == ERRORS["truncated"]


def test_bytes_after_the_blob_are_refused(engine: HostEngine, blob: bytearray) -> None:
    assert status_of(engine, bytes(blob) + bytes(4)) == ERRORS["format"]


def test_a_blob_off_its_alignment_is_refused(engine: HostEngine, blob: bytearray) -> None:
    assert open_head(engine.library, AlignedBytes(bytes(blob), misalignment=1))[0] == ERRORS["argument"]


def test_a_refused_blob_leaves_the_opened_head_alone(engine: HostEngine, blob: bytearray) -> None:
    import ctypes

    held = AlignedBytes(bytes(blob))
    _, head = open_head(engine.library, held)
    before = bytes(head)
    bad = AlignedBytes(bytes(blob[:-1]) + b"\0")
    status = engine.library.hk_head_open(ctypes.byref(head), bad.view, ctypes.c_size_t(len(bad.view)))
    assert status < 0
    assert bytes(head) == before


def put(at: int, values: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[at : at + len(values)] = values

    return change


@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        ("another magic", put(0, b"HKHX"), "format"),
        ("a later format", put(4, b"\x03\x00"), "version"),
        ("an empty name", put(8, bytes(32)), "format"),
        ("a name in capitals", put(8, b"Smoke"), "format"),
        ("a name without end", put(8, b"a" * 32), "format"),
        ("bytes behind the name's end", put(38, b"x"), "format"),
        ("low under normal", put(52, bytes([10, 20, 5])), "format"),
        ("a threshold of zero", put(52, bytes([10, 5, 0])), "format"),
        ("no layers", put(55, b"\x00"), "format"),
        ("five layers", put(55, b"\x05"), "format"),
        ("one layer, which has 16 outputs", put(55, b"\x01"), "format"),
        ("a layer without inputs", put(LAYER, b"\x00\x00"), "format"),
        ("a layer wider than the limit", put(LAYER + 2, b"\x01\x01"), "format"),
        ("least above greatest", put(LAYER + 5, b"\x7f\x00"), "format"),
        ("a reserved byte", put(LAYER + 7, b"\x01"), "format"),
        ("a bias that could overflow", put(LAYER + 8, b"\xff\xff\xff\x7f"), "format"),
        ("the least bias", put(LAYER + 8, b"\x00\x00\x00\x80"), "format"),
        ("a negative multiplier", put(LAYER + 8 + 64, b"\x00\x00\x00\x80"), "format"),
        ("a shift out of range", put(LAYER + 8 + 128, b"\x1f"), "format"),
    ],
)
def test_a_sealed_blob_with_one_wrong_field_is_refused(
    engine: HostEngine, blob: bytearray, name: str, change: Callable[[bytearray], None], error: str
) -> None:
    change(blob)
    assert status_of(engine, seal(blob)) == ERRORS[error], name


def test_sealed_random_damage_is_refused_or_runs_within_bounds(engine: HostEngine, blob: bytearray) -> None:
    """With the right CRC anything may come: what opens must be safe to run. The sanitizer stops on overflow."""
    rng = random.Random(4)
    trunk = np.random.default_rng(4).integers(-128, 128, (2, 256)).astype(np.int8)
    opened = 0
    for _ in range(RESEALED_MUTATIONS):
        content = bytearray(blob)
        for _ in range(rng.choice([1, 2, 6])):
            at = rng.randrange(8, len(content) - 4)
            at = rng.choice([at, rng.randrange(40, 300)])
            content[at] = rng.choice([0, 0xFF, 0x7F, 0x80, rng.randrange(256)])
        held = AlignedBytes(seal(content))
        status, head = open_head(engine.library, held)
        if status == 0:
            opened += 1
            score_head(engine.library, head, trunk)
    assert 0 < opened < RESEALED_MUTATIONS


def test_a_head_of_another_trunk_is_refused(engine: HostEngine, blob: bytearray) -> None:
    import ctypes

    held = AlignedBytes(bytes(blob))
    _, head = open_head(engine.library, held)
    check = engine.library.hk_head_check_trunk
    trunk_hash = engine.compiled.trunk_hash
    assert check(ctypes.byref(head), trunk_hash, ctypes.c_size_t(64)) == 0
    assert check(ctypes.byref(head), trunk_hash, ctypes.c_size_t(63)) == ERRORS["mismatch"]
    assert check(ctypes.byref(head), bytes(8), ctypes.c_size_t(64)) == ERRORS["mismatch"]
