"""The export command: what it refuses, what it says, and boards that only their SDK builds."""

from pathlib import Path

import pytest

from edge.errors import HarkenError
from firmware_gen.board import board_names, load_board, sdk_board_names
from firmware_gen.build import build_image
from firmware_gen.sdk import export_project
from tools.cli import main


def test_boards_of_sdks_are_listed_beside_those_built_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["firmware", "boards"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == board_names() + sdk_board_names()
    assert {"host", "mps2-an386", "esp32", "esp32s3", "esp32c3"} <= set(listed)


@pytest.mark.parametrize("board", sdk_board_names())
def test_building_a_board_of_an_sdk_names_the_command_that_exports_it(board: str) -> None:
    for build in (load_board, build_image):
        with pytest.raises(HarkenError, match=rf"harken firmware export --sdk \S+ --board {board} --out"):
            build(board)


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(HarkenError, match="not empty and no earlier export"):
        export_project("esp-idf", "esp32", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("sdk", "board", "message"),
    [
        ("esp-idf", "mps2-an386", "ESP-IDF does not build mps2-an386: use esp32"),
        ("esp-idf", "toaster", "there is no board 'toaster'"),
        ("cmsis", "esp32", "no Cortex-M core"),
        ("zephyr", "host", "no Cortex-M core"),
    ],
)
def test_a_board_that_the_sdk_does_not_build_is_refused(tmp_path: Path, sdk: str, board: str, message: str) -> None:
    with pytest.raises(HarkenError, match=message):
        export_project(sdk, board, tmp_path / "out")  # type: ignore[arg-type]


@pytest.mark.tflm
def test_the_command_says_what_was_checked_and_what_was_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["firmware", "export", "--sdk", "esp-idf", "--board", "esp32c3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "TFLM's arena: " in printed
    assert "idf.py set-target esp32c3" in printed
    assert "not built here" in printed
    assert "rv32imc" in printed
    assert "not built" in (out / "README.md").read_text().lower()
