"""Whole CNNs on the emulated Cortex-M4, whose kernels multiply four values at a time."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from firmware_gen.compiler import compile_whole
from tests.generated_c.cortex_m4 import run_on_cortex_m4
from tests.generated_c.reference import tflm_answers
from tests.generated_c.vectors import extremes
from tests.models import networks

STEPS = 4


@pytest.mark.tflm
@pytest.mark.qemu
@pytest.mark.parametrize("make", [networks.cnn, networks.keyword_spotting, networks.every_cnn_operator])
def test_a_cnn_on_a_cortex_m4_equals_tflm(make: networks.Make, tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("arm-none-eabi-gcc or qemu-system-arm is not installed")
    model = make()
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    compiled = compile_whole(path, tmp_path / "c")
    random = np.random.default_rng(1).integers(-128, 128, (STEPS, compiled.input_bytes)).astype(np.int8)
    steps = np.concatenate([random, extremes(compiled.input_bytes)[::40]])
    run = run_on_cortex_m4(compiled, steps, tmp_path)
    assert np.array_equal(run.outputs.view(np.uint8), tflm_answers(model, steps))
