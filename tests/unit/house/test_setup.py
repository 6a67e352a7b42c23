"""`tools/setup.sh` and `harken doctor` say what is missing and what still works."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import doctor
from tools.cli import main

ROOT = Path(__file__).resolve().parents[3]
SHELL_TOOLS = ["sh", "dirname", "cat", "cksum", "cut", "ls", "id", "mktemp", "rm", "touch", "tail", "uname", "env"]
BASE = [*SHELL_TOOLS, "cc"]


def path_with(folder: Path, names: list[str]) -> str:
    for name in names:
        found = shutil.which(name)
        if found is not None and not (folder / name).exists():
            (folder / name).symlink_to(found)
    # the interpreter itself: what PATH has may be a version manager's script, which needs more than this PATH
    (folder / "python3.11").symlink_to(Path(sys.executable).resolve())
    return str(folder)


def run_setup(tmp_path: Path, names: list[str], *args: str) -> subprocess.CompletedProcess[str]:
    # a copy without a virtual environment, and a pip that cannot reach anything: only the messages matter here
    tree = tmp_path / "tree"
    (tree / "tools").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "tools/setup.sh"):
        shutil.copy(ROOT / name, tree / name)
    environment = {
        "PATH": path_with(tmp_path, names),
        "HARKEN_NO_APT": "1",
        "HOME": str(tmp_path),
        "PIP_NO_INDEX": "1",
    }
    return subprocess.run(
        ["sh", str(tree / "tools/setup.sh"), *args], env=environment, capture_output=True, text=True, check=False
    )


def test_without_an_emulator_set_up_names_the_board_that_still_works(tmp_path: Path) -> None:
    done = run_setup(tmp_path, BASE, "demo", "mps2-an386")
    assert done.returncode == 1
    assert "qemu-system-arm" in done.stdout
    assert "gcc-arm-none-eabi" in done.stdout
    assert "make demo BOARD=host" in done.stdout
    assert "riscv" not in done.stdout  # only the whole set-up, and its own board, have it


def test_a_riscv_board_needs_its_own_tools_alone(tmp_path: Path) -> None:
    done = run_setup(tmp_path, BASE, "demo", "rv32-virt")
    assert done.returncode == 1
    assert "qemu-system-misc gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf" in done.stdout
    assert "arm" not in done.stdout
    assert "make demo BOARD=host" in done.stdout


def test_the_whole_set_up_wants_the_tools_of_every_board(tmp_path: Path) -> None:
    done = run_setup(tmp_path, SHELL_TOOLS, "full")  # without a C compiler it stops after this list
    missing = next(line for line in done.stdout.splitlines() if "still missing" in line)
    for package in ("qemu-system-arm", "qemu-system-misc", "gcc-riscv64-unknown-elf", "picolibc-riscv64-unknown-elf"):
        assert package in missing


def test_without_a_compiler_set_up_stops_and_says_so(tmp_path: Path) -> None:
    done = run_setup(tmp_path, [name for name in BASE if name != "cc"], "demo", "host")
    assert done.returncode == 1
    assert "C compiler" in done.stderr


def test_doctor_names_a_remedy_for_each_thing_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("HARKEN_DATA", raising=False)
    status = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    missing = {finding["name"] for finding in report["findings"] if not finding["is_present"]}
    assert {"C compiler", "Arm compiler", "QEMU for Arm", "RISC-V compiler", "recordings"} <= missing
    assert all(finding["remedy"] for finding in report["findings"] if not finding["is_present"])
    assert status == 1
    assert not report["works"]["demo_on_host"]


def test_doctor_prints_a_table_a_person_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    printed = capsys.readouterr().out
    assert "What works here" in printed
    assert len(doctor.examine()) > 10
