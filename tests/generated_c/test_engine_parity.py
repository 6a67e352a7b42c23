"""The generated engine answers as TensorFlow Lite Micro does, byte for byte."""

from pathlib import Path

import numpy as np
import pytest

from edge.quantization.tflm import TflmModel
from firmware_gen.compiler import compile_model, compile_whole
from tests.generated_c.engines import AlignedBytes, HostEngine, open_head, score_head
from tests.generated_c.vectors import extremes
from tools.bench.engine import benchmark_inputs

MODELS = Path(__file__).parents[1] / "models"
NAMES = ("lstm64x2_heads8_i8", "detector_form_random_i8")

pytestmark = pytest.mark.tflm


def model_path(name: str) -> Path:
    return MODELS / f"{name}.tflite"


def inputs_for(width: int) -> np.ndarray:
    return np.concatenate([benchmark_inputs(width), extremes(width)])


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_model_on_the_host_equals_tflm(name: str, tmp_path: Path) -> None:
    engine = HostEngine(compile_whole(model_path(name), tmp_path / "c"), tmp_path, sanitize=True)
    inputs = inputs_for(engine.compiled.input_bytes)
    assert np.array_equal(engine.run(inputs), TflmModel(model_path(name)).run(inputs))


@pytest.mark.parametrize("name", NAMES)
def test_trunk_and_heads_apart_equal_tflm(name: str, tmp_path: Path) -> None:
    compiled = compile_model(model_path(name), tmp_path / "c", requires_front_end_input=False)
    engine = HostEngine(compiled, tmp_path, sanitize=True)
    inputs = inputs_for(compiled.input_bytes)
    expected = TflmModel(model_path(name)).run(inputs).astype(int) + 128
    trunk = engine.run(inputs)
    for column, content in enumerate(compiled.head_blobs):
        blob = AlignedBytes(content)
        status, head = open_head(engine.library, blob)
        assert status == 0
        assert np.array_equal(score_head(engine.library, head, trunk), expected[:, column])


def test_a_reset_engine_answers_as_a_new_one(tmp_path: Path) -> None:
    engine = HostEngine(compile_whole(model_path(NAMES[0]), tmp_path / "c"), tmp_path)
    inputs = benchmark_inputs(engine.compiled.input_bytes, 30)
    first = engine.run(inputs)
    assert not np.array_equal(engine.run(inputs), first), "the state must carry over"
    engine.reset()
    assert np.array_equal(engine.run(inputs), first)
