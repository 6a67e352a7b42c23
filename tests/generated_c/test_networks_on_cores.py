"""Whole CNNs on emulated cores with the DSP extension, with MVE and with neither."""

from pathlib import Path

import numpy as np
import pytest

from firmware_gen.compiler import compile_whole
from tests.generated_c.reference import tflm_answers
from tests.generated_c.test_cnn_operator_parity import CONVOLUTIONS, DEPTHWISE, convolution
from tests.generated_c.vectors import extremes
from tests.models import networks
from tools.bench import engine as bench

STEPS = 3


every_form = pytest.mark.parametrize("board", ["mps2-an386", "mps3-an547", "rv32-virt"])
# Rows and columns that are no whole blocks, an odd last row, a group's own rows, channels beyond the last four.
UNEVEN = (
    ("CONV_2D", "3x3 same"),
    ("CONV_2D", "groups"),
    ("CONV_2D", "pointwise, relu6"),
    ("DEPTHWISE_CONV_2D", "one point"),
)


def check(board: str, model: bytes, tmp_path: Path) -> None:
    target = bench.find_emulated(board)
    tool = target.missing_tool()
    if tool is not None:
        pytest.skip(f"{tool} is not installed: {target.remedy}")
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    compiled = compile_whole(path, tmp_path / "c")
    random = np.random.default_rng(1).integers(-128, 128, (STEPS, compiled.input_bytes)).astype(np.int8)
    steps = np.concatenate([random, extremes(compiled.input_bytes)[::40]])
    expected = tflm_answers(model, steps).view(np.int8)
    figures = bench.measure_on(target, compiled, steps, expected, tmp_path / "image")
    assert figures.differing_bytes == 0


@pytest.mark.tflm
@pytest.mark.qemu
@every_form
@pytest.mark.parametrize("make", [networks.cnn, networks.keyword_spotting, networks.every_cnn_operator])
def test_a_cnn_on_an_emulated_core_equals_tflm(board: str, make: networks.Make, tmp_path: Path) -> None:
    check(board, make(), tmp_path)


@pytest.mark.tflm
@pytest.mark.qemu
@every_form
@pytest.mark.parametrize(("kind", "name"), UNEVEN)
def test_a_convolution_of_uneven_shape_on_an_emulated_core_equals_tflm(
    board: str, kind: str, name: str, tmp_path: Path
) -> None:
    check(board, convolution(kind, {**CONVOLUTIONS, **DEPTHWISE}[name], least_weight=-127), tmp_path)
