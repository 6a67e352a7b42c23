"""From a board and a model to an image."""

import dataclasses
import json
from pathlib import Path

import pytest

from edge.errors import HarkenError
from firmware_gen.board import board_names, load_board
from firmware_gen.build import build_host_library, build_image
from tools.commands import firmware

TONES = Path(__file__).parents[1] / "models" / "tones.tflite"


def test_boards_are_found_by_their_folders() -> None:
    assert {"host", "mps2-an386"} <= set(board_names())


def test_an_unknown_board_is_answered_with_those_that_exist() -> None:
    with pytest.raises(HarkenError, match=r"'toaster'.*mps2-an386"):
        load_board("toaster")


@pytest.mark.qemu
def test_the_image_keeps_to_the_issue_s_limits() -> None:
    image = build_image("mps2-an386", TONES)
    assert 50_000 < image.flash_bytes < 256 * 1024
    assert 80_000 < image.ram_bytes <= 96 * 1024
    assert image.bin is not None
    assert image.bin.stat().st_size == image.flash_bytes


@pytest.mark.qemu
def test_an_image_that_does_not_fit_says_by_how_much_and_what_is_largest() -> None:
    fitting = build_image("mps2-an386", TONES)
    board = load_board("mps2-an386")
    assert board.memory is not None
    small = dataclasses.replace(board, memory=dataclasses.replace(board.memory, ram_bytes=64 * 1024))
    with pytest.raises(HarkenError) as refusal:
        build_image(small, TONES)
    message = str(refusal.value)
    assert f"{fitting.ram_bytes - 64 * 1024:,} B too much for its 65,536 B of RAM" in message
    assert ".bss" in message
    assert "app" in message  # the symbol that takes it
    assert "\n" not in message
    assert fitting.elf.is_file()  # what fitted before is still there


def test_a_second_build_compiles_and_links_nothing() -> None:
    image = build_image("host", TONES)
    before = {path: path.stat().st_mtime_ns for path in image.elf.parent.rglob("*") if path.suffix in {"", ".o"}}
    assert build_image("host", TONES) == image
    after = {path: path.stat().st_mtime_ns for path in image.elf.parent.rglob("*") if path.suffix in {"", ".o"}}
    # The lock is opened anew each time; everything else stays as it is.
    assert {k: v for k, v in before.items() if k.name != ".lock"} == {
        k: v for k, v in after.items() if k.name != ".lock"
    }


def test_a_missing_compiler_is_named_with_its_remedy(tmp_path: Path) -> None:
    board = load_board("mps2-an386")
    toolchain = dataclasses.replace(board.toolchain, compiler="no-such-gcc")
    with pytest.raises(HarkenError, match=r"no-such-gcc, which is not installed: .*gcc-arm-none-eabi"):
        build_image(dataclasses.replace(board, toolchain=toolchain), TONES, out_dir=tmp_path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(HarkenError, match=r"no model at .*nothing\.tflite"):
        build_image("host", tmp_path / "nothing.tflite")


def test_a_board_is_no_library() -> None:
    with pytest.raises(HarkenError, match="host"):
        build_image("mps2-an386", TONES, app="library")


def test_the_host_library_is_a_shared_object() -> None:
    assert build_host_library(TONES).read_bytes()[:4] == b"\x7fELF"


def test_the_command_ends_with_json_of_what_it_built(capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    firmware.register(parser.add_subparsers())
    args = parser.parse_args(["firmware", "build", "--board", "host", "--model", str(TONES), "--json"])
    assert args.func(args) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["board"] == "host"
    assert Path(figures["elf"]).is_file()
    assert figures["flash_bytes"] > 50_000
