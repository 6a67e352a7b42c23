"""systemd units name what runs, absolutely."""

import configparser
import getpass
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import cli
from tools.broker import BrokerFolder, BrokerSettings
from tools.systemd import unit


def _parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def test_a_broker_has_a_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    BrokerFolder.create(tmp_path / "b", None, BrokerSettings("127.0.0.1", 1883, is_open=True))
    assert cli.main(["broker", "unit", str(tmp_path / "b")]) == 0
    service = _parsed(capsys.readouterr().out)["Service"]
    command = shlex.split(service["ExecStart"])
    assert command[1:] == ["broker", "start", str((tmp_path / "b").resolve())]
    assert Path(command[0]).is_absolute()
    assert service["ReadWritePaths"] == str((tmp_path / "b").resolve())


def test_a_gateway_has_a_unit_with_every_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devices = ["--device", "kitchen=serial:/dev/ttyACM0@1000000", "--device", "hall=serial:/dev/ttyACM1"]
    arguments = ["gateway", *devices, "--broker", "mqtts://broker", "--fleet", str(tmp_path), "--unit"]
    assert cli.main(arguments) == 0
    command = shlex.split(_parsed(capsys.readouterr().out)["Service"]["ExecStart"])
    assert [word for word in command if word.startswith(("kitchen", "hall"))] == [devices[1], devices[3]]
    assert str(tmp_path) in command


GATEWAY = [
    "gateway",
    "--device",
    "serial:/dev/ttyACM0",
    "--broker",
    "mqtts://broker",
    "--board",
    "mps2-an386",
    "--unit",
]


def _broker_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    BrokerFolder.create(tmp_path / "b", None, BrokerSettings("127.0.0.1", 1883, is_open=True))
    assert cli.main(["broker", "unit", str(tmp_path / "b")]) == 0
    return capsys.readouterr().out


def test_services_run_as_who_asked_and_only_the_gateway_sees_serial_ports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = _parsed(_broker_unit(tmp_path, capsys))["Service"]
    assert cli.main(GATEWAY) == 0
    text = capsys.readouterr().out
    gateway = _parsed(text)["Service"]
    assert broker["User"] == gateway["User"] == getpass.getuser()
    assert (broker["PrivateDevices"], "PrivateDevices" in gateway) == ("yes", False)
    assert re.findall(r"^DeviceAllow=char-(\w+) rw$", text, flags=re.M) == ["ttyACM", "ttyUSB", "ttyS"]
    assert shlex.split(gateway["ExecStart"])[-2:] == ["--board", "mps2-an386"]
    assert _parsed(text)["Unit"]["StartLimitIntervalSec"] == "0", "a service that alarms never gives up"


def test_what_systemd_reads_as_its_own_signs_is_escaped() -> None:
    text = unit("it", ["serve", "a%b", "$HOME"], Path("/with%percent"))
    assert "a%%b" in text
    assert "$$HOME" in text
    assert "WorkingDirectory=/with%%percent" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("service", ["broker", "gateway"])
def test_systemd_finds_nothing_wrong_with_a_unit_and_little_that_it_could_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    # The program that a unit names has to exist; where the tests run it may not be on the path.
    monkeypatch.setattr(sys, "argv", [sys.executable])
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if service == "broker":
        text = _broker_unit(tmp_path, capsys)
    else:
        assert cli.main(GATEWAY) == 0
        text = capsys.readouterr().out
    path = tmp_path / f"harken-{service}.service"
    path.write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (verified.returncode, [line for line in verified.stderr.splitlines() if path.name in line]) == (0, [])
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert judged.returncode == 0, judged.stdout[-300:]  # an exposure of 3.0 at most; without hardening it is 9.6
