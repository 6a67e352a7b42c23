"""Whole networks with random weights, written without TensorFlow: CNNs, and LSTMs of several sizes."""

import math
from collections.abc import Callable

import numpy as np
import tflite

from tests.models.tflite_writer import ModelWriter

Make = Callable[[], bytes]

RELU = tflite.ActivationFunctionType.RELU
SAME, VALID = tflite.Padding.SAME, tflite.Padding.VALID
TYPICAL = 60.0  # root mean square of weights and of activations, about
SPREAD = 60.0  # that a layer's outputs are to have
SCALE = 0.1  # of every layer's outputs


class NetworkWriter:
    """Adds layers one after the other, each quantised so that random outputs fill int8 and saturate now and then."""

    def __init__(self, shape: tuple[int, ...], seed: int, scale: float = 0.05, zero_point: int = 3) -> None:
        self.writer = ModelWriter()
        self.rng = np.random.default_rng(seed)
        self.source = self.last = self.writer.tensor(shape, scale=scale, zero_point=zero_point)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.writer.shape(self.last)

    def scale(self) -> float:
        return float(self.writer.tensors[self.last]["scales"][0])  # type: ignore[index]

    def zero_point(self) -> int:
        return int(self.writer.tensors[self.last]["zero_points"][0])  # type: ignore[index]

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.rng.integers(-127, 128, shape).astype(np.int8)

    def weight_scale(self, fan_in: int) -> float:
        """Return the weights' scale with which sums of so many products fill an output of SCALE."""
        return SPREAD * SCALE / (self.scale() * TYPICAL * TYPICAL * math.sqrt(fan_in))

    def bias(self, count: int, fan_in: int) -> np.ndarray:
        reach = int(TYPICAL * TYPICAL * math.sqrt(fan_in) / 4)
        return self.rng.integers(-reach, reach + 1, count).astype(np.int32)

    def convolve(
        self,
        filters: int,
        size: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        padding: int = SAME,
        is_depthwise: bool = False,
    ) -> None:
        """A convolution with RELU; depthwise with `filters` for each channel."""
        batch, height, width, channels = self.shape
        if padding == SAME:
            out = tuple(-(-length // step) for length, step in zip((height, width), stride, strict=True))
        else:
            out = tuple(
                (length - reach) // step + 1 for length, reach, step in zip((height, width), size, stride, strict=True)
            )
        count = channels * filters if is_depthwise else filters
        shape = (1, *size, count) if is_depthwise else (filters, *size, channels)
        fan_in = size[0] * size[1] * (1 if is_depthwise else channels)
        output = self.writer.tensor((batch, *out, count), scale=SCALE, zero_point=-128)
        self.writer.convolution(
            "DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D",
            self.last,
            self.weights(shape),
            [float(scale) for scale in self.rng.uniform(0.5, 1.5, count) * self.weight_scale(fan_in)],
            self.bias(count, fan_in),
            output,
            StrideH=stride[0],
            StrideW=stride[1],
            Padding=padding,
            FusedActivationFunction=RELU,
        )
        self.last = output

    def pool(self, kind: str, size: tuple[int, int]) -> None:
        batch, height, width, channels = self.shape
        shape = (batch, height // size[0], width // size[1], channels)
        output = self.writer.tensor(shape, scale=self.scale(), zero_point=self.zero_point())
        sizes = {"FilterHeight": size[0], "FilterWidth": size[1], "StrideH": size[0], "StrideW": size[1]}
        self.writer.with_options(kind, [self.last], [output], "Pool2DOptions", Padding=VALID, **sizes)
        self.last = output

    def flatten(self) -> None:
        shape = (1, math.prod(self.shape))
        output = self.writer.tensor(shape, scale=self.scale(), zero_point=self.zero_point())
        self.writer.add("RESHAPE", [self.last, self.writer.constant(np.array(shape, np.int32), None)], [output])
        self.last = output

    def dense(self, units: int, activation: int = 0) -> None:
        columns = self.shape[-1]
        output = self.writer.tensor((*self.shape[:-1], units), scale=SCALE, zero_point=-128 if activation else 7)
        weights, bias = self.weights((units, columns)), self.bias(units, columns)
        self.writer.fully_connected(self.last, weights, self.weight_scale(columns), bias, output, activation)
        self.last = output

    def rescale(self, scale: float, zero_point: int) -> None:
        output = self.writer.tensor(self.shape, scale=scale, zero_point=zero_point)
        self.writer.add("QUANTIZE", [self.last], [output])
        self.last = output

    def softmax(self) -> None:
        output = self.writer.tensor(self.shape, scale=1 / 256, zero_point=-128)
        self.writer.with_options("SOFTMAX", [self.last], [output], "SoftmaxOptions", Beta=1.0)
        self.last = output

    def finish(self) -> bytes:
        return self.writer.finish([self.source], [self.last])


def cnn() -> bytes:
    """Two convolutions with pooling and a dense layer: int8[1, 20, 12, 1] to probabilities of 5 classes."""
    net = NetworkWriter((1, 20, 12, 1), 1)
    net.convolve(8, (3, 3))
    net.pool("MAX_POOL_2D", (2, 2))
    net.convolve(12, (3, 3), padding=VALID)
    net.pool("AVERAGE_POOL_2D", (2, 2))
    net.flatten()
    net.dense(16, RELU)
    net.dense(5)
    net.rescale(0.1, -5)
    net.softmax()
    return net.finish()


def keyword_spotting() -> bytes:
    """The form of MLPerf Tiny's keyword spotting: int8[1, 49, 10, 1], 64 channels, four depthwise pairs, 12 words."""
    net = NetworkWriter((1, 49, 10, 1), 2, scale=0.58, zero_point=83)
    net.convolve(64, (10, 4), (2, 2))
    for _ in range(4):
        net.convolve(1, (3, 3), is_depthwise=True)
        net.convolve(64, (1, 1))
    net.pool("AVERAGE_POOL_2D", net.shape[1:3])  # type: ignore[arg-type]
    net.flatten()
    net.dense(12)
    net.rescale(0.15, 10)
    net.softmax()
    return net.finish()


def every_cnn_operator() -> bytes:
    """One of each operator of CNNs in few bytes: int8[1, 4, 4, 2] to four real numbers."""
    net = NetworkWriter((1, 4, 4, 2), 3)
    w = net.writer
    numbers = [w.constant(np.array(v, np.int32), None) for v in ([0, 1, 0, 0], [1, 4, 4, 2], [1, 1, 2, 1])]
    padded = w.tensor((1, 6, 4, 2), scale=net.scale(), zero_point=net.zero_point())
    paddings = np.array([(0, 0), (1, 1), (0, 0), (0, 0)], np.int32)
    w.add("PAD", [net.last, w.constant(paddings, None)], [padded])
    net.last = padded
    cut = w.tensor((1, 3, 2, 2), scale=net.scale(), zero_point=net.zero_point())
    w.with_options("STRIDED_SLICE", [net.last, *numbers], [cut], "StridedSliceOptions")
    net.last = cut
    net.convolve(3, (2, 2))
    trunk, shape = net.last, net.shape
    net.convolve(1, (2, 2), is_depthwise=True)
    summed = w.tensor(shape, scale=0.15, zero_point=-100)
    w.with_options("ADD", [trunk, net.last], [summed], "AddOptions")
    squashed, gate = w.tensor(shape, scale=1 / 128), w.tensor(shape, scale=1 / 256, zero_point=-128)
    w.add("TANH", [summed], [squashed])
    w.add("LOGISTIC", [summed], [gate])
    net.last = w.tensor(shape, scale=0.009, zero_point=-3)
    w.with_options("MUL", [squashed, gate], [net.last], "MulOptions")
    net.pool("MAX_POOL_2D", (1, 2))
    net.pool("AVERAGE_POOL_2D", (2, 1))
    averages = w.tensor((1, 3), scale=0.01, zero_point=-5)
    w.with_options("MEAN", [net.last, w.constant(np.array([1, 2], np.int32), None)], [averages], "ReducerOptions")
    net.last = averages
    net.dense(4)
    net.softmax()
    real = w.tensor((1, 4), "float32")
    w.add("DEQUANTIZE", [net.last], [real])
    net.last = real
    return net.finish()


def lstm_stack(features: int, units: int, layers: int, events: int) -> bytes:
    """Streaming LSTMs, then for every event a dense layer, a value and its LOGISTIC, joined: as detectors are."""
    net = NetworkWriter((1, 1, features), units, scale=1 / 32, zero_point=0)
    for _ in range(layers):
        columns = net.shape[-1]
        scales = [float(s) for s in net.rng.uniform(0.5, 1.5, 8) * 4 / 127 / np.sqrt(max(columns, units))]
        net.last = net.writer.lstm(
            net.last,
            [net.weights((units, columns)) for _ in range(4)],
            [net.weights((units, units)) for _ in range(4)],
            [net.rng.integers(-9000, 9000, units).astype(np.int32) for _ in range(4)],
            scales,
            hidden_scale=1 / 128,
            hidden_zero_point=0,
        )
    trunk, scores = net.last, []
    for _ in range(events):
        net.last = trunk
        net.dense(16, RELU)
        net.dense(1)
        net.rescale(0.06, 0)
        score = net.writer.tensor((1, 1, 1), scale=1 / 256, zero_point=-128)
        net.writer.add("LOGISTIC", [net.last], [score])
        scores.append(score)
    net.last = net.writer.tensor((1, 1, events), scale=1 / 256, zero_point=-128)
    net.writer.concatenation(scores, net.last, 2)
    return net.finish()
