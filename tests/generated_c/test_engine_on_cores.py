"""The generated engine on every core that is emulated: TFLM's answers byte for byte, and no figure that grows."""

import json
import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from edge.quantization.tflm import TflmModel
from firmware_gen.compiler import compile_whole
from tests.generated_c.vectors import extremes
from tools.bench import engine as bench
from tools.cli import main

MODELS = Path(__file__).parents[1] / "models"
BENCHMARK_MODEL = MODELS / "lstm64x2_heads8_i8.tflite"
BASELINE = json.loads((Path(bench.__file__).parent / "engine_baseline.json").read_text())["boards"]
BASELINE_GCC = "12."
GROWTH = 1.03
COUNTED_STEPS = 50  # what a step takes hardly depends on what it hears

# Instructions per step of issue 3's table, and what an engine may take of memory.
MOST_INSTRUCTIONS = {
    "mps2-an385": 150_000,
    "mps2-an386": 78_000,
    "mps2-an500": 78_000,
    "mps2-an505": 78_000,
    "mps3-an547": 17_000,
    "rv32-virt": 215_000,
}
MOST_CODE_BYTES, MOST_RAM_WITH_STACK_BYTES, MOST_CONSTANT_BYTES = 4096, 1536, 63_488

pytestmark = [pytest.mark.tflm, pytest.mark.qemu]

every_core = pytest.mark.parametrize("board", [target.board for target in bench.EMULATED])
every_form = pytest.mark.parametrize("board", ["mps2-an385", "mps2-an386", "mps3-an547", "rv32-virt"])


def target_or_skip(board: str) -> bench.Emulated:
    target = bench.find_emulated(board)
    tool = target.missing_tool()
    if tool is not None:
        pytest.skip(f"{tool} is not installed: {target.remedy}")
    return target


@cache
def inputs_and_answers(name: str) -> tuple[np.ndarray, np.ndarray]:
    """100 random steps, then what saturates states; and TFLM's answers."""
    model = TflmModel(MODELS / f"{name}.tflite")
    inputs = np.concatenate([bench.benchmark_inputs(model.input_bytes, 100), extremes(model.input_bytes)])
    return inputs, model.run(inputs)


@every_core
def test_no_figure_of_the_engine_grows(board: str) -> None:
    target = target_or_skip(board)
    figures = asdict(bench.measure(BENCHMARK_MODEL, [target], COUNTED_STEPS)[board])
    assert figures["differing_bytes"] == 0
    version = subprocess.run([target.compiler, "-dumpversion"], capture_output=True, text=True, check=True).stdout
    if not version.startswith(BASELINE_GCC):
        pytest.skip(f"the baseline was taken with GCC {BASELINE_GCC}x, this is {version.strip()}")
    grown = {
        name: (figures[name], before)
        for name, before in BASELINE[board].items()
        if name.endswith(("_bytes", "_per_step")) and figures[name] > GROWTH * before
    }
    assert not grown, f"(now, baseline): {grown}"


def test_the_baseline_keeps_to_what_an_engine_may_take() -> None:
    assert set(BASELINE) == set(MOST_INSTRUCTIONS)
    for board, figures in BASELINE.items():
        assert (figures["steps"], figures["differing_bytes"]) == (500, 0)
        assert figures["instructions_per_step"] <= MOST_INSTRUCTIONS[board]
        assert figures["code_bytes"] <= MOST_CODE_BYTES
        assert figures["constant_bytes"] <= MOST_CONSTANT_BYTES
        assert figures["ram_bytes"] + figures["stack_bytes"] <= MOST_RAM_WITH_STACK_BYTES


@every_form
@pytest.mark.parametrize("optimisation", ["-O0", "-O1", "-Os", "-O3"])
def test_the_answers_are_tflms_at_every_optimisation_level(board: str, optimisation: str, tmp_path: Path) -> None:
    target = target_or_skip(board)
    inputs, expected = inputs_and_answers(BENCHMARK_MODEL.stem)
    compiled = compile_whole(BENCHMARK_MODEL, tmp_path / "c")
    bench.build(target, compiled, inputs, tmp_path / "image", optimisation)
    run = bench.run_image(target, compiled, len(inputs), tmp_path / "image")
    assert np.array_equal(run.outputs, expected)


@every_core
def test_another_model_answers_as_tflm_does(board: str, tmp_path: Path) -> None:
    target = target_or_skip(board)
    inputs, expected = inputs_and_answers("detector_form_random_i8")
    compiled = compile_whole(MODELS / "detector_form_random_i8.tflite", tmp_path / "c")
    assert bench.measure_on(target, compiled, inputs, expected, tmp_path / "image").differing_bytes == 0


def test_the_operators_take_what_the_step_takes() -> None:
    target = target_or_skip("rv32-virt")  # its counter counts every instruction
    split = bench.split(BENCHMARK_MODEL, [target], COUNTED_STEPS)["rv32-virt"]
    assert set(split) == {"UNIDIRECTIONAL_SEQUENCE_LSTM", "FULLY_CONNECTED", "LOGISTIC", "CONCATENATION"}
    assert sum(split.values()) == pytest.approx(BASELINE["rv32-virt"]["instructions_per_step"], rel=0.01)


def test_the_command_ends_with_one_object_of_figures(capsys: pytest.CaptureFixture[str]) -> None:
    target_or_skip("mps2-an386")
    assert main(["bench", "engine", "--model", str(BENCHMARK_MODEL), "--boards", "mps2-an386", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert printed["model"] == str(BENCHMARK_MODEL)
    figures = printed["boards"]["mps2-an386"]
    assert set(figures) == set(BASELINE["mps2-an386"])
    assert (figures["core"], figures["steps"], figures["differing_bytes"]) == ("cortex-m4", 500, 0)


def test_an_unknown_board_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "--boards", "mps2-an999"]) == 1
    assert "mps2-an386" in capsys.readouterr().err
