"""What the operators of CNNs refuse, with name and place, and how their values are laid out."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tflite

from edge.errors import HarkenError
from firmware_gen.compiler import compile_whole
from firmware_gen.compiler.moves import Axis, plan_move
from firmware_gen.compiler.plan import make_plan
from firmware_gen.compiler.tflite_file import parse_tflite
from tests.models import networks
from tests.models.tflite_writer import ModelWriter

PLACE = "block/here"
Built = tuple[ModelWriter, int, int]


def ints(w: ModelWriter, values: object) -> int:
    return w.constant(np.array(values, np.int32), None)


def conv(
    shape: tuple[int, ...] = (1, 4, 4, 3),
    weight_scale: float | list[float] = 0.01,
    bias: int = 0,
    **fields: int,
) -> Built:
    w = ModelWriter()
    source, target = w.tensor((1, 4, 4, 2), scale=0.1), w.tensor(shape, scale=0.1, name=PLACE)
    weights = np.full((3, 3, 3, 2), 100, np.int8)
    w.convolution("CONV_2D", source, weights, weight_scale, np.full(3, bias, np.int32), target, **fields)
    return w, source, target


def conv_with_moving_weights() -> Built:
    w = ModelWriter()
    source, target = w.tensor((1, 4, 4, 2), scale=0.1), w.tensor((1, 4, 4, 1), scale=0.1, name=PLACE)
    w.with_options("CONV_2D", [source, source], [target], "Conv2DOptions", StrideH=1, StrideW=1)
    return w, source, target


def depthwise(multiplier: int) -> Built:
    w = ModelWriter()
    source, target = w.tensor((1, 4, 4, 2), scale=0.1), w.tensor((1, 4, 4, 6), scale=0.1, name=PLACE)
    weights = np.ones((1, 3, 3, 6), np.int8)
    w.convolution("DEPTHWISE_CONV_2D", source, weights, 0.01, None, target, DepthMultiplier=multiplier)
    return w, source, target


def one_to_one(
    kind: str, shape: tuple[int, ...], scale: float, zero_point: int, table: str = "", **fields: float
) -> Built:
    w = ModelWriter()
    source = w.tensor(shape, scale=0.1, zero_point=0)
    target = w.tensor(shape, scale=scale, zero_point=zero_point, name=PLACE)
    if table:
        w.with_options(kind, [source], [target], table, **fields)
    else:
        w.add(kind, [source], [target])
    return w, source, target


def added(second: tuple[int, ...], out: tuple[int, ...], scale: float = 0.1, activation: int = 0) -> Built:
    w = ModelWriter()
    source, target = w.tensor((2, 3), scale=0.1), w.tensor(out, scale=scale, name=PLACE)
    other = w.constant(np.ones(second, np.int8), 0.1)
    w.with_options("ADD", [source, other], [target], "AddOptions", FusedActivationFunction=activation)
    return w, source, target


def averaged(axes: list[int], out: tuple[int, ...]) -> Built:
    w = ModelWriter()
    source, target = w.tensor((2, 3), scale=0.1), w.tensor(out, scale=0.1, name=PLACE)
    w.with_options("MEAN", [source, ints(w, axes)], [target], "ReducerOptions", KeepDims=False)
    return w, source, target


def padded(paddings: list[list[int]], out: tuple[int, ...]) -> Built:
    w = ModelWriter()
    source, target = w.tensor((2, 3), scale=0.1), w.tensor(out, scale=0.1, name=PLACE)
    w.add("PAD", [source, ints(w, paddings)], [target])
    return w, source, target


def sliced(numbers: list[list[int]], out: tuple[int, ...], **masks: int) -> Built:
    w = ModelWriter()
    source, target = w.tensor((4, 6), scale=0.1), w.tensor(out, scale=0.1, name=PLACE)
    w.with_options("STRIDED_SLICE", [source, *(ints(w, n) for n in numbers)], [target], "StridedSliceOptions", **masks)
    return w, source, target


def options_of_another() -> Built:
    w = ModelWriter()
    source, target = w.tensor((1, 4), scale=0.1), w.tensor((1, 4), scale=1 / 256, zero_point=-128, name=PLACE)
    w.with_options("SOFTMAX", [source], [target], "Pool2DOptions", StrideW=1)
    return w, source, target


def a_variable_that_nothing_keeps() -> Built:
    w = ModelWriter()
    source, target = w.tensor((1, 4), scale=0.1), w.tensor((1, 4), scale=0.1, name=PLACE)
    kept = w.tensor((1, 4), scale=0.1, is_variable=True)
    w.with_options("ADD", [source, kept], [target], "AddOptions")
    return w, source, target


WHOLE = [[0, 0], [4, 6], [1, 1]]
POOL = {"StrideH": 1, "StrideW": 1, "FilterHeight": 1, "FilterWidth": 1}
REFUSED: dict[str, tuple[Callable[[], Built], str]] = {
    "an output of another shape": (lambda: conv((1, 4, 3, 3)), "4 high and wide|high and wide where"),
    "no stride": (lambda: conv(StrideH=0), "out of range"),
    "padding that does not exist": (lambda: conv(Padding=7), "neither SAME nor VALID"),
    "scales for other channels": (lambda: conv(weight_scale=[0.1, 0.2]), "not one per output channel"),
    "a bias that overflows": (lambda: conv(bias=2**31 - 1), "overflow 32 bits"),
    "a scale that overflows": (lambda: conv(weight_scale=1e9), "overflow|beyond"),
    "a fused TANH": (
        lambda: conv(FusedActivationFunction=tflite.ActivationFunctionType.TANH),
        "fused activation 4 is not among",
    ),
    "weights that are no constants": (conv_with_moving_weights, "not constant int8"),
    "filters that do not fit the channels": (lambda: depthwise(2), "2 filters for each of 2 channels"),
    "a pool that rescales": (
        lambda: one_to_one("MAX_POOL_2D", (1, 2, 2, 1), 0.2, 0, "Pool2DOptions", **POOL),
        "quantised unlike",
    ),
    "SOFTMAX of another scale": (lambda: one_to_one("SOFTMAX", (1, 4), 0.1, -128, "SoftmaxOptions", Beta=1.0), "1/256"),
    "SOFTMAX of a long row": (
        lambda: one_to_one("SOFTMAX", (1, 512), 1 / 256, -128, "SoftmaxOptions", Beta=1.0),
        "limit 511",
    ),
    "SOFTMAX without a beta": (
        lambda: one_to_one("SOFTMAX", (1, 4), 1 / 256, -128, "SoftmaxOptions", Beta=0.0),
        "beta 0.0 is out of range",
    ),
    "SOFTMAX with a beta that is no number": (
        lambda: one_to_one("SOFTMAX", (1, 4), 1 / 256, -128, "SoftmaxOptions", Beta=float("nan")),
        "beta nan is out of range",
    ),
    "TANH of another scale": (lambda: one_to_one("TANH", (1, 4), 1 / 256, 0), "1/128"),
    "DEQUANTIZE to integers": (lambda: one_to_one("DEQUANTIZE", (1, 4), 0.1, 0), "not float32"),
    "shapes that do not broadcast": (lambda: added((2, 2), (2, 3)), r"\[2, 3\] and \[2, 2\] do not give"),
    "an output that is not broadcast": (lambda: added((1, 3), (1, 3)), "do not give"),
    "scales too far apart": (lambda: added((2, 3), (2, 3), scale=1e-9), "too far apart"),
    "an axis that does not exist": (lambda: averaged([2], (2, 3)), r"axes \[2\] do not exist"),
    "a mean of another shape": (lambda: averaged([1], (3,)), "without axes"),
    "a padding below nothing": (lambda: padded([[0, -1], [0, 0]], (1, 3)), "not two for each axis"),
    "paddings that do not fit": (lambda: padded([[0, 1], [0, 0]], (2, 3)), r"not \[3, 3\]"),
    "an ellipsis": (lambda: sliced(WHOLE, (4, 6), EllipsisMask=1), "ellipsis"),
    "a stride of 0": (lambda: sliced([[0, 0], [4, 6], [1, 0]], (4, 6)), "stride 0"),
    "nothing left": (lambda: sliced([[3, 0], [2, 6], [1, 1]], (1, 6)), "nothing of axis 0"),
    "an index beyond the end": (lambda: sliced([[4, 0], [5, 6], [1, 1]], (6,), ShrinkAxisMask=1), "vanishes at 4"),
    "a slice of another shape": (lambda: sliced(WHOLE, (4, 5)), r"not \[4, 6\]"),
    "options of another operator": (options_of_another, "options of another operator"),
    "a variable that nothing keeps": (a_variable_that_nothing_keeps, "the state of no LSTM"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compiled_is_refused_with_its_place(name: str) -> None:
    build, message = REFUSED[name]
    w, source, target = build()
    with pytest.raises(HarkenError, match=message) as caught:
        make_plan(parse_tflite(w.finish([source], [target]), "model"))
    assert f"(subgraph 0, operator 0, tensor '{PLACE}')" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_lstms_with_one_state_are_refused() -> None:
    w = ModelWriter()
    source = w.tensor((1, 1, 4), scale=0.1)
    ones, bias = np.ones((4, 4), np.int8), np.zeros(4, np.int32)
    first = w.lstm(source, [ones] * 4, [ones] * 4, [bias] * 4, [0.01] * 8, 1 / 128, 0)
    state = w.operators[0].inputs[18]
    second = w.lstm(first, [ones] * 4, [ones] * 4, [bias] * 4, [0.01] * 8, 1 / 128, 0)
    w.operators[1].inputs[18] = state
    with pytest.raises(HarkenError, match="two operators share the state"):
        make_plan(parse_tflite(w.finish([source], [second]), "model"))


def an_lstm(weight_scale: float = 0.01, cell_scale: float = 2.0**-11) -> tuple[ModelWriter, int, int]:
    w = ModelWriter()
    source = w.tensor((1, 1, 4), scale=0.1)
    ones, bias = np.ones((4, 4), np.int8), np.zeros(4, np.int32)
    scales = [weight_scale] * 8
    return w, source, w.lstm(source, [ones] * 4, [ones] * 4, [bias] * 4, scales, 1 / 128, 0, cell_scale)


@pytest.mark.parametrize("numbers", [{"weight_scale": 1e12}, {"cell_scale": 2.0**-70}])
def test_an_lstm_with_a_scale_out_of_range_is_refused_with_its_place(numbers: dict[str, float]) -> None:
    w, source, output = an_lstm(**numbers)
    with pytest.raises(HarkenError, match=r"LSTM \(subgraph 0, operator 0.*beyond 2\^30"):
        make_plan(parse_tflite(w.finish([source], [output]), "model"))


def test_an_lstm_whose_state_has_no_dimensions_is_refused() -> None:
    w, source, output = an_lstm()
    w.tensors[w.operators[0].inputs[18]]["shape"] = ()
    with pytest.raises(HarkenError, match="shapes of its states"):
        make_plan(parse_tflite(w.finish([source], [output]), "model"))


def test_an_input_that_is_not_int8_is_refused() -> None:
    w = ModelWriter()
    source, target = w.tensor((1, 4), "float32"), w.tensor((2, 2), "float32")
    w.add("RESHAPE", [source, ints(w, [2, 2])], [target])
    with pytest.raises(HarkenError, match="is not int8"):
        make_plan(parse_tflite(w.finish([source], [target]), "model"))


def test_keyword_spotting_takes_two_layers_of_memory_and_one_window(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(networks.keyword_spotting())
    layer, window = 25 * 5 * 64, 3 * 3 * 64
    assert compile_whole(path, tmp_path / "c").state_bytes == 2 * layer + window


def test_a_value_read_late_keeps_its_bytes_until_then() -> None:
    w = ModelWriter()
    source = w.tensor((1, 64), scale=0.1)
    values = [w.tensor((1, 64), scale=0.1) for _ in range(4)]
    target = w.tensor((1, 64), scale=0.1)
    w.fully_connected(source, np.eye(64, dtype=np.int8), 0.01, None, values[0])
    for before, after in itertools.pairwise(values):
        w.fully_connected(before, np.eye(64, dtype=np.int8), 0.01, None, after)
    w.with_options("ADD", [values[0], values[3]], [target], "AddOptions")
    plan = make_plan(parse_tflite(w.finish([source], [target]), "model"))
    assert plan.total_bytes == 3 * 64 + 2 * 64  # three alive at a time, and a layer's inputs as int16
    kept = plan.pointers[0]["target"]
    assert all(kept not in (pointers["target"], pointers["source"]) for pointers in plan.pointers[2:4])
    assert plan.pointers[4]["first"] == kept


def test_a_constant_operand_is_written_into_the_code_once(tmp_path: Path) -> None:
    w = ModelWriter()
    source, middle, target = (w.tensor((2, 3), scale=0.1) for _ in range(3))
    offsets = w.constant(np.array([[1, 2, 3]], np.int8), 0.1)
    w.with_options("ADD", [source, offsets], [middle], "AddOptions")
    w.with_options("MUL", [middle, offsets], [target], "MulOptions")
    path = tmp_path / "model.tflite"
    path.write_bytes(w.finish([source], [target]))
    text = next(file for file in compile_whole(path, tmp_path / "c").files if file.name == "hk_model.c").read_text()
    assert text.count(f"static const uint8_t hk_constant_{offsets}[3]") == 1
    assert text.count(f"(hk_constant_{offsets})") == 2


def test_moves_join_neighbours_into_runs() -> None:
    move = plan_move([Axis(2, 60, 60), Axis(3, 20, 20), Axis(4, 5, 5), Axis(5, 1, 1)])
    assert (move.run, {axis.count for axis in move.loops}) == (120, {1})
    cropped = plan_move([Axis(2, 60, 24), Axis(3, 20, 8), Axis(4, 5, 2), Axis(2, 1, 1)])
    assert cropped.run == 2
    assert [axis.count for axis in cropped.loops] == [1, 1, 1, 24]


def test_more_loops_than_the_kernel_has_are_an_error() -> None:
    with pytest.raises(ValueError, match="5 loops"):
        plan_move([Axis(2, 100 * 3**i, 2**i) for i in range(5, 0, -1)])
