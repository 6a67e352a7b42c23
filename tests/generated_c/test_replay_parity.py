"""Front end, trunk and heads: the virtual device, the emulated board and TFLM hear the same sound alike."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tools.bench.parity import measure, sound

DETECTOR_FORM = Path(__file__).parents[1] / "models" / "detector_form_random_i8.tflite"
STEPS = 900


@pytest.mark.qemu
@pytest.mark.tflm
def test_host_board_and_tflm_agree_on_the_ends_of_the_range_and_a_scene() -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("arm-none-eabi-gcc or qemu-system-arm is not installed")
    result = measure(STEPS, DETECTOR_FORM)
    assert result.engines == ("host", "mps2-an386", "tflm")
    assert result.steps == STEPS
    assert result.differing_bytes == 0, result.first_differences


def test_the_sound_is_the_same_every_time_and_reaches_both_ends() -> None:
    first = sound(500)
    assert np.array_equal(first, sound(500))
    assert (first.min(), first.max(), len(first)) == (-32768, 32767, 500 * 320)
