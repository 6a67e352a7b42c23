"""Front end, trunk and heads: the virtual device, the emulated board and TFLM hear the same sound alike."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edge.errors import HarkenError
from firmware_gen.board import load_board, local_boards
from firmware_gen.build import build_image
from tools.bench.parity import ALL, TFLM, ReplayEngine, measure, sound

MODELS = Path(__file__).parents[1] / "models"
DETECTOR_FORM = MODELS / "detector_form_random_i8.tflite"
TONES = MODELS / "tones.tflite"
STEPS = 900
FEW_STEPS = 200


@pytest.mark.qemu
@pytest.mark.tflm
def test_host_board_and_tflm_agree_on_the_ends_of_the_range_and_a_scene() -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("arm-none-eabi-gcc or qemu-system-arm is not installed")
    result = measure(STEPS, DETECTOR_FORM)
    assert result.engines == ("host", "mps2-an386", "tflm")
    assert result.steps == STEPS
    assert result.differing_bytes == 0, result.first_differences


@pytest.mark.qemu
@pytest.mark.tflm
def test_every_board_that_runs_here_agrees_with_the_host_and_tflm() -> None:
    here = [board.name for board in local_boards() if not board.missing_tools()]
    if len(here) < 2:
        pytest.skip("no emulated board has its tools: make setup installs them")
    result = measure(FEW_STEPS, TONES, ALL)
    assert result.engines == (*here, TFLM)
    assert result.engines[0] == "host"
    assert result.differing_bytes == 0, result.first_differences


@pytest.mark.qemu
@pytest.mark.tflm
def test_pieces_of_any_length_and_a_state_saved_and_restored_change_nothing() -> None:
    here = [board.name for board in local_boards() if not board.missing_tools()]
    result = measure(FEW_STEPS, DETECTOR_FORM, ALL, seed=3)
    assert result.engines == ("host", *(f"{name} in pieces" for name in here), TFLM)
    assert result.compared_bytes == FEW_STEPS * (len(here) * (80 + 8) + 8)
    assert result.differing_bytes == 0, result.first_differences


def test_the_program_is_told_the_seed_and_refuses_one_that_it_cannot_draw_from() -> None:
    engine = ReplayEngine(load_board("host"), build_image("host", TONES, app="replay"), seed=0)
    with pytest.raises(HarkenError, match=r"usage: replay IN OUT \[EVENTS \[SEED\]\]"):
        engine.hear(sound(1))


@pytest.mark.parametrize("seed", [0, -1, 2**32 - 1])
def test_a_seed_that_the_device_cannot_take_is_refused(seed: int) -> None:
    with pytest.raises(HarkenError, match="out of range: give 1 to 4294967294"):
        measure(1, TONES, ("host",), seed)


def test_one_engine_alone_is_no_comparison() -> None:
    for engines in (("host",), ("host", "host"), (TFLM,)):
        with pytest.raises(HarkenError, match="nothing to compare"):
            measure(1, TONES, engines)


def test_the_sound_is_the_same_every_time_and_reaches_both_ends() -> None:
    first = sound(500)
    assert np.array_equal(first, sound(500))
    assert (first.min(), first.max(), len(first)) == (-32768, 32767, 500 * 320)
