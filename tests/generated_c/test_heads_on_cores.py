"""The heads on every core that is emulated: the reference's scores byte for byte, and what eight of them take."""

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from firmware_gen.compiler import compile_model
from firmware_gen.compiler.fixed_point import Scale, requantize
from firmware_gen.compiler.heads import HeadLayers, HeadSpec, Thresholds, encode_head
from firmware_gen.compiler.ops.fully_connected import FullyConnected
from tests.generated_c.engines import HostEngine
from tests.generated_c.heads_engine import heads_engine
from tests.generated_c.vectors import extremes
from tools.bench import engine as bench

Int8Array = npt.NDArray[np.int8]

DETECTOR_FORM = Path(__file__).parents[1] / "models" / "detector_form_random_i8.tflite"
STEPS = 100
SPEC = HeadSpec("glass_break", 1, Thresholds(192, 128, 96))
# Widths of every kind: whole blocks, a block and a bit, less than four, more than a vector; one layer to four.
WIDTHS = ((64, 16, 1), (64, 1), (61, 5, 1), (16, 16, 4, 1), (1, 1), (3, 60, 1), (33, 7, 19, 2, 1), (256, 5, 1))

# Instructions a step that eight heads of 64 to 16 to 1 take (8,320 multiply-accumulates), with a hundredth to spare.
MOST_INSTRUCTIONS = {
    "mps2-an385": 30_000,
    "mps2-an386": 13_000,
    "mps2-an500": 13_000,
    "mps2-an505": 13_000,
    "mps3-an547": 7_400,
    "rv32-virt": 40_200,
}

every_core = pytest.mark.parametrize("board", [target.board for target in bench.EMULATED])


def a_layer(rng: np.random.Generator, columns: int, rows: int) -> FullyConnected:
    """A layer whose outputs fill their range, with weights and biases at the ends of theirs here and there."""
    weights = np.clip(np.rint(rng.normal(0, 60, (rows, columns))), -127, 127).astype(np.int64)
    weights[rng.random(weights.shape) < 0.05] = -127
    scales = [Scale(int(rng.integers(2**30, 2**31)), int(rng.integers(-12, -5))) for _ in range(rows)]
    scales[0] = (Scale(0, 0), Scale(2**31 - 1, 0), Scale(2**30, 2), Scale(2**30, -31), scales[0])[rng.integers(5)]
    least, greatest = ((-128, 127), (-17, 127), (-128, 40))[rng.integers(3)]
    return FullyConnected(
        weights, rng.integers(-40_000, 40_000, rows), tuple(scales), int(rng.integers(-60, 60)), least, greatest
    )


def score(layers: HeadLayers, trunk: Int8Array) -> list[int]:
    """What TensorFlow Lite Micro's arithmetic gives, in whole numbers of any size."""
    values = trunk.astype(np.int64)
    for layer in layers.layers:
        sums = values @ layer.weights.T + layer.bias
        rows = [[requantize(int(v), s) for v, s in zip(row, layer.scales, strict=True)] for row in sums]
        values = np.clip(np.array(rows) + layer.zero_point, layer.least, layer.greatest)
    return [layers.scores[value + 128] for value in values[:, 0].tolist()]


def a_head(widths: tuple[int, ...], seed: int) -> HeadLayers:
    rng = np.random.default_rng(seed)
    layers = tuple(a_layer(rng, *pair) for pair in itertools.pairwise(widths))
    return HeadLayers(layers, tuple(rng.permutation(256).tolist()))


def inputs_of(width: int) -> Int8Array:
    return np.concatenate([bench.benchmark_inputs(width, STEPS), extremes(width)[::7]])


def target_or_skip(board: str) -> bench.Emulated:
    target = bench.find_emulated(board)
    tool = target.missing_tool()
    if tool is not None:
        pytest.skip(f"{tool} is not installed: {target.remedy}")
    return target


@pytest.mark.parametrize("widths", WIDTHS)
def test_heads_of_any_shape_score_as_the_reference_on_the_host(widths: tuple[int, ...], tmp_path: Path) -> None:
    heads = [a_head(widths, seed) for seed in range(20)]
    inputs = inputs_of(widths[0])
    blobs = [encode_head(head, SPEC, bytes(8)) for head in heads]
    engine = HostEngine(heads_engine(blobs, widths[0], tmp_path / "c"), tmp_path, sanitize=True, more=())
    assert np.array_equal(engine.run(inputs).view(np.uint8).T, [score(head, inputs) for head in heads])


@pytest.mark.qemu
@every_core
@pytest.mark.parametrize("widths", WIDTHS)
def test_heads_of_any_shape_score_as_the_reference_on_a_core(
    board: str, widths: tuple[int, ...], tmp_path: Path
) -> None:
    target = target_or_skip(board)
    heads = [a_head(widths, seed) for seed in range(20)]
    inputs = inputs_of(widths[0])
    engine = heads_engine([encode_head(head, SPEC, bytes(8)) for head in heads], widths[0], tmp_path / "c")
    expected = np.array([score(head, inputs) for head in heads]).T.astype(np.uint8).view(np.int8)
    assert bench.measure_on(target, engine, inputs, expected, tmp_path / "image").differing_bytes == 0


@pytest.mark.qemu
@every_core
def test_eight_heads_take_no_more_than_they_did(board: str, tmp_path: Path) -> None:
    target = target_or_skip(board)
    compiled = compile_model(DETECTOR_FORM, tmp_path / "model")
    engine = heads_engine(compiled.head_blobs, compiled.output_bytes, tmp_path / "c")
    inputs = bench.benchmark_inputs(compiled.output_bytes, STEPS)
    expected = HostEngine(engine, tmp_path, more=()).run(inputs)
    figures = bench.measure_on(target, engine, inputs, expected, tmp_path / "image")
    assert figures.differing_bytes == 0
    assert figures.instructions_per_step <= MOST_INSTRUCTIONS[board]
