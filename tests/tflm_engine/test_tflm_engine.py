"""The TFLM engine: its arena is what TFLM takes, its state is ours, and a kernel library that forgets it is refused."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge import build_core
from edge.errors import HarkenError
from edge.quantization.tflm import TflmModel, is_taken
from firmware_gen.compiler import compile_model
from firmware_gen.compiler.graph import Graph, Operator
from firmware_gen.compiler.plan import make_plan
from firmware_gen.compiler.split import split
from firmware_gen.compiler.tflite_file import parse_tflite, read_tflite
from firmware_gen.tflm import ABIS, arena_of, check_kernels, generate_engine
from firmware_gen.tflm.engine import check_features
from firmware_gen.tflm.layouts import WHEEL
from firmware_gen.tflm.trunk_file import trunk_model

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = ROOT / "edge" / "models" / "detector" / "detector.tflite"
MODELS = [ROOT / "tests" / "models" / name for name in ("lstm64x2_heads8_i8.tflite", "tones.tflite")] + [DETECTOR]
HK_ERROR_CAPACITY, HK_ERROR_MISMATCH = 2, 17

pytestmark = pytest.mark.tflm


def trunk_of(path: Path, *, has_state_outputs: bool = False) -> tuple[bytes, Graph, list[int], list[int]]:
    """Return the cut model, its graph, and the size and reset value of each state."""
    graph, content = read_tflite(path)
    plan = make_plan(split(graph).trunk)
    model = trunk_model(
        content, plan.graph, [state.tensor.index for state in plan.states], has_state_outputs=has_state_outputs
    )
    sizes = [state.tensor.byte_count for state in plan.states]
    return model, parse_tflite(model, path.name), sizes, [state.reset_byte for state in plan.states]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_tflm_takes_a_model_in_the_computed_arena_and_not_in_16_bytes_less(path: Path) -> None:
    graph, content = read_tflite(path)
    size = arena_of(graph, WHEEL).bytes
    assert is_taken(content, size)
    assert not is_taken(content, size - 16)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_tflm_takes_a_trunk_in_the_computed_arena_and_not_in_16_bytes_less(path: Path) -> None:
    model, graph, _, _ = trunk_of(path)
    size = arena_of(graph, WHEEL).bytes
    assert is_taken(model, size)
    assert not is_taken(model, size - 16)


def test_the_arena_in_use_on_a_cortex_m_is_the_one_that_was_measured_there() -> None:
    graph, _ = read_tflite(MODELS[0])
    assert arena_of(graph, ABIS["cortex-m"]).used_bytes == 5332


def test_the_trunk_s_file_answers_as_the_detector_s_does() -> None:
    """The heads are cut off; what they read is what the compiled trunk gives, which other tests hold to TFLM."""
    model, graph, _, _ = trunk_of(DETECTOR)
    assert [graph.tensors[i].byte_count for i in graph.outputs] == [64]
    assert len(model) < DETECTOR.stat().st_size - 8 * 64 * 16  # the heads' weights are gone


def test_state_kept_by_the_caller_gives_the_same_answers_as_state_kept_by_tflm(tmp_path: Path) -> None:
    from tflite_micro.python.tflite_micro import runtime

    kept, _, _, _ = trunk_of(DETECTOR)
    (tmp_path / "kept.tflite").write_bytes(kept)
    features = check_features(40, 80)
    expected = TflmModel(tmp_path / "kept.tflite").run(features)

    model, graph, _, resets = trunk_of(DETECTOR, has_state_outputs=True)
    interpreter = runtime.Interpreter.from_bytes(model)
    tensors = [graph.tensors[index] for index in graph.inputs[1:]]
    states = [
        np.frombuffer(bytes([reset]) * tensor.byte_count, tensor.dtype).reshape(tensor.shape)
        for tensor, reset in zip(tensors, resets, strict=True)
    ]
    for row, answer in zip(features, expected, strict=True):
        interpreter.reset()  # forgets everything
        interpreter.set_input(row.reshape(1, 1, 80), 0)
        for position, state in enumerate(states, start=1):
            interpreter.set_input(state, position)
        interpreter.invoke()
        assert np.array_equal(interpreter.get_output(0).ravel(), answer)
        states = [np.array(interpreter.get_output(position)) for position in range(1, 1 + len(states))]


def test_a_kernel_library_that_forgets_the_state_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(HarkenError, match=r"cmsis-nn.*UNIDIRECTIONAL_SEQUENCE_LSTM.*never passes the state.*#3564"):
        generate_engine(DETECTOR, tmp_path, "cortex-m", "cmsis-nn")
    assert list(tmp_path.iterdir()) == []


def test_esp_nn_may_run_the_trunk_but_no_operator_that_it_has_kernels_of_its_own_for() -> None:
    graph, _ = read_tflite(DETECTOR)
    check_kernels(split(graph).trunk, "esp-nn")
    with pytest.raises(HarkenError, match=r"esp-nn.*FULLY_CONNECTED"):
        check_kernels(graph, "esp-nn")


def test_an_operator_of_unknown_allocations_is_refused_with_its_place() -> None:
    graph, _ = read_tflite(DETECTOR)
    strange = Graph(graph.tensors, (Operator(0, "SVDF", (0,), graph.outputs),), graph.inputs, graph.outputs)
    with pytest.raises(HarkenError, match=r"SVDF \(subgraph 0, operator 0.*arena\.py"):
        arena_of(strange, ABIS["riscv32"])


def test_the_resolver_has_exactly_the_model_s_operators(tmp_path: Path) -> None:
    engine = generate_engine(DETECTOR, tmp_path, "riscv32")
    assert engine.operators == ("UNIDIRECTIONAL_SEQUENCE_LSTM",)
    source = (tmp_path / "hk_model_tflm.cc").read_text()
    assert source.count("resolver.Add") == 1
    assert f"alignas(16) const uint8_t hk_tflm_model[{engine.model_bytes}]" in source
    header = (tmp_path / "hk_model_tflm.h").read_text()
    assert f"hk_tflm_arena_bytes = {engine.arena.bytes};" in header
    assert engine.arena.bytes % 16 == 0


def test_generating_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in generate_engine(DETECTOR, tmp_path / "a", "xtensa").files}
    again = {path.name: path.read_bytes() for path in generate_engine(DETECTOR, tmp_path / "b", "xtensa").files}
    assert first == again


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hk_engine_tflm.cc over an interpreter that runs the compiled trunk."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("tflm-engine")
    generate_engine(DETECTOR, folder / "tflm", "cortex-m")
    compile_model(DETECTOR, folder / "compiled")
    build_core.generate(folder / "core")
    include = ROOT / "edge" / "core" / "include"
    renamed = [f"-Dhk_engine_{name}=compiled_engine_{name}" for name in ("open", "reset", "step")]
    compile_c = ["gcc", "-std=c11", "-O1", f"-I{include}", f"-I{folder / 'core'}"]
    subprocess.run(
        [
            *compile_c,
            *renamed,
            f"-I{folder / 'compiled'}",
            "-c",
            folder / "compiled" / "hk_model.c",
            "-o",
            folder / "c.o",
        ],
        check=True,
    )
    declarations = ROOT / "tests" / "sdk_declarations" / "tflm"
    subprocess.run(
        [
            *("g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti"),
            *("-fsanitize=address,undefined", f"-I{include}", f"-I{folder / 'core'}", f"-I{folder / 'tflm'}"),
            f"-I{declarations}",
            *(ROOT / "edge" / "core" / "src" / "hk_engine_tflm.cc", folder / "tflm" / "hk_model_tflm.cc"),
            *(Path(__file__).with_name("interpreter.cc"), folder / "c.o", "-o", folder / "engine"),
        ],
        check=True,
    )
    return folder / "engine"


def run(program: Path, manner: str, features: np.ndarray) -> tuple[int, bytes]:
    done = subprocess.run(
        [program, manner, str(len(features))], input=features.tobytes(), capture_output=True, check=False
    )
    assert b"Sanitizer" not in done.stderr
    return done.returncode, done.stdout


def test_engines_that_take_turns_each_keep_their_state(program: Path, tmp_path: Path) -> None:
    features = check_features(200, 80)[::-1]
    model, _, _, _ = trunk_of(DETECTOR)
    (tmp_path / "trunk.tflite").write_bytes(model)
    status, answers = run(program, "keeps", features)
    assert status == 0
    assert np.array_equal(
        np.frombuffer(answers, np.int8).reshape(-1, 64), TflmModel(tmp_path / "trunk.tflite").run(features)
    )


def test_a_kernel_library_that_forgets_is_found_out_when_the_device_starts(program: Path) -> None:
    assert run(program, "forgets", check_features(1, 80)) == (HK_ERROR_MISMATCH, b"")


def test_an_arena_that_this_tflm_finds_too_small_is_reported_when_the_device_starts(program: Path) -> None:
    assert run(program, "short", check_features(1, 80)) == (HK_ERROR_CAPACITY, b"")
