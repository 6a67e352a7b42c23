"""From nothing built to the first event it is one command, and two minutes at most."""

import json

import pytest

from edge.errors import HarkenError
from tools import cli
from tools.bench.first_event import measure


def test_a_board_with_nothing_built_hears_within_two_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "first-event", "--board", "host", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "Smoke alarm" in figures["event"]
    assert 0 < figures["started_s"] <= figures["first_event_s"] < 120


def test_a_board_that_does_not_run_here_is_refused() -> None:
    with pytest.raises(HarkenError, match="esp32s3"):
        measure("esp32s3")
