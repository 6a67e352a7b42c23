"""One set of vectors for Python, for C under the sanitizers, and for a Cortex-M4: the core answers alike on all."""

import dataclasses
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import build_core, native
from edge.c_source import array
from firmware_gen.board import load_board
from firmware_gen.build import linker_script_flags
from tests.golden.make_core_vectors import FOLDER, adpcm_cases, decode, fingerprint_cases, frontend_cases

INSTRUCTIONS_PER_TICK = 40  # QEMU -icount shift=0 runs one instruction a nanosecond; the board's clock is 25 MHz
SOURCES = ("hk_log2", "hk_frontend", "hk_spectrum", "hk_spectrum_mve", "hk_fingerprint", "hk_adpcm", "hk_clip_ring")


def read_cases(name: str) -> list[dict[str, Any]]:
    return json.loads((FOLDER / f"{name}.json").read_text())["cases"]


@pytest.mark.parametrize(
    ("name", "make"),
    [("frontend", frontend_cases), ("fingerprint", fingerprint_cases), ("adpcm", adpcm_cases)],
)
def test_python_sees_the_golden_values(name, make):
    assert make() == read_cases(name)


def rows(declaration: str, values: list[np.ndarray]) -> str:
    flat = np.concatenate([value.reshape(-1) for value in values])
    return "static " + array(declaration, flat.tolist(), "u" if flat.dtype == np.uint32 else "")


def write_vectors(path: Path) -> None:
    """Write the JSON cases as C arrays; nested arrays are flattened, which C allows to be initialised so."""
    frontend, fingerprint, adpcm = (read_cases(name) for name in ("frontend", "fingerprint", "adpcm"))
    log_mel = [np.array(case["log_mel_q8"], np.int16) for case in frontend]
    features = [native.features(decode(case["pcm"], "int16")) for case in frontend]
    words = [np.array(case["words"], np.uint32) for case in fingerprint]
    reliable = [np.array(case["reliable"], np.uint32) for case in fingerprint]
    usable = [np.array(case["is_usable"], np.uint8) for case in fingerprint]
    blocks = [decode(case["blocks"], "uint8") for case in adpcm]
    pcm = {
        key: [decode(case["pcm"], "int16") for case in cases]
        for key, cases in (("frontend", frontend), ("fingerprint", fingerprint), ("adpcm", adpcm))
    }
    frames, bands = log_mel[0].shape
    word_count, block_count = len(words[0]), len(blocks[0]) // native.BLOCK_BYTES
    cases = len(frontend)
    text = (
        "#include <stdint.h>\n"
        f"enum {{ FRONTEND_CASES = {cases}, FRONTEND_FRAMES = {frames},\n"
        f"       FINGERPRINT_CASES = {len(words)}, FINGERPRINT_WORDS = {word_count},\n"
        f"       ADPCM_CASES = {len(blocks)}, ADPCM_BLOCKS = {block_count} }};\n"
        + "".join(
            rows(f"const int16_t {key}_pcm[{len(values)}][{len(values[0])}]", values) for key, values in pcm.items()
        )
        + rows(f"const int16_t frontend_log_mel_q8[{cases}][{frames}][{bands}]", log_mel)
        + rows(f"const int8_t frontend_features[{cases}][{frames}][{bands}]", features)
        + rows(f"const uint32_t fingerprint_words[{len(words)}][{word_count}]", words)
        + rows(f"const uint32_t fingerprint_reliable[{len(words)}][{word_count}]", reliable)
        + rows(f"const uint8_t fingerprint_is_usable[{len(words)}][{word_count}]", usable)
        + rows(f"const uint8_t adpcm_blocks[{len(blocks)}][{len(blocks[0])}]", blocks)
        + rows(
            f"const int16_t adpcm_decoded[{len(blocks)}][{block_count * native.BLOCK_SAMPLES}]",
            [decode(case["decoded"], "int16") for case in adpcm],
        )
    )
    path.write_text(text)


def compile_check(work: Path, board_name: str, extra: list[str]) -> Path:
    """Compile check_core.c for a board and return the program."""
    board = load_board(board_name)
    build_core.generate(work)
    write_vectors(work / "core_vectors.h")
    program = work / "check_core"
    command = [
        board.toolchain.compiler,
        *build_core.WARNING_FLAGS,
        "-O2",
        *board.toolchain.flags,
        *board.toolchain.link_flags,
        *extra,
        *(f"-I{folder}" for folder in (build_core.INCLUDE_DIR, work, *board.include_dirs)),
        "-Wno-missing-braces",
        str(FOLDER / "check_core.c"),
        *(str(build_core.SOURCE_DIR / f"{name}.c") for name in SOURCES),
        str(work / "hk_frontend_tables.c"),
        str(work / "hk_error.c"),
        *map(str, board.sources),
        "-o",
        str(program),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return program


def counts(output: str, unit: str) -> dict[str, tuple[int, int]]:
    """Return {module: (count, of)} from the lines `module count of N unit` that check_core printed."""
    found = re.findall(rf"^(\w+) (\d+) of (\d+) {unit}$", output, re.MULTILINE)
    return {module: (int(count), int(total)) for module, count, total in found}


def assert_all_alike(result: subprocess.CompletedProcess[str]) -> None:
    output = result.stdout + result.stderr
    found = counts(output, "differ")
    assert set(found) == {"frontend", "fingerprint", "matcher", "adpcm", "ring"}, output
    assert all(checked > 0 and differing == 0 for differing, checked in found.values()), output
    assert result.returncode == 0, output


def test_c_sees_the_golden_values_under_the_sanitizers(tmp_path):
    flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
    program = compile_check(tmp_path, "host", flags)
    result = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
    assert_all_alike(result)


@pytest.mark.qemu
def test_a_cortex_m4_sees_the_golden_values_within_its_budget(tmp_path, record_property):
    board = load_board("mps2-an386")
    for tool in (board.toolchain.compiler, "qemu-system-arm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    assert board.memory is not None
    roomy = dataclasses.replace(board.memory, flash_bytes=1 << 20, ram_bytes=1 << 20, stack_bytes=1 << 14)
    script = linker_script_flags(board, roomy)
    program = compile_check(tmp_path, "mps2-an386", script)
    command = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"]
    command += ["-semihosting-config", "enable=on,target=native", "-icount", "shift=0", "-kernel", str(program)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert_all_alike(result)
    spent = counts(result.stdout + result.stderr, "calls")
    costs = {module: round(ticks * INSTRUCTIONS_PER_TICK / calls) for module, (ticks, calls) in spent.items()}
    for module, instructions in costs.items():
        record_property(f"instructions_{module}", instructions)
        print(f"{module}: {instructions} instructions a call")
    assert 1000 < costs["frontend"] < 28_000, "a frame of the front end"
    assert 100 < costs["fingerprint"] < 4_000, "a frame of the fingerprint"
    assert 10 < costs["adpcm"] < 34, "a sample into the clip ring"
