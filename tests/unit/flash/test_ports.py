"""Finding a board among serial ports, and ports that cannot be had."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import HarkenError
from tools import cli, flash
from tools.flash.diagnosis import diagnose
from tools.flash.image import check_image
from tools.flash.usb import check_usable

# Files that are there, that may be read and written, and that nobody holds.
USABLE, ALSO_USABLE = str(Path(__file__)), str(Path(__file__).with_name("test_plan.py"))

S3 = flash.load_target("esp32s3")
OWN = flash.SerialPort(USABLE, 0x303A, 0x1001, "AA:01", "USB JTAG")
BRIDGE = flash.SerialPort(ALSO_USABLE, 0x10C4, 0xEA60, "0001", "CP2102N")
OTHER = flash.SerialPort("/dev/ttyS9")


def test_the_one_port_that_fits_is_taken() -> None:
    assert flash.find_port(S3, ports=[OTHER, OWN]) == OWN


def test_two_boards_are_told_apart_by_serial_number_only() -> None:
    with pytest.raises(HarkenError, match=r"several ports may be esp32s3: .*AA:01.*: choose one with --port"):
        flash.find_port(S3, ports=[OWN, BRIDGE])
    assert flash.find_port(S3, serial_number="0001", ports=[OWN, BRIDGE]) == BRIDGE


def test_a_board_that_is_not_there_is_looked_for_by_name() -> None:
    with pytest.raises(HarkenError, match=r"no esp32s3 is plugged in \(looked for 303a:1001 .*here: /dev/ttyS9\)"):
        flash.find_port(S3, ports=[OTHER])


def test_a_port_that_was_named_is_taken_whatever_it_is() -> None:
    assert flash.find_port(S3, USABLE, ports=[]).device == USABLE
    with pytest.raises(HarkenError, match="there is no port /dev/ttyNone"):
        flash.find_port(S3, "/dev/ttyNone", ports=[])


def test_who_holds_a_port_is_named() -> None:
    ours, theirs = pty.openpty()
    name = os.ttyname(theirs)
    holder = subprocess.Popen(
        [sys.executable, "-c", f"f = open({name!r}, 'rb'); print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(HarkenError, match=rf"{name} is in use by python.* \(process {holder.pid}\)"):
            check_usable(name)
    finally:
        holder.kill()
        holder.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may use every port")
def test_a_forbidden_port_points_to_the_udev_rules(tmp_path: Path) -> None:
    port = tmp_path / "tty"
    port.touch(0o000)
    with pytest.raises(HarkenError, match=r"no permission.*harken flash --udev-rules"):
        check_usable(str(port))


def test_udev_rules_cover_every_id_of_every_board_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["flash", "--udev-rules"]) == 0
    rules = capsys.readouterr().out
    ids = {str(usb) for board in flash.flash_targets() for usb in flash.load_target(board).usb}
    assert len(ids) >= 8
    for usb in ids:
        vendor, product = usb.split(":")
        assert rules.count(f'ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}"') == 1


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("A fatal error occurred: This chip is ESP32-S3, not ESP32. Wrong chip argument?", "the board is an ESP32-S3"),
        ("Could not open /dev/ttyUSB0, the port is busy or doesn't exist.\n[Errno 13] Permission denied", "udev rules"),
        ("Could not open /dev/ttyACM0, the port is busy", "another program"),
        ("Failed to connect to ESP32: No serial data received.", "hold BOOT"),
        ("0001323 E No target device available [load_cmd]", "no debug probe"),
        ("Error: open failed", "no debug probe"),
        ("Error: init mode failed (unable to connect to the target)", "SWDIO"),
        ("MD5 of file does not match data in flash!", "flash again"),
        ("A fatal error occurred: something new", "esptool says: something new"),
        ("a line\n last line\n", "its last words were 'last line'"),
        ("", "its last words were 'nothing'"),
    ],
)
def test_what_a_programmer_says_becomes_cause_and_remedy(said: str, meaning: str) -> None:
    assert meaning in diagnose(said)


def test_an_image_of_another_board_is_refused(tmp_path: Path) -> None:
    target = flash.load_target("netduinoplus2")
    image = tmp_path / "device.elf"
    with pytest.raises(HarkenError, match="there is no image"):
        check_image(target, image)
    image.write_bytes(b"\xe9" * 100)
    with pytest.raises(HarkenError, match="no ELF file"):
        check_image(target, image)
    header = b"\x7fELF" + bytes(14) + (243).to_bytes(2, "little") + bytes(40)
    image.write_bytes(header + b"\0esp32c3\0")
    with pytest.raises(HarkenError, match="RISC-V image of another board than netduinoplus2"):
        check_image(target, image)
    image.write_bytes(header + b"\0netduinoplus2\0")
    check_image(target, image)


def test_an_emulated_board_is_flashed_by_starting_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["flash", "--board", "host", "--once"]) == 0
    assert "host answers: Harken" in capsys.readouterr().out
