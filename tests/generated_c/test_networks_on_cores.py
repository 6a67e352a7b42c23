"""Whole CNNs on emulated cores with the DSP extension, with MVE and with neither."""

from pathlib import Path

import numpy as np
import pytest

from firmware_gen.compiler import compile_whole
from tests.generated_c.reference import tflm_answers
from tests.generated_c.vectors import extremes
from tests.models import networks
from tools.bench import engine as bench

STEPS = 3


@pytest.mark.tflm
@pytest.mark.qemu
@pytest.mark.parametrize("board", ["mps2-an386", "mps3-an547", "rv32-virt"])
@pytest.mark.parametrize("make", [networks.cnn, networks.keyword_spotting, networks.every_cnn_operator])
def test_a_cnn_on_an_emulated_core_equals_tflm(board: str, make: networks.Make, tmp_path: Path) -> None:
    target = bench.find_emulated(board)
    tool = target.missing_tool()
    if tool is not None:
        pytest.skip(f"{tool} is not installed: {target.remedy}")
    model = make()
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    compiled = compile_whole(path, tmp_path / "c")
    random = np.random.default_rng(1).integers(-128, 128, (STEPS, compiled.input_bytes)).astype(np.int8)
    steps = np.concatenate([random, extremes(compiled.input_bytes)[::40]])
    expected = tflm_answers(model, steps).view(np.int8)
    figures = bench.measure_on(target, compiled, steps, expected, tmp_path / "image")
    assert figures.differing_bytes == 0
