"""Generates the TFLM engine of a detector: model array, op resolver, arena and the answer that it must give."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt

from edge import c_source
from edge.c_source import write_if_changed
from edge.errors import HarkenError
from firmware_gen.compiler import emit
from firmware_gen.compiler.compile import compile_model
from firmware_gen.compiler.graph import Graph
from firmware_gen.compiler.plan import Plan, make_plan
from firmware_gen.compiler.split import split
from firmware_gen.compiler.tflite_file import parse_tflite, read_tflite
from firmware_gen.tflm.arena import ALIGNMENT, Arena, arena_of
from firmware_gen.tflm.kernels import KernelLibrary, check_kernels
from firmware_gen.tflm.layouts import ABIS, WHEEL, Abi
from firmware_gen.tflm.trunk_file import trunk_model

TEMPLATES = Path(__file__).parent / "templates"
ENGINE_SOURCE = "hk_engine_tflm.cc"  # in edge/core/src: what runs what is generated here

# How MicroMutableOpResolver adds an operator.
ADDERS = {
    "CONCATENATION": "AddConcatenation",
    "FULLY_CONNECTED": "AddFullyConnected",
    "LOGISTIC": "AddLogistic",
    "QUANTIZE": "AddQuantize",
    "RESHAPE": "AddReshape",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}

# The device runs this many steps of made-up features when it starts, and compares its last answer with TFLM's. A
# kernel library that forgets the state differs at the second step already.
CHECK_STEPS = 8
_CHECK_SEED = 1


@dataclass(frozen=True)
class TflmEngine:
    """What was written. files: all of it. arena: what TFLM needs on the target. model_bytes: the array's size."""

    files: tuple[Path, ...]
    operators: tuple[str, ...]
    arena: Arena
    model_bytes: int
    state_bytes: int


def generate_engine(
    tflite_path: Path | str,
    out_dir: Path | str,
    abi: Abi | str,
    kernels: KernelLibrary = "reference",
    manifest: Path | str | None = None,
) -> TflmEngine:
    """Write hk_model.h, hk_model_tflm.{h,cc} and the default heads into `out_dir`.

    Compiled together with `edge/core/src/hk_engine_tflm.cc` and TensorFlow Lite Micro they are an engine as
    hk_engine.h has it. The arena's size is computed for `abi`, after the same computation for the wheel has been
    checked by the wheel: it takes the model in that many bytes, and not in 16 fewer.

    Raises HarkenError for a model that cannot be used, for a kernel library that would change its answers, and where
    the wheel is missing or disagrees.
    """
    path, out = Path(tflite_path), Path(out_dir)
    target = ABIS[abi] if isinstance(abi, str) else abi
    graph, content = read_tflite(path)
    trunk = split(graph).trunk
    check_kernels(trunk, kernels)
    plan = make_plan(trunk)
    model = trunk_model(content, trunk, [state.tensor.index for state in plan.states])
    cut = parse_tflite(model, f"the trunk of {path}")
    check_arena(model, cut)
    arena = arena_of(cut, target)
    texts = _shared_texts(path, manifest, plan, content)
    texts |= _texts(cut, plan, model, arena, content, target)
    for name, text in texts.items():
        write_if_changed(out / name, text)
    return TflmEngine(
        files=tuple(out / name for name in texts),
        operators=_operators(cut),
        arena=arena,
        model_bytes=len(model),
        state_bytes=plan.state_bytes,
    )


def check_arena(model: bytes, graph: Graph) -> Arena:
    """Return the wheel's arena for `model`; raise HarkenError unless it takes exactly the size that is computed."""
    arena = arena_of(graph, WHEEL)
    if not takes(model, arena.bytes) or takes(model, arena.bytes - ALIGNMENT):
        raise HarkenError(
            f"TFLM's wheel does not need the {arena.bytes} bytes of arena that are computed for it: its structs have "
            "changed; install the version that pyproject.toml names, or bring firmware_gen/tflm/layouts.py up to date"
        )
    return arena


def takes(model: bytes, arena_bytes: int) -> bool:
    """Say whether the wheel's TFLM takes `model` in an arena of `arena_bytes`."""
    from edge.quantization.tflm import is_taken

    return is_taken(model, arena_bytes)


def check_features(steps: int, size: int) -> npt.NDArray[np.int8]:
    """Return int8[steps, size] of made-up features, from the generator that hk_engine_tflm.cc has too."""
    values = np.empty(steps * size, np.int8)
    state = _CHECK_SEED
    for position in range(values.size):
        state = (state * 1664525 + 1013904223) % 2**32
        values[position] = (state >> 24) - 128
    return values.reshape(steps, size)


def _check_answer(plan: Plan, model: bytes) -> npt.NDArray[np.int8]:
    from edge.quantization.tflm import TflmModel

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trunk.tflite"
        path.write_bytes(model)
        reference = TflmModel(path)
    features = check_features(CHECK_STEPS, plan.graph.tensors[plan.graph.inputs[0]].byte_count)
    return reference.run(features)[-1]


def _shared_texts(path: Path, manifest: Path | str | None, plan: Plan, content: bytes) -> dict[str, str]:
    """Return what both engines need: the heads, and hk_model.h with a state that is the recurrent one alone."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_model(path, folder, manifest)
        texts = {file.name: file.read_text() for file in compiled.files if file.name.startswith("hk_default_heads")}
    stateful = replace(plan, total_bytes=max(plan.state_bytes, 1))
    summary = "The trunk of the model, run by TensorFlow Lite Micro."
    header = emit.emit_engine(stateful, compiled.model_hash, compiled.trunk_hash, [content], summary)["hk_model.h"]
    hashes = c_source.array("const uint8_t hk_model_hash[8]", compiled.model_hash)
    hashes += c_source.array("const uint8_t hk_trunk_hash[8]", compiled.trunk_hash)
    texts["hk_model.h"] = header
    texts["hk_model_hash.c"] = f'{c_source.banner("firmware_gen/tflm", [content])}#include "hk_model.h"\n\n{hashes}'
    return texts


def _texts(cut: Graph, plan: Plan, model: bytes, arena: Arena, content: bytes, abi: Abi) -> dict[str, str]:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(array=c_source.array)
    operators = _operators(cut)
    context = {
        "banner": c_source.banner("firmware_gen/tflm", [content, emit.sources_hash()]),
        "abi": abi.name,
        "arena": arena,
        "model": model,
        "operators": [{"kind": kind, "adder": ADDERS[kind]} for kind in operators],
        "states": [
            {
                "offset": plan.state_offsets[state.tensor.index],
                "byte_count": state.tensor.byte_count,
                "reset_byte": state.reset_byte,
            }
            for state in plan.states
        ],
        "check_steps": CHECK_STEPS,
        "check_answer": _check_answer(plan, model),
    }
    names = ("hk_model_tflm.h", "hk_model_tflm.cc")
    return {name: environment.get_template(f"{name}.jinja").render(context) for name in names}


def _operators(graph: Graph) -> tuple[str, ...]:
    kinds: Sequence[str] = sorted({operator.kind for operator in graph.operators})
    for operator in graph.operators:
        graph.require(operator, operator.kind in ADDERS, "firmware_gen/tflm/engine.py does not know how to register it")
    return tuple(kinds)
