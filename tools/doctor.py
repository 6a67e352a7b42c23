"""What this machine has and lacks for each thing that Harken does."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
MIN_FREE_BYTES = 500_000_000


@dataclass(frozen=True)
class Finding:
    """One thing looked for.

    Attributes:
        name: what was looked for.
        is_present: whether it is usable.
        detail: its version or place, or what is wrong with it.
        needed_for: what does not work without it.
        remedy: what to type to get it (empty when present).
        is_essential: whether even `make demo BOARD=host` fails without it.
    """

    name: str
    is_present: bool
    detail: str
    needed_for: str
    remedy: str = ""
    is_essential: bool = False


def _first_line(command: list[str]) -> str | None:
    """Return the first line that a command prints, or None when it cannot be run."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    output = (done.stdout or done.stderr).strip().splitlines()
    return output[0] if output else ""


def _program(name: str, command: list[str], needed_for: str, package: str, *, is_essential: bool = False) -> Finding:
    line = _first_line(command)
    if line is None:
        return Finding(name, False, "not found", needed_for, f"apt-get install {package}", is_essential=is_essential)
    return Finding(name, True, line, needed_for, is_essential=is_essential)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    is_supported = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding(
        "Python 3.11 or 3.12",
        is_supported,
        f"{version} at {sys.executable}",
        "everything",
        "" if is_supported else "install python3.11 and run `make setup HARKEN_PYTHON=python3.11`",
        is_essential=True,
    )


def _newlib() -> Finding:
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-print-file-name=libc.a"]
    return _library("newlib for Arm", command, "boards with a Cortex-M core", "libnewlib-arm-none-eabi")


def _picolibc() -> Finding:
    command = ["riscv64-unknown-elf-gcc", "-print-file-name=picolibc.specs"]
    return _library("picolibc for RISC-V", command, "boards with a RISC-V core", "picolibc-riscv64-unknown-elf")


def _library(name: str, command: list[str], needed_for: str, package: str) -> Finding:
    """Look for a C library by one of its files, where `command`, of the compiler that uses it, says that it is."""
    remedy = f"apt-get install {package}"
    place = _first_line(command)
    if place is None:
        return Finding(name, False, f"no {command[0]}", needed_for, remedy)
    # a compiler that knows no such file answers with its bare name
    if Path(place).is_absolute() and Path(place).exists():
        return Finding(name, True, place, needed_for)
    return Finding(name, False, f"{place} not found", needed_for, remedy)


def _packages(name: str, modules: Iterable[str], needed_for: str, extra: str, *, is_essential: bool = False) -> Finding:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        return Finding(
            name,
            False,
            f"missing: {', '.join(missing)}",
            needed_for,
            f"pip install -c constraints.txt -e '.[{extra}]'" if extra else "pip install -c constraints.txt -e .",
            is_essential=is_essential,
        )
    return Finding(name, True, "importable", needed_for, is_essential=is_essential)


def _tflite_interpreter() -> Finding:
    needed_for = "the cloud's verifier"
    for module in ("tflite_runtime", "ai_edge_litert"):
        if importlib.util.find_spec(module) is not None:
            return Finding("TFLite interpreter", True, module, needed_for)
    return Finding("TFLite interpreter", False, "not found", needed_for, "pip install -c constraints.txt -e '.[cloud]'")


def _front_end() -> Finding:
    folder = PROJECT_ROOT / "build" / "web" / "node_modules"
    is_present = (folder / "wavesurfer.js").is_dir() and (folder / "htmx.org").is_dir()
    return Finding(
        "pages' libraries",
        is_present,
        str(folder) if is_present else "not installed",
        "waveforms and filters without a reload (the pages work without)",
        "" if is_present else "tools/setup.sh full",
    )


def _models() -> list[Finding]:
    findings = []
    for kind in ("detector", "verifier"):
        folder = PROJECT_ROOT / "edge" / "models" / kind
        files = sorted(folder.glob("*.tflite"))
        is_present = bool(files) and (folder / "manifest.json").exists()
        findings.append(
            Finding(
                f"{kind} model",
                is_present,
                str(files[0].relative_to(PROJECT_ROOT)) if files else f"no .tflite in {folder}",
                "hearing anything" if kind == "detector" else "the cloud's second opinion",
                "" if is_present else f"git checkout edge/models, or harken train --stage {kind}",
                is_essential=True,
            )
        )
    return findings


def _recordings() -> Finding:
    needed_for = "training, and the tests on real recordings"
    place = os.environ.get("HARKEN_DATA", "")
    if place and (Path(place) / "MANIFEST.csv").exists():
        return Finding("recordings", True, place, needed_for)
    detail = f"no MANIFEST.csv in {place}" if place else "HARKEN_DATA is not set"
    return Finding("recordings", False, detail, needed_for, "export HARKEN_DATA=/folder/with/MANIFEST.csv")


def _disk() -> Finding:
    free_bytes = shutil.disk_usage(PROJECT_ROOT).free
    return Finding(
        "disk space",
        free_bytes >= MIN_FREE_BYTES,
        f"{free_bytes / 1e9:.1f} GB free",
        "builds and the history",
        "" if free_bytes >= MIN_FREE_BYTES else "free at least 0.5 GB",
        is_essential=True,
    )


def examine() -> list[Finding]:
    """Look for everything that Harken uses and return what was found, in the order a person would mend it."""
    checks: list[Callable[[], Finding | list[Finding]]] = [
        _python,
        lambda: _packages(
            "base packages",
            ("numpy", "cbor2", "zcbor", "tflite", "jinja2", "serial", "paho.mqtt", "soundfile", "scipy", "rich"),
            "everything",
            "",
            is_essential=True,
        ),
        lambda: _program(
            "C compiler", ["cc", "--version"], "the C core on this machine", "gcc libc6-dev", is_essential=True
        ),
        lambda: _program(
            "Arm compiler", ["arm-none-eabi-gcc", "--version"], "boards with a Cortex-M core", "gcc-arm-none-eabi"
        ),
        _newlib,
        lambda: _program(
            "QEMU for Arm", ["qemu-system-arm", "--version"], "emulated boards with a Cortex-M core", "qemu-system-arm"
        ),
        lambda: _program(
            "RISC-V compiler",
            ["riscv64-unknown-elf-gcc", "--version"],
            "boards with a RISC-V core",
            "gcc-riscv64-unknown-elf",
        ),
        _picolibc,
        lambda: _program(
            "QEMU for RISC-V",
            ["qemu-system-riscv32", "--version"],
            "emulated boards with a RISC-V core",
            "qemu-system-misc",
        ),
        lambda: _program(
            "Mosquitto", ["mosquitto", "-h"], "the broker (amqtt stands in, slower and without MQTT 5)", "mosquitto"
        ),
        lambda: _packages(
            "cloud packages",
            ("fastapi", "uvicorn", "sqlalchemy", "alembic", "fsspec", "PIL", "argon2", "apprise"),
            "harken serve",
            "cloud",
        ),
        _tflite_interpreter,
        _front_end,
        lambda: _program("Chromium", ["chromium", "--version"], "the tests of the pages", "chromium"),
        lambda: _packages("training packages", ("tensorflow", "tf_keras"), "harken train, harken quantize", "train"),
        lambda: _packages("TensorFlow Lite Micro", ("tflite_micro",), "harken eval parity", "train"),
        lambda: _packages("microphone package", ("sounddevice",), "harken listen --mic", "mic"),
        _models,
        _recordings,
        _disk,
    ]
    findings: list[Finding] = []
    for check in checks:
        found = check()
        findings.extend(found if isinstance(found, list) else [found])
    return findings


def as_json(findings: list[Finding]) -> dict[str, object]:
    """Return the findings as one JSON-ready object with what works: `demo` on each kind of board, `serve`, `train`."""
    present = {finding.name: finding.is_present for finding in findings}
    essentials = all(finding.is_present for finding in findings if finding.is_essential)
    has_cloud = present["cloud packages"] and present["TFLite interpreter"]
    return {
        "findings": [asdict(finding) for finding in findings],
        "works": {
            "demo_on_host": essentials and has_cloud,
            "demo_on_emulated_board": essentials
            and has_cloud
            and present["Arm compiler"]
            and present["newlib for Arm"]
            and present["QEMU for Arm"],
            "emulated_riscv_board": essentials
            and present["RISC-V compiler"]
            and present["picolibc for RISC-V"]
            and present["QEMU for RISC-V"],
            "serve": essentials and has_cloud,
            "train": essentials and present["training packages"] and present["recordings"],
            "parity": essentials and present["TensorFlow Lite Micro"] and present["QEMU for Arm"],
        },
    }
