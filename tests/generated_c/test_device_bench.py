"""`harken bench device`: counts the device's audio path by part, and no figure of it grows."""

import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge.errors import HarkenError
from firmware_gen.board import Board, load_board
from firmware_gen.build import build_image
from tools.bench import device as bench
from tools.cli import main

TONES = Path(__file__).parents[1] / "models" / "tones.tflite"
BASELINE_GCC = "12."
GROWTH = 1.03
# A part this small moves by more than that when the linker lays things out anew.
LEAST_PART = 50_000

SECOND = 16_000


def board_or_skip(name: str) -> Board:
    board = load_board(name)
    if board.missing_tools():
        pytest.skip(f"{', '.join(board.missing_tools())} not found: {board.toolchain.remedy}")
    return board


def counted(figures: bench.Figures) -> dict[str, int]:
    return {
        "a second": figures.instructions_per_audio_second,
        "the worst second": figures.worst_audio_second,
        "a cadence analysis": figures.cadence_analysis.instructions,
        "the worst cadence analysis": figures.cadence_analysis.worst_instructions,
        "flash": figures.flash_bytes,
        "RAM": figures.ram_bytes,
        **figures.split,
    }


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["mps2-an386", "mps3-an547"])
def test_no_figure_of_the_device_grows(name: str) -> None:
    board = board_or_skip(name)
    compiler = [board.toolchain.compiler, "-dumpversion"]
    version = subprocess.run(compiler, capture_output=True, text=True, check=True).stdout.strip()
    if not version.startswith(BASELINE_GCC):
        pytest.skip(f"the baseline was taken with GCC {BASELINE_GCC}x, this is {version}")
    table = json.loads(bench.BASELINE.read_text())[name]
    before = counted(bench.Figures(**{**table, "cadence_analysis": bench.CadenceAnalysis(**table["cadence_analysis"])}))
    now = counted(bench.measure(board))
    assert set(now) == set(before)
    grown = {what: (now[what], before[what]) for what in now if now[what] > max(GROWTH * before[what], LEAST_PART)}
    assert not grown, f"(now, baseline): {grown}; where it is meant: harken bench device --write-baseline"


def test_the_baseline_has_every_emulated_board_and_its_parts_add_up() -> None:
    baseline = json.loads(bench.BASELINE.read_text())
    assert set(baseline) == {board.name for board in bench.local_boards() if board.run.runner == "qemu"}
    for figures in baseline.values():
        assert sum(figures["split"].values()) == figures["instructions_per_audio_second"]
        assert figures["worst_audio_second"] >= figures["instructions_per_audio_second"]


@pytest.mark.qemu
def test_the_command_ends_with_one_object_of_figures(capsys: pytest.CaptureFixture[str]) -> None:
    board = board_or_skip("mps2-an386")
    assert main(["bench", "device", "--model", str(TONES), "--boards", board.name, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    figures = printed["boards"][board.name]
    parts = {"front_end", "engine", "heads", "tracker", "fingerprint", "clip_ring", "cadence_history", "other"}
    assert set(figures["split"]) == parts
    assert sum(figures["split"].values()) == figures["instructions_per_audio_second"]
    # What is left over is the listener's own work, not what a look at the clock costs or a part lost.
    assert 0 < figures["split"]["other"] < 0.05 * figures["instructions_per_audio_second"]
    image = build_image(board, TONES)
    assert (figures["flash_bytes"], figures["ram_bytes"]) == (image.flash_bytes, image.ram_bytes)


@pytest.mark.qemu
def test_an_alarm_is_analysed_and_silence_is_not() -> None:
    board = board_or_skip("mps2-an386")
    alarm = bench.sound()[14 * SECOND :][: 10 * SECOND]
    silence = bench.measure(board, TONES, np.zeros(6 * SECOND, np.int16)).cadence_analysis
    assert (silence.instructions, silence.analyses) == (0, 0)
    assert bench.measure(board, None, alarm).cadence_analysis.analyses > 0


def run(names: tuple[str, ...], steps: list[float], parts: list[list[float]], calls: list[list[int]]) -> bench.Run:
    nested = np.zeros((len(steps), len(names)), np.int64)
    nested[:, 0] = np.array(calls).sum(axis=1)
    return bench.Run(names, np.array(steps), np.array(parts), np.array(calls), nested, nothing=10.0, nothing_inside=0.0)


NAMES = ("other", "engine", "cadence_analysis", "nothing")


def two_seconds(calls: list[int]) -> tuple[bench.Run, bench.Run]:
    """100 steps of 1,000 instructions, 600 the engine's; every tenth with an analysis of 400 on top.

    A look costs 60: 20 inside the part that is called, 40 in its caller.
    """
    is_analysis = [step % 10 == 0 for step in range(100)]
    steps = [1400.0 if analysed else 1000.0 for analysed in is_analysis]
    none = [[0.0] * 4] * 100
    whole = run(NAMES, steps, none, [[0] * 4] * 100)
    every_call = [[0, calls[0], calls[1] * analysed, 0] for analysed in is_analysis]
    parts = [[480.0 if a else 440.0, 620.0, 420.0 if a else 0.0, 0.0] for a in is_analysis]
    split = dataclasses.replace(run(NAMES, steps, parts, every_call), nothing=70.0, nothing_inside=20.0)
    return whole, split


def test_what_looking_costs_is_taken_off_and_analyses_stand_apart() -> None:
    figures = bench.add_up(*two_seconds([1, 1]), flash_bytes=3, ram_bytes=4)
    assert figures.instructions_per_audio_second == 50_000
    assert figures.split == {"engine": 30_000, "other": 20_000}
    assert figures.worst_audio_second == 52_000
    assert figures.cadence_analysis == bench.CadenceAnalysis(400, 400, 10)
    assert (figures.flash_bytes, figures.ram_bytes) == (3, 4)


def test_a_part_that_nothing_calls_is_no_part_of_the_sum() -> None:
    with pytest.raises(HarkenError, match=r"nothing calls engine from another file.*wrap\.c"):
        bench.add_up(*two_seconds([0, 1]), flash_bytes=0, ram_bytes=0)


def test_less_than_a_second_is_refused() -> None:
    with pytest.raises(HarkenError, match="less than a second"):
        bench.measure(load_board("mps2-an386"), TONES, np.zeros(SECOND - 1, np.int16))


def test_the_host_cannot_be_counted_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "device", "--boards", "host"]) == 1
    assert "instructions are not counted: name an emulated board" in capsys.readouterr().err


def test_another_model_s_figures_make_no_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "device", "--model", str(TONES), "--write-baseline"]) == 1
    assert "leave out --model" in capsys.readouterr().err


def test_a_baseline_keeps_the_boards_that_were_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BASELINE", tmp_path / "baseline.json")
    figures = bench.add_up(*two_seconds([1, 1]), flash_bytes=3, ram_bytes=4)
    bench.write_baseline({"a": figures, "b": figures})
    bench.write_baseline({"b": dataclasses.replace(figures, flash_bytes=5)})
    written = json.loads((tmp_path / "baseline.json").read_text())
    assert (written["a"]["flash_bytes"], written["b"]["flash_bytes"]) == (3, 5)
