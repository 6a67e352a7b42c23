"""Builds generated engines for this machine and runs them, so that tests compare C with its reference."""

import ctypes
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge import build_core
from firmware_gen.compiler import CompiledModel

Int8Array = npt.NDArray[np.int8]

CORE = Path(build_core.__file__).parent / "core"
FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2", "-shared", "-fPIC")
HEAD_SOURCES = tuple(CORE / "src" / name for name in ("hk_head.c", "hk_dense.c", "hk_crc32.c"))
SANITIZERS = ("-fsanitize=undefined", "-fno-sanitize-recover=all")


@cache
def generated_dir() -> Path:
    """Return the folder of the core's generated headers, written once a run."""
    folder = build_core.build_root() / "gen"
    build_core.generate(folder)
    return folder


def build_library(
    compiled: CompiledModel, folder: Path, *, sanitize: bool = False, more: Sequence[Path] = HEAD_SOURCES
) -> Path:
    """Compile the generated files and `more` (default: what scores heads) into a shared library."""
    library = folder / "engine.so"
    include = [CORE / "include", generated_dir(), compiled.files[0].parent]
    sources = [*compiled.sources, *more]
    command = ["cc", *FLAGS, *(SANITIZERS if sanitize else ()), *(f"-I{path}" for path in include)]
    subprocess.run([*command, *map(str, sources), "-o", str(library)], check=True)
    return library


class HostEngine:
    """A generated engine in this process."""

    def __init__(
        self, compiled: CompiledModel, folder: Path, *, sanitize: bool = False, more: Sequence[Path] = HEAD_SOURCES
    ) -> None:
        self.compiled = compiled
        self.library = ctypes.CDLL(str(build_library(compiled, folder, sanitize=sanitize, more=more)))
        raw = ctypes.create_string_buffer(compiled.state_bytes + 8)
        start = -ctypes.addressof(raw) % 8
        self.state = (ctypes.c_uint8 * compiled.state_bytes).from_buffer(raw, start)
        self.reset()

    def reset(self) -> None:
        self.library.hk_engine_reset(self.state)

    def run(self, inputs: Int8Array) -> Int8Array:
        rows = np.ascontiguousarray(inputs, np.int8).reshape(-1, self.compiled.input_bytes)
        answers = np.empty((len(rows), self.compiled.output_bytes), np.int8)
        for row, answer in zip(rows, answers, strict=True):
            self.library.hk_engine_step(
                self.state, row.ctypes.data_as(ctypes.c_void_p), answer.ctypes.data_as(ctypes.c_void_p)
            )
        return answers


class Head(ctypes.Structure):
    """hk_head_t."""

    _fields_ = (
        ("blob", ctypes.c_void_p),
        ("event_name", ctypes.c_char_p),
        ("trunk_hash", ctypes.c_void_p),
        ("scores", ctypes.c_void_p),
        ("head_version", ctypes.c_uint32),
        ("inputs", ctypes.c_uint16),
        ("layer_count", ctypes.c_uint8),
        ("threshold_low", ctypes.c_uint8),
        ("threshold_normal", ctypes.c_uint8),
        ("threshold_high", ctypes.c_uint8),
    )


class AlignedBytes:
    """Bytes at an address divisible by 4 plus `misalignment`, as hk_head_open wants them."""

    def __init__(self, content: bytes, misalignment: int = 0) -> None:
        self._raw = ctypes.create_string_buffer(len(content) + 16)
        start = -ctypes.addressof(self._raw) % 8 + misalignment
        self.view = (ctypes.c_uint8 * len(content)).from_buffer(self._raw, start)
        ctypes.memmove(self.view, content, len(content))


def open_head(library: ctypes.CDLL, blob: AlignedBytes) -> tuple[int, Head]:
    head = Head()
    status = library.hk_head_open(ctypes.byref(head), blob.view, ctypes.c_size_t(len(blob.view)))
    return status, head


def score_head(library: ctypes.CDLL, head: Head, trunk: Int8Array) -> npt.NDArray[np.uint8]:
    """Score int8[steps, inputs]; return uint8[steps]."""
    rows = np.ascontiguousarray(trunk, np.int8)
    scores = np.empty(len(rows), np.uint8)
    for row, score in zip(rows, scores[:, None], strict=True):
        library.hk_head_score(
            ctypes.byref(head),
            ctypes.c_size_t(1),
            row.ctypes.data_as(ctypes.c_void_p),
            score.ctypes.data_as(ctypes.c_void_p),
        )
    return scores
