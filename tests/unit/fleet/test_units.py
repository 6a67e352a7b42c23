"""systemd units name what runs, absolutely."""

import configparser
import shlex
from pathlib import Path

import pytest

from tools import cli
from tools.broker import BrokerFolder, BrokerSettings


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
