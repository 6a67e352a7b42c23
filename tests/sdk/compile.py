"""Compiles an exported project's sources for its target, with warnings as errors, and links nothing."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

DECLARATIONS = Path(__file__).parents[1] / "sdk_declarations"
WARNINGS = ("-Wall", "-Wextra", "-Werror", "-O0", "-c")

# Compiler prefix and flags for each core. A 32-bit host stands for Xtensa, whose compiler is not packaged.
CORES: dict[str, tuple[str, tuple[str, ...]]] = {
    "xtensa": ("", ("-m32",)),
    "riscv32": ("riscv64-unknown-elf-", ("-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs")),
    "cortex-m3": ("arm-none-eabi-", ("-mcpu=cortex-m3", "-mthumb")),
    "cortex-m4": ("arm-none-eabi-", ("-mcpu=cortex-m4", "-mthumb")),
}


def require(core: str) -> None:
    """Skip where the machine cannot compile C and C++ for `core`, and say what it lacks."""
    prefix, flags = CORES[core]
    for driver, language, standard in (("gcc", "c", "gnu17"), ("g++", "c++", "gnu++17")):
        compiler = shutil.which(f"{prefix}{driver}")
        if compiler is None:
            pytest.skip(f"{prefix}{driver} is not installed")
        probe = [compiler, *flags, f"-std={standard}", "-fsyntax-only", "-x", language, "-"]
        source = "#include <stdint.h>\n#include <string.h>\n"
        if subprocess.run(probe, input=source, text=True, capture_output=True, check=False).returncode != 0:
            pytest.skip(f"{compiler} {' '.join(flags)} finds no C library: g++-multilib or picolibc is not installed")


def compile_all(
    core: str,
    sources: Sequence[Path],
    include: Sequence[Path],
    declarations: Sequence[str],
    objects: Path,
    options: Sequence[str] = (),
) -> None:
    """Compile every source into the folder `objects`; fail with the compiler's words."""
    prefix, flags = CORES[core]
    includes = [f"-I{path}" for path in (*include, *(DECLARATIONS / name for name in declarations))]
    for suffix, driver, standard in ((".c", "gcc", "gnu17"), (".cc", "g++", "gnu++17")):
        files = [str(path) for path in sources if path.suffix == suffix]
        if not files:
            continue
        extra = (
            ["-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics", "-fno-use-cxa-atexit"]
            if suffix == ".cc"
            else []
        )
        done = subprocess.run(
            [f"{prefix}{driver}", *flags, f"-std={standard}", *WARNINGS, *extra, *options, *includes, *files],
            capture_output=True,
            text=True,
            check=False,
            cwd=objects,
        )
        assert done.returncode == 0, done.stderr[:4000]
