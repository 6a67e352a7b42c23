"""A small fleet whose connections are cut all the time loses nothing."""

import json

import pytest

from cloud.broker import find_mosquitto
from tools import cli


@pytest.mark.mosquitto
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed: sudo apt-get install mosquitto")
def test_devices_whose_connections_are_cut_lose_no_trigger(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--devices", "12", "--seconds", "90", "--speed", "10", "--cut-every", "4", "--workers", "2"]
    assert cli.main(["sim", "fleet", *arguments, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["audio_s"] >= 12 * 89
    assert figures["triggers"] >= 5
    assert figures["cuts"] >= 5
    assert figures["connections"] > figures["cuts"]
    assert (figures["lost"], figures["pending"]) == (0, 0)
    assert figures["stored"] == figures["receipted"] == figures["triggers"]
    assert 0 < figures["times_real_time"] <= 10.01


def test_a_plan_that_cannot_be_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sim", "fleet", "--devices", "0"]) == 1
    assert "ask for 1 to 10,000" in capsys.readouterr().err
    assert cli.main(["sim", "fleet", "--devices", "2", "--workers", "3"]) == 1
    assert "3 workers cannot share 2 devices" in capsys.readouterr().err
    assert cli.main(["sim", "fleet", "--speed", "0"]) == 1
    assert "more than 0" in capsys.readouterr().err
