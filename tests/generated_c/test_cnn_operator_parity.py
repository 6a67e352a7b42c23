"""The operators of CNNs, at many shapes and quantisations, answer as TensorFlow Lite Micro does, byte for byte."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tflite

from edge.quantization.tflm import TflmModel
from firmware_gen.compiler import compile_whole
from firmware_gen.compiler.fixed_point import quantize_multiplier, requantize
from tests.generated_c.reference import engine_answers, tflm_answers
from tests.generated_c.test_operator_parity import telling_sums
from tests.generated_c.vectors import extremes
from tests.models import networks
from tests.models.tflite_writer import ModelWriter

pytestmark = pytest.mark.tflm

SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID
Activation = tflite.ActivationFunctionType
RANDOM_STEPS = 40


def vectors(width: int, steps: int = RANDOM_STEPS) -> np.ndarray:
    """Random values, then what saturates: int8[steps, width]."""
    rng = np.random.default_rng(width)
    random = rng.integers(-128, 128, (steps, width)).astype(np.int8)
    return np.concatenate([random, extremes(width)[::8]])


def check(model: bytes, folder: Path, inputs: np.ndarray | None = None) -> np.ndarray:
    """Compare the engine under sanitizers with TFLM; return the answers, uint8[steps, bytes]."""
    path = folder / "model.tflite"
    path.write_bytes(model)
    compiled = compile_whole(path, folder / "c")
    steps = vectors(compiled.input_bytes) if inputs is None else inputs
    expected = tflm_answers(model, steps)
    answers = engine_answers(compiled, steps, folder)
    assert int((answers != expected).sum()) == 0
    assert len(np.unique(expected)) > 1, "the vectors must move the output"
    return answers


def int8(rng: np.random.Generator, shape: tuple[int, ...], least: int = -127) -> np.ndarray:
    return rng.integers(least, 128, shape).astype(np.int8)


def axis_out(size: int, reach: int, stride: int, padding: int) -> int:
    return -(-size // stride) if padding == SAME else (size - reach) // stride + 1


@dataclass(frozen=True)
class Conv:
    image: tuple[int, int, int]
    filters: int  # of each channel where it is depthwise
    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: int = SAME
    is_per_channel: bool = True
    activation: str = "NONE"
    gain: float = 1.0  # above one the output saturates
    zero_points: tuple[int, int] = (-7, 11)
    groups: int = 1
    batches: int = 1
    has_bias: bool = True


CONVOLUTIONS = {
    "3x3 same": Conv((6, 7, 3), 5, (3, 3)),
    "3x3 valid, saturating": Conv((6, 7, 3), 5, (3, 3), padding=VALID, gain=8.0),
    "even filter, uneven stride, relu": Conv((9, 8, 2), 4, (4, 2), (2, 3), activation="RELU"),
    "larger than the image": Conv((3, 4, 2), 3, (5, 7), zero_points=(127, -128)),
    "pointwise, relu6": Conv((5, 4, 8), 6, (1, 1), activation="RELU6", gain=4.0),
    "pointwise with a stride": Conv((5, 5, 4), 3, (1, 1), (2, 2), zero_points=(-128, 0)),
    "stride beyond the filter, valid": Conv((9, 9, 1), 4, (2, 2), (3, 4), padding=VALID),
    "dilated same": Conv((9, 10, 2), 3, (3, 3), dilation=(2, 3), activation="RELU_N1_TO_1"),
    "dilated valid": Conv((9, 10, 2), 3, (3, 2), dilation=(3, 2), padding=VALID),
    "one scale for all": Conv((5, 5, 3), 4, (3, 3), is_per_channel=False, gain=0.2),
    "no bias": Conv((5, 5, 3), 4, (3, 3), has_bias=False),
    "one filter": Conv((5, 5, 3), 1, (3, 3)),
    "two batches": Conv((4, 4, 2), 3, (3, 3), batches=2),
    "groups": Conv((5, 4, 6), 6, (3, 3), groups=3),
    "pointwise groups": Conv((3, 3, 8), 4, (1, 1), groups=2),
    "a filter in time alone": Conv((1, 24, 4), 8, (1, 5), (1, 2), padding=VALID),
}

DEPTHWISE = {
    "3x3 same": Conv((6, 7, 5), 1, (3, 3)),
    "3x3 valid, saturating": Conv((6, 7, 3), 1, (3, 3), padding=VALID, gain=8.0),
    "3 filters a channel, stride 2": Conv((7, 7, 4), 3, (3, 3), (2, 2), activation="RELU6"),
    "one channel, 8 filters": Conv((9, 6, 1), 8, (5, 3), (2, 1), activation="RELU"),
    "dilated": Conv((9, 9, 3), 1, (3, 3), dilation=(2, 2)),
    "one point": Conv((4, 4, 6), 1, (1, 1), zero_points=(127, -128)),
    "one scale for all": Conv((5, 5, 3), 2, (3, 3), is_per_channel=False, gain=0.2),
    "no bias": Conv((5, 5, 3), 1, (2, 4), has_bias=False),
    "two batches": Conv((4, 4, 2), 1, (3, 3), batches=2, zero_points=(-128, 127)),
}


def convolution(kind: str, case: Conv, least_weight: int = -128) -> bytes:
    height, width, channels = case.image
    rng = np.random.default_rng(sum(case.image) + case.filters)
    is_depthwise = kind == "DEPTHWISE_CONV_2D"
    count = channels * case.filters if is_depthwise else case.filters
    depth = channels // case.groups
    shape = (1, *case.size, count) if is_depthwise else (count, *case.size, depth)
    reach = [(size - 1) * apart + 1 for size, apart in zip(case.size, case.dilation, strict=True)]
    out = [axis_out(*numbers, case.padding) for numbers in zip((height, width), reach, case.stride, strict=True)]
    w = ModelWriter()
    source = w.tensor((case.batches, height, width, channels), scale=0.05, zero_point=case.zero_points[0])
    fan_in = case.size[0] * case.size[1] * (1 if is_depthwise else depth)
    base = 0.01 / fan_in**0.5
    target = w.tensor((case.batches, *out, count), scale=0.05 * 0.6 / case.gain, zero_point=case.zero_points[1])
    scales = [float(s) for s in rng.uniform(0.3, 3.0, count) * base] if case.is_per_channel else base
    bias = rng.integers(-20000, 20000, count).astype(np.int32) if case.has_bias else None
    w.convolution(
        kind,
        source,
        int8(rng, shape, least_weight),
        scales,
        bias,
        target,
        Padding=case.padding,
        StrideH=case.stride[0],
        StrideW=case.stride[1],
        DilationHFactor=case.dilation[0],
        DilationWFactor=case.dilation[1],
        FusedActivationFunction=getattr(Activation, case.activation),
    )
    return w.finish([source], [target])


@pytest.mark.parametrize("least_weight", [-127, -128])  # with -128 two rows may not fit an int16
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_conv_2d(name: str, least_weight: int, tmp_path: Path) -> None:
    check(convolution("CONV_2D", CONVOLUTIONS[name], least_weight), tmp_path)


@pytest.mark.parametrize("name", DEPTHWISE)
def test_depthwise_conv_2d(name: str, tmp_path: Path) -> None:
    check(convolution("DEPTHWISE_CONV_2D", DEPTHWISE[name]), tmp_path)


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D", "MUL"])
def test_the_product_of_two_scales_is_taken_in_double(kind: str, tmp_path: Path) -> None:
    """The sums are those that rescale otherwise if the product is rounded to float32 on the way."""
    target_scale = 0.5
    first, second, sums = telling_sums(target_scale, range(-120, 120))
    w = ModelWriter()
    if kind == "MUL":
        first, second, target_scale = telling_scales()
        source, target = w.tensor((256, 1), scale=first), w.tensor((256, 256), scale=target_scale)
        other = w.constant(np.arange(-128, 128).astype(np.int8).reshape(1, 256), second)
        w.with_options("MUL", [source, other], [target], "MulOptions")
        check(w.finish([source], [target]), tmp_path, np.arange(-128, 128).astype(np.int8).reshape(1, 256))
        return
    count = len(sums)
    source, target = w.tensor((1, 1, 1, 1), scale=first), w.tensor((1, 1, 1, count), scale=target_scale)
    shape = (count, 1, 1, 1) if kind == "CONV_2D" else (1, 1, 1, count)
    w.convolution(kind, source, np.ones(shape, np.int8), [second] * count, np.array(sums, np.int32), target)
    # The input 0 gives the sums themselves.
    check(w.finish([source], [target]), tmp_path, np.arange(-128, 128).astype(np.int8).reshape(-1, 1))


def telling_scales() -> tuple[float, float, float]:
    """Find three scales with which a product of two int8 values rescales otherwise if theirs is rounded."""
    rng = np.random.default_rng(4)
    numbers = np.arange(-128, 128)
    products = set(np.unique(np.outer(numbers, numbers)).tolist())
    ties = np.arange(-120, 120) + 0.5
    while True:
        first, second, target = (float(np.float32(s)) for s in rng.uniform(0.05, 0.5, 3))
        exact = quantize_multiplier(first * second / target)
        rounded = quantize_multiplier(float(np.float32(first) * np.float32(second)) / target)
        near = products & {int(tie) for tie in np.round(ties / (first * second / target))}
        if any(requantize(value, exact) != requantize(value, rounded) for value in near):
            return first, second, target


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize(
    ("image", "size", "stride", "padding", "activation"),
    [
        ((6, 7, 3), (2, 2), (2, 2), VALID, "NONE"),
        ((7, 6, 3), (3, 3), (2, 2), SAME, "RELU"),
        ((5, 4, 2), (4, 5), (1, 1), SAME, "RELU6"),
        ((25, 5, 4), (25, 5), (25, 5), VALID, "NONE"),
        ((5, 9, 1), (1, 3), (2, 4), SAME, "RELU_N1_TO_1"),
    ],
)
def test_pooling(
    kind: str,
    image: tuple[int, int, int],
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: int,
    activation: str,
    tmp_path: Path,
) -> None:
    w = ModelWriter()
    out = [axis_out(*numbers, padding) for numbers in zip(image[:2], size, stride, strict=True)]
    source = w.tensor((2, *image), scale=0.1, zero_point=-13)
    target = w.tensor((2, *out, image[2]), scale=0.1, zero_point=-13)
    fields = {"FilterHeight": size[0], "FilterWidth": size[1], "StrideH": stride[0], "StrideW": stride[1]}
    fields |= {"Padding": padding, "FusedActivationFunction": getattr(Activation, activation)}
    w.with_options(kind, [source], [target], "Pool2DOptions", **fields)
    check(w.finish([source], [target]), tmp_path)


@pytest.mark.parametrize(
    ("scale", "zero_point"), [(0.0004, -7), (0.0117, 127), (0.0452, -128), (0.11, 11), (0.5, 0), (1.0, -3), (3.3, 2)]
)
def test_tanh(scale: float, zero_point: int, tmp_path: Path) -> None:
    w = ModelWriter()
    source, target = w.tensor((1, 256), scale=scale, zero_point=zero_point), w.tensor((1, 256), scale=1 / 128)
    w.add("TANH", [source], [target])
    check(w.finish([source], [target]), tmp_path, np.arange(-128, 128).astype(np.int8).reshape(1, 256))


@pytest.mark.parametrize(("scale", "zero_point"), [(0.0039, -128), (0.1, 3), (7.3, 127), (1e-7, 0)])
def test_dequantize(scale: float, zero_point: int, tmp_path: Path) -> None:
    w = ModelWriter()
    source, target = w.tensor((1, 256), scale=scale, zero_point=zero_point), w.tensor((1, 256), "float32")
    w.add("DEQUANTIZE", [source], [target])
    check(w.finish([source], [target]), tmp_path, np.arange(-128, 128).astype(np.int8).reshape(1, 256))


ELEMENTWISE = {
    # name: (first shape, second shape, scales, zero points, activation); the input feeds both
    "same shape": ((2, 3, 4), (2, 3, 4), (0.1, 0.07, 0.11), (3, -9, 5), "NONE"),
    "saturating": ((1, 24), (1, 24), (0.3, 0.5, 0.02), (-20, 20, 0), "NONE"),
    "far scales": ((1, 24), (1, 24), (2.0, 0.003, 1.9), (0, 0, -1), "RELU"),
    "channels repeated": ((1, 3, 4, 5), (5,), (0.1, 0.2, 0.2), (0, 17, -4), "RELU6"),
    "the first repeated": ((1, 1, 4, 1), (2, 3, 4, 5), (0.1, 0.2, 0.3), (9, 17, -128), "NONE"),
    "both repeated": ((3, 1, 4, 1), (1, 2, 1, 5), (0.02, 0.01, 0.015), (127, -128, 0), "RELU_N1_TO_1"),
    "a single value": ((2, 3, 4), (1, 1, 1), (0.1, 0.1, 0.1), (1, 2, 3), "NONE"),
}


@pytest.mark.parametrize("kind", ["ADD", "MUL"])
@pytest.mark.parametrize("is_constant", [False, True])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(kind: str, is_constant: bool, name: str, tmp_path: Path) -> None:
    first_shape, second_shape, scales, zero_points, activation = ELEMENTWISE[name]
    rng = np.random.default_rng(len(name))
    first_size, second_size = int(np.prod(first_shape)), int(np.prod(second_shape))
    w = ModelWriter()
    if is_constant:
        source = first = w.tensor(first_shape, scale=scales[0], zero_point=zero_points[0])
        second = w.tensor(second_shape, scale=scales[1], zero_point=zero_points[1], data=int8(rng, second_shape, -128))
    else:
        source = w.tensor((1, first_size + second_size), scale=0.1)
        first, second = (
            slice_of(w, source, begin, shape, scale, zero_point)
            for begin, shape, scale, zero_point in (
                (0, first_shape, scales[0], zero_points[0]),
                (first_size, second_shape, scales[1], zero_points[1]),
            )
        )
    shape = np.broadcast_shapes(first_shape, second_shape)
    target = w.tensor(shape, scale=scales[2], zero_point=zero_points[2])
    options = {"ADD": "AddOptions", "MUL": "MulOptions"}[kind]
    w.with_options(kind, [first, second], [target], options, FusedActivationFunction=getattr(Activation, activation))
    check(w.finish([source], [target]), tmp_path)


def slice_of(w: ModelWriter, source: int, begin: int, shape: tuple[int, ...], scale: float, zero_point: int) -> int:
    """Cut a tensor of `shape` with another quantisation out of int8[1, n]."""
    size = int(np.prod(shape))
    cut = w.tensor((1, size), scale=0.1)
    numbers = [w.constant(np.array(v, np.int32), None) for v in ([0, begin], [1, begin + size], [1, 1])]
    w.with_options("STRIDED_SLICE", [source, *numbers], [cut], "StridedSliceOptions")
    shaped = w.tensor(shape, scale=0.1)
    w.add("RESHAPE", [cut, w.constant(np.array(shape, np.int32), None)], [shaped])
    scaled = w.tensor(shape, scale=scale, zero_point=zero_point)
    w.add("QUANTIZE", [shaped], [scaled])
    return scaled


@pytest.mark.parametrize(
    ("shape", "scale", "beta"),
    [
        ((1, 12), 0.1, 1.0),
        ((3, 4, 5), 0.02, 1.0),
        ((1, 2), 0.5, 1.0),
        ((1, 40), 0.003, 1.0),
        ((2, 7), 2.7, 0.5),
        ((1, 30), 0.0001, 1.0),
        ((1, 511), 0.05, 0.1),
        ((1, 9), 90.0, 1.0),
    ],
)
def test_softmax(shape: tuple[int, ...], scale: float, beta: float, tmp_path: Path) -> None:
    w = ModelWriter()
    source = w.tensor(shape, scale=scale, zero_point=5)
    target = w.tensor(shape, scale=1 / 256, zero_point=-128)
    w.with_options("SOFTMAX", [source], [target], "SoftmaxOptions", Beta=beta)
    width = int(np.prod(shape))
    rng = np.random.default_rng(width)
    near = rng.integers(-9, 9, (40, width)).astype(np.int8)
    check(w.finish([source], [target]), tmp_path, np.concatenate([vectors(width), near]))


@pytest.mark.parametrize(
    ("shape", "axes", "is_kept", "scales", "zero_points"),
    [
        ((1, 5, 4, 3), [1, 2], False, (0.1, 0.1), (3, 3)),
        ((1, 5, 4, 3), [1, 2], True, (0.1, 0.03), (-128, 7)),
        ((2, 3, 4, 5), [0, 2], False, (0.2, 0.15), (9, -9)),
        ((2, 3, 4, 5), [-1, 1], True, (0.02, 0.005), (127, 0)),
        ((2, 3, 2, 3, 2, 3), [1, 3, 5], False, (0.1, 0.07), (0, -128)),
        ((6, 7), [0, 0], False, (0.1, 2.3), (-4, 4)),
        ((1, 25), [1], False, (0.7, 0.004), (1, 1)),
    ],
)
def test_mean(
    shape: tuple[int, ...],
    axes: list[int],
    is_kept: bool,
    scales: tuple[float, float],
    zero_points: tuple[int, int],
    tmp_path: Path,
) -> None:
    w = ModelWriter()
    source = w.tensor(shape, scale=scales[0], zero_point=zero_points[0])
    out = np.empty(shape).mean(axis=tuple({axis % len(shape) for axis in axes}), keepdims=is_kept).shape
    target = w.tensor(out, scale=scales[1], zero_point=zero_points[1])
    named = w.constant(np.array(axes, np.int32), None)
    w.with_options("MEAN", [source, named], [target], "ReducerOptions", KeepDims=is_kept)
    check(w.finish([source], [target]), tmp_path)


@pytest.mark.parametrize(
    ("shape", "paddings"),
    [
        ((1, 4, 5, 3), [(0, 0), (1, 2), (2, 0), (0, 0)]),
        ((2, 3, 2, 4), [(1, 0), (0, 1), (3, 2), (2, 1)]),
        ((3, 5), [(0, 2), (4, 0)]),
        ((7,), [(3, 2)]),
        ((2, 2, 2, 2, 3), [(1, 1), (0, 1), (1, 0), (2, 0), (0, 1)]),
    ],
)
def test_pad(shape: tuple[int, ...], paddings: list[tuple[int, int]], tmp_path: Path) -> None:
    w = ModelWriter()
    source = w.tensor(shape, scale=0.1, zero_point=-77)
    out = tuple(size + sum(pair) for size, pair in zip(shape, paddings, strict=True))
    target = w.tensor(out, scale=0.1, zero_point=-77)
    w.add("PAD", [source, w.constant(np.array(paddings, np.int32), None)], [target])
    answers = check(w.finish([source], [target]), tmp_path)
    steps = vectors(int(np.prod(shape))).reshape(-1, *shape)
    padded = np.pad(steps, [(0, 0), *paddings], constant_values=-77)
    assert np.array_equal(answers.view(np.int8), padded.reshape(len(steps), -1))


@pytest.mark.parametrize(
    ("shape", "begin", "end", "strides", "masks"),
    [
        ((1, 6, 5, 3), [0, 1, 0, 0], [1, 5, 5, 3], [1, 2, 1, 1], {}),
        ((1, 6, 5, 3), [0, 0, 1, 1], [1, 6, 4, 3], [1, 1, 1, 1], {"BeginMask": 3, "EndMask": 3}),
        ((4, 6), [-1, 5], [-5, 0], [-2, -1], {}),
        ((4, 6), [3, 0], [0, 0], [-1, 2], {"EndMask": 3, "BeginMask": 2}),
        ((3, 4, 5), [0, 2, 0], [3, 3, 5], [1, 1, 1], {"ShrinkAxisMask": 2}),
        ((3, 4, 5), [-1, -2, -3], [9, 0, 9], [1, 1, 1], {"ShrinkAxisMask": 2}),
        ((2, 3, 4, 5), [0, 2, 3, 4], [2, 0, 0, 0], [1, -1, -2, -3], {"EndMask": 14}),
        ((30,), [-99], [99], [7], {}),
    ],
)
def test_strided_slice(
    shape: tuple[int, ...],
    begin: list[int],
    end: list[int],
    strides: list[int],
    masks: dict[str, int],
    tmp_path: Path,
) -> None:
    w = ModelWriter()
    picked = []
    for axis, (first, last, step) in enumerate(zip(begin, end, strides, strict=True)):
        if masks.get("ShrinkAxisMask", 0) >> axis & 1:
            picked.append(first)
            continue
        is_open = [masks.get(name, 0) >> axis & 1 for name in ("BeginMask", "EndMask")]
        picked.append(slice(None if is_open[0] else first, None if is_open[1] else last, step))
    steps = vectors(int(np.prod(shape)))
    expected = steps.reshape(-1, *shape)[(slice(None), *picked)]
    source = w.tensor(shape, scale=0.1, zero_point=2)
    target = w.tensor(expected.shape[1:], scale=0.1, zero_point=2)
    numbers = [w.constant(np.array(values, np.int32), None) for values in (begin, end, strides)]
    w.with_options("STRIDED_SLICE", [source, *numbers], [target], "StridedSliceOptions", **masks)
    answers = check(w.finish([source], [target]), tmp_path)
    assert np.array_equal(answers.view(np.int8), expected.reshape(len(steps), -1))


def test_a_residual_block_of_every_operator(tmp_path: Path) -> None:
    """Values that live long and side by side: what a wrong layout of working memory would show."""
    net = networks.NetworkWriter((1, 9, 8, 4), 7)
    w = net.writer
    net.convolve(8, (3, 3), (2, 2))
    trunk, shape = net.last, net.shape
    net.convolve(1, (3, 3), is_depthwise=True)
    net.convolve(8, (1, 1))
    summed = w.tensor(shape, scale=0.15, zero_point=-100)
    w.with_options("ADD", [trunk, net.last], [summed], "AddOptions")
    squashed = w.tensor(shape, scale=1 / 128)
    w.add("TANH", [summed], [squashed])
    gate = w.tensor(shape, scale=1 / 256, zero_point=-128)
    w.add("LOGISTIC", [summed], [gate])
    product = w.tensor(shape, scale=0.009, zero_point=-3)
    w.with_options("MUL", [squashed, gate], [product], "MulOptions")
    averages = w.tensor((1, 8), scale=0.005, zero_point=0)
    axes = w.constant(np.array([1, 2], np.int32), None)
    w.with_options("MEAN", [product, axes], [averages], "ReducerOptions")
    logits = w.tensor((1, 8), scale=0.05, zero_point=0)
    w.with_options("ADD", [averages, averages], [logits], "AddOptions")
    scores = w.tensor((1, 8), scale=1 / 256, zero_point=-128)
    w.with_options("SOFTMAX", [logits], [scores], "SoftmaxOptions", Beta=30.0)
    real = w.tensor((1, 8), "float32")
    w.add("DEQUANTIZE", [scores], [real])
    check(w.finish([net.source], [real]), tmp_path)


NETWORKS = {
    "cnn": networks.cnn,
    "keyword spotting": networks.keyword_spotting,
    "lstm of 16": lambda: networks.lstm_stack(20, 16, 1, 2),
    "two lstms of 48": lambda: networks.lstm_stack(40, 48, 2, 4),
    "two lstms of 96": lambda: networks.lstm_stack(80, 96, 2, 8),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_whole_network(name: str, tmp_path: Path) -> None:
    model = NETWORKS[name]()
    answers = check(model, tmp_path)
    assert len(np.unique(answers)) > 20, "the weights must spread the output"


def test_networks_are_the_same_every_time() -> None:
    assert networks.keyword_spotting() == networks.keyword_spotting()


def test_the_test_networks_run_in_the_reference_of_the_evaluation_too(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(networks.cnn())
    steps = vectors(240, 3)
    assert np.array_equal(TflmModel(path).run(steps).view(np.uint8), tflm_answers(path.read_bytes(), steps))
