"""`harken train` and `harken quantize`: one clear line where something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.dataset.manifest import DATA_VARIABLE
from tests import made_recordings
from tools import cli


@pytest.mark.parametrize("command", [["train", "--stage", "detector"], ["quantize", "--model", "verifier"]])
def test_without_recordings_one_line_says_what_to_name(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    assert cli.main(command) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert DATA_VARIABLE in lines[0]
    assert "--data" in lines[0]


@pytest.mark.train
def test_quantizing_before_training_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorflow")
    folder = made_recordings.make_folder(tmp_path)
    assert cli.main(["quantize", "--model", "detector", "--data", str(folder), "--work-dir", str(tmp_path)]) == 1
    assert "harken train --stage detector" in capsys.readouterr().err
