"""Every operator, alone and at many quantisations, answers as TensorFlow Lite Micro does, byte for byte."""

from pathlib import Path

import numpy as np
import pytest
import tflite

from edge.quantization.tflm import TflmModel
from firmware_gen.compiler import compile_whole
from firmware_gen.compiler.fixed_point import quantize_multiplier, requantize
from tests.generated_c.engines import HostEngine
from tests.generated_c.vectors import extremes
from tests.models.tflite_writer import ModelWriter
from tools.bench import engine as bench

pytestmark = pytest.mark.tflm

ALL_INT8 = np.arange(-128, 128).astype(np.int8).reshape(-1, 1)


def check(model: bytes, inputs: np.ndarray, folder: Path) -> None:
    """Compare host engine (with the sanitizer) and TFLM on int8[steps, n]."""
    path = folder / "model.tflite"
    path.write_bytes(model)
    expected = TflmModel(path).run(inputs)
    engine = HostEngine(compile_whole(path, folder / "c"), folder, sanitize=True)
    assert np.array_equal(engine.run(inputs), expected)
    assert len(np.unique(expected)) > 1, "the vectors must move the output"


def int8_weights(rng: np.random.Generator, shape: tuple[int, ...], least: int = -127) -> np.ndarray:
    return rng.integers(least, 128, shape).astype(np.int8)


@pytest.mark.parametrize(
    ("scale", "zero_point"), [(0.0004, -7), (0.0117, 127), (0.0452, -128), (0.11, 11), (0.5, 0), (1.0, -3), (3.3, 2)]
)
def test_logistic(scale: float, zero_point: int, tmp_path: Path) -> None:
    w = ModelWriter()
    source, target = (
        w.tensor((1, 1), scale=scale, zero_point=zero_point),
        w.tensor((1, 1), scale=1 / 256, zero_point=-128),
    )
    w.add("LOGISTIC", [source], [target])
    check(w.finish([source], [target]), ALL_INT8, tmp_path)


@pytest.mark.parametrize("kind", ["QUANTIZE", "RELU"])
@pytest.mark.parametrize(
    ("scales", "zero_points"),
    [
        ((0.02, 0.031), (3, -11)),
        ((0.5, 0.011), (-100, 100)),
        ((0.25, 0.5), (0, 0)),
        ((0.323, 0.076), (0, -128)),
        ((1.0, 1.0), (5, -90)),
    ],
)
def test_a_change_of_quantisation(
    kind: str, scales: tuple[float, float], zero_points: tuple[int, int], tmp_path: Path
) -> None:
    w = ModelWriter()
    source = w.tensor((1, 1), scale=scales[0], zero_point=zero_points[0])
    target = w.tensor((1, 1), scale=scales[1], zero_point=zero_points[1])
    w.add(kind, [source], [target])
    check(w.finish([source], [target]), ALL_INT8, tmp_path)


@pytest.mark.parametrize(
    ("activation", "is_per_row", "gain"),
    [
        ("NONE", False, 0.2),
        ("NONE", True, 5.0),
        ("RELU", True, 0.2),
        ("RELU6", False, 5.0),
        ("RELU_N1_TO_1", True, 1.0),
    ],
)
@pytest.mark.parametrize("least_weight", [-127, -128])  # with -128 two rows may not fit an int16
def test_fully_connected(activation: str, is_per_row: bool, gain: float, least_weight: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(activation) + 10 * is_per_row)
    w = ModelWriter()
    rows, columns = 13, 37
    source = w.tensor((1, columns), scale=0.05, zero_point=-20)
    target = w.tensor((1, rows), scale=0.08 / gain, zero_point=30)
    scales = list(rng.uniform(0.001, 0.01, rows)) if is_per_row else 0.006
    bias = rng.integers(-20000, 20000, rows).astype(np.int32)
    fused = getattr(tflite.ActivationFunctionType, activation)
    w.fully_connected(source, int8_weights(rng, (rows, columns), least_weight), scales, bias, target, fused)
    check(
        w.finish([source], [target]),
        np.concatenate([int8_weights(rng, (60, columns), -128), extremes(columns)]),
        tmp_path,
    )


def test_fully_connected_without_bias_and_with_a_scale_above_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    w = ModelWriter()
    source = w.tensor((1, 4), scale=0.9, zero_point=1)
    target = w.tensor((1, 3), scale=0.02, zero_point=-1)
    w.fully_connected(source, int8_weights(rng, (3, 4)), 0.3, None, target)
    check(w.finish([source], [target]), int8_weights(rng, (100, 4)), tmp_path)


def telling_sums(target_scale: float, results: range) -> tuple[float, float, list[int]]:
    """Find two float32 scales, and the sums that rescale otherwise if their product is rounded to float32.

    Older TFLM took the product in float32, so that this is easily got wrong and shows once in thousands of steps.
    """
    rng = np.random.default_rng(0)
    while True:
        first, second = (float(np.float32(s)) for s in rng.uniform(0.2, 3, 2) * 0.01 * np.sqrt(target_scale))
        exact = quantize_multiplier(first * second / target_scale)
        rounded = quantize_multiplier(float(np.float32(first) * np.float32(second)) / target_scale)
        ties = (np.array(results) + 0.5) / (first * second / target_scale)
        near = sorted({int(tie) + offset for tie in ties for offset in range(-3, 4)})
        telling = [total for total in near if requantize(total, exact) != requantize(total, rounded)]
        if len(telling) >= 4:
            return first, second, telling


def test_the_product_of_two_scales_is_taken_in_double(tmp_path: Path) -> None:
    target_scale = 0.5
    source_scale, weight_scale, sums = telling_sums(target_scale, range(-120, 120))
    w = ModelWriter()
    source, target = w.tensor((1, 1), scale=source_scale), w.tensor((1, len(sums)), scale=target_scale)
    w.fully_connected(source, np.ones((len(sums), 1), np.int8), weight_scale, np.array(sums, np.int32), target)
    check(w.finish([source], [target]), ALL_INT8, tmp_path)  # the input 0 gives the sums themselves


def test_the_product_of_two_scales_is_taken_in_double_in_an_lstm_too(tmp_path: Path) -> None:
    """Open input and output gates, a shut forget gate and a fine output show the candidate to the last bit."""
    source_scale, weight_scale, sums = telling_sums(2.0**-12, range(-40, 40))
    units = len(sums)
    w = ModelWriter()
    source = w.tensor((1, 1, 4), scale=source_scale)
    wide_open = np.full(units, 2**29, np.int32)
    none, ones = np.zeros((units, units), np.int8), np.ones((units, 4), np.int8)
    biases = [wide_open, -wide_open, np.array(sums, np.int32), wide_open]
    output = w.lstm(source, [ones] * 4, [none] * 4, biases, [weight_scale] * 8, 1e-4, 0, cell_scale=2.0**-15)
    check(w.finish([source], [output]), np.concatenate([np.zeros((3, 4), np.int8), extremes(4)]), tmp_path)


def test_concatenation_along_an_inner_axis_after_tables_of_two_readers(tmp_path: Path) -> None:
    w = ModelWriter()
    source = w.tensor((1, 3, 2), scale=0.1, zero_point=4)
    first, second = (w.tensor((1, 3, 2), scale=0.07, zero_point=-3) for _ in range(2))
    joined = w.tensor((1, 3, 6), scale=0.07, zero_point=-3)
    w.add("QUANTIZE", [source], [first])
    w.add("QUANTIZE", [first], [second])
    w.concatenation([first, second, first], joined, -1)
    check(w.finish([source], [joined]), extremes(6), tmp_path)


def test_a_reshape_at_the_end_keeps_the_bytes(tmp_path: Path) -> None:
    w = ModelWriter()
    source = w.tensor((1, 6), scale=0.1, zero_point=4)
    middle = w.tensor((1, 6), scale=0.05, zero_point=4)
    target = w.tensor((2, 3), scale=0.05, zero_point=4)
    w.add("QUANTIZE", [source], [middle])
    shape = w.tensor((2,), "int32", data=np.array([2, 3], np.int32))
    w.add("RESHAPE", [middle, shape], [target])
    check(w.finish([source], [target]), extremes(6), tmp_path)


LSTM_CASES = {
    # name: (inputs, units, cell scale, clip, least weight, gain of the gates)
    "tame": (12, 8, 2.0**-12, 0.0, -127, 0.3),
    "clipped at 10 and saturating": (20, 16, 2.0**-11, 10.0, -127, 6.0),
    "cell beyond the tanh table": (7, 9, 2.0**-9, 0.0, -127, 6.0),
    "cell saturates int16": (8, 8, 2.0**-15, 0.0, -127, 6.0),
    "finer cell than the table": (8, 12, 2.0**-16, 0.4, -127, 2.0),
    "clip at the end of int16": (5, 6, 2.0**-15, 1.0, -127, 6.0),
    "a weight of -128": (16, 8, 2.0**-11, 10.0, -128, 3.0),
    "more columns than vector registers hold": (70, 72, 2.0**-13, 0.0, -127, 2.0),
}
# Between them these take every form of the kernel on every core that has it.
CASES_ON_CORES = [
    *(("mps3-an547", name) for name in LSTM_CASES),
    *(
        (board, name)
        for board in ("mps2-an385", "mps2-an386", "rv32-virt")
        for name in ("cell beyond the tanh table", "cell saturates int16", "a weight of -128")
    ),
]


def lstm_model(name: str) -> tuple[bytes, int]:
    inputs, units, cell_scale, clip, least, gain = LSTM_CASES[name]
    rng = np.random.default_rng(len(name))
    w = ModelWriter()
    source = w.tensor((1, 1, inputs), scale=1 / 32, zero_point=-9)
    scales = [gain / 127 / np.sqrt(inputs) * s for s in rng.uniform(0.5, 1.5, 8)]
    output = w.lstm(
        source,
        [int8_weights(rng, (units, inputs), least) for _ in range(4)],
        [int8_weights(rng, (units, units), least) for _ in range(4)],
        [rng.integers(-30000, 30000, units).astype(np.int32) for _ in range(4)],
        scales,
        hidden_scale=1 / 130,
        hidden_zero_point=-4,
        cell_scale=cell_scale,
        cell_clip=clip,
    )
    return w.finish([source], [output]), inputs


@pytest.mark.parametrize("name", LSTM_CASES)
def test_lstm(name: str, tmp_path: Path) -> None:
    model, width = lstm_model(name)
    rng = np.random.default_rng(1)
    check(model, np.concatenate([int8_weights(rng, (150, width), -128), extremes(width)]), tmp_path)


@pytest.mark.qemu
@pytest.mark.parametrize(("board", "name"), CASES_ON_CORES)
def test_lstm_on_an_emulated_core(board: str, name: str, tmp_path: Path) -> None:
    target = bench.find_emulated(board)
    tool = target.missing_tool()
    if tool is not None:
        pytest.skip(f"{tool} is not installed: {target.remedy}")
    model, width = lstm_model(name)
    path = tmp_path / "model.tflite"
    path.write_bytes(model)
    rng = np.random.default_rng(1)
    inputs = np.concatenate([int8_weights(rng, (150, width), -128), extremes(width)])
    compiled = compile_whole(path, tmp_path / "c")
    figures = bench.measure_on(target, compiled, inputs, TflmModel(path).run(inputs), tmp_path / "image")
    assert figures.differing_bytes == 0
