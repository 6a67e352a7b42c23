"""What `harken flash` would type for each board, and that the programmers take it."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import HarkenError
from tools import cli, flash
from tools.flash.diagnosis import diagnose
from tools.flash.plan import FlashRequest


@pytest.mark.parametrize("board", flash.flash_targets())
def test_every_board_has_a_plan_before_it_is_plugged_in(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["flash", "--board", board, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert board in printed
    assert "None" not in printed


@pytest.mark.parametrize("board", ["esp32", "esp32s3", "esp32c3"])
def test_an_esp_board_is_exported_built_and_written_with_offsets_of_the_build(board: str) -> None:
    plan = flash.plan_flash(flash.load_target(board), FlashRequest(port="/dev/ttyUSB7"))
    assert [step.command[0] for step in plan.steps][1] == "idf.py"
    write = plan.steps[-1]
    assert write.command[-2:] == ("write-flash", "@flash_args")
    assert write.folder is not None
    assert write.folder.name == "build"
    assert ("--chip", board) == write.command[3:5]
    assert write.command[5:7] == ("--port", "/dev/ttyUSB7")


def test_a_project_that_is_built_is_only_written(tmp_path: Path) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "flash_args").write_text("0x0 bootloader.bin\n")
    plan = flash.plan_flash(flash.load_target("esp32"), FlashRequest(project=tmp_path))
    assert [step.is_needed() for step in plan.steps] == [False, False, True]


def test_esptool_takes_the_command_and_writes_to_no_chip_that_is_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("esptool", reason="esptool is not installed: pip install -e '.[flash]'")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "flash_args").write_text("0x0 app.bin\n")
    (tmp_path / "build" / "app.bin").write_bytes(bytes(64))
    request = FlashRequest(port=str(tmp_path / "ttyNone"), project=tmp_path)
    with pytest.raises(HarkenError, match="plug the board in again"):
        flash.run_plan(flash.plan_flash(flash.load_target("esp32s3"), request), print)
    assert "esptool v5" in capsys.readouterr().out


def test_pyocd_takes_the_command_and_says_that_no_probe_is_there(tmp_path: Path) -> None:
    pytest.importorskip("pyocd", reason="pyOCD is not installed: pip install -e '.[flash]'")
    image = tmp_path / "device.elf"
    image.write_bytes(b"\x7fELF" + bytes(60))
    target = flash.load_target("netduinoplus2")
    plan = flash.plan_flash(target, FlashRequest(image=image, probe="no-such-probe"))
    load = next(step for step in plan.steps if "load" in step.command)
    done = subprocess.run(load.command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    assert "no debug probe answers" in diagnose(done.stdout + done.stderr)


def test_a_programmer_that_cannot_flash_the_board_is_refused() -> None:
    with pytest.raises(HarkenError, match="netduinoplus2 is not flashed by esptool: use pyocd or openocd"):
        flash.plan_flash(flash.load_target("netduinoplus2"), FlashRequest(), "esptool")


def test_openocd_verifies_and_names_the_probe() -> None:
    plan = flash.plan_flash(flash.load_target("netduinoplus2"), FlashRequest(probe="066B"), "openocd")
    command = plan.steps[-1].command
    assert command[0] == "openocd"
    assert "adapter serial 066B" in command
    assert command[-1].endswith("verify reset exit")


def test_a_missing_program_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    plan = flash.plan_flash(flash.load_target("esp32"), FlashRequest(port="/dev/null"))
    with pytest.raises(HarkenError, match=r"is not installed, which is to .*"):
        flash.run_plan(plan, print)


def test_a_step_that_fails_ends_the_plan_with_its_cause() -> None:
    step = flash.Step("write the image", (sys.executable, "-c", "print('MD5 of file does not match'); exit(2)"), "-")
    never = flash.Step("never", (sys.executable, "-c", "raise SystemExit('reached')"), "-")
    plan = flash.FlashPlan(flash.load_target("esp32"), "esptool", (step, never))
    with pytest.raises(HarkenError, match="could not write the image: what was written is not what was sent"):
        flash.run_plan(plan, print)
