"""Compiles a model: `.tflite` in, C of the trunk and blobs of the heads out."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import catalogue
from edge.c_source import write_if_changed
from edge.errors import HarkenError
from firmware_gen.compiler.emit import HeadBlob, emit_engine, emit_heads
from firmware_gen.compiler.graph import Graph
from firmware_gen.compiler.heads import HeadSpec, Thresholds, encode_head, read_head
from firmware_gen.compiler.plan import Plan, make_plan
from firmware_gen.compiler.split import split
from firmware_gen.compiler.tflite_file import read_tflite

FRONT_END_SHAPE = (1, 1, 80)
FRONT_END_SCALE = 1 / 32
FRONT_END_ZERO_POINT = 0

# Where no manifest says better: even odds for normal sensitivity.
DEFAULT_THRESHOLDS = Thresholds(low=192, normal=128, high=96)


@dataclass(frozen=True)
class CompiledModel:
    """What was written, and what it takes.

    files: all generated files. sources: those to compile (with `edge/core/include` among the include folders).
    state_bytes: size of hk_engine_t. model_hash, trunk_hash: 8 bytes each. events: one name per head, in output order.
    head_blobs: the heads' bytes, in the same order. operators: the kind of every operator that the engine runs, in
    order; what was folded into another or needs no code is not among them.
    """

    files: tuple[Path, ...]
    sources: tuple[Path, ...]
    input_bytes: int
    output_bytes: int
    state_bytes: int
    model_hash: bytes
    trunk_hash: bytes
    events: tuple[str, ...]
    head_blobs: tuple[bytes, ...]
    operators: tuple[str, ...]


def compile_model(
    tflite_path: Path | str,
    out_dir: Path | str,
    manifest: Path | str | Mapping[str, Any] | None = None,
    *,
    requires_front_end_input: bool = True,
) -> CompiledModel:
    """Compile a detector into `out_dir`: hk_model.{h,c} for the trunk, hk_default_heads.{h,c} for its heads.

    Args:
        tflite_path: an int8 model with one input and one value per event.
        out_dir: made where it is missing; files whose text does not change are left alone.
        manifest: the model's manifest.json, its path or its content. `operating_points` gives
            {event: {"low": u8, "normal": u8, "high": u8}}, its order the order of the outputs unless a list `events`
            gives that; `head_versions` gives {event: int}. Without it the catalogue's events, even odds and version 1.
        requires_front_end_input: refuse a model whose input is not int8[1,1,80] of scale 1/32 and zero point 0.

    Raises:
        HarkenError: the model or the manifest cannot be used; the message says where and why.
    """
    path, out = Path(tflite_path), Path(out_dir)
    graph, content = read_tflite(path)
    if requires_front_end_input:
        check_front_end_input(graph, path)
    detector = split(graph)
    plan = make_plan(detector.trunk)
    trunk_hash = _trunk_hash(plan)
    specs = _head_specs(_read_manifest(manifest), len(detector.heads), path)
    heads = []
    for spec, operators in zip(specs, detector.heads, strict=True):
        blob = encode_head(read_head(graph, operators), spec, trunk_hash)
        heads.append(HeadBlob(spec.event, spec.version, blob))
    texts = _engine_texts(plan, content, trunk_hash)
    texts.update(emit_heads(heads, [content, *(head.blob for head in heads)]))
    return _write(
        out, texts, plan, content, trunk_hash, tuple(spec.event for spec in specs), tuple(head.blob for head in heads)
    )


def compile_whole(tflite_path: Path | str, out_dir: Path | str) -> CompiledModel:
    """Compile any model of the known operators into one engine, heads and all: for benchmarks and operator tests.

    Raises HarkenError as `compile_model` does.
    """
    graph, content = read_tflite(Path(tflite_path))
    plan = make_plan(graph)
    trunk_hash = _trunk_hash(plan)
    return _write(Path(out_dir), _engine_texts(plan, content, trunk_hash), plan, content, trunk_hash, (), ())


def check_front_end_input(graph: Graph, path: Path) -> None:
    """Raise HarkenError unless the model takes what the front end gives: the features of two frames."""
    tensor = graph.tensors[graph.inputs[0]]
    is_fit = (
        tensor.dtype == "int8"
        and tensor.shape == FRONT_END_SHAPE
        and tensor.quantization is not None
        and (tensor.scale, tensor.zero_point) == (FRONT_END_SCALE, FRONT_END_ZERO_POINT)
    )
    if not is_fit:
        how = f"scale {tensor.scale}, zero point {tensor.zero_point}" if tensor.quantization else "not quantised"
        raise HarkenError(
            f"{path}: input '{tensor.name}' is {tensor.dtype}{list(tensor.shape)}, {how}; the front end gives "
            "int8[1, 1, 80] with scale 1/32 and zero point 0: train and quantise the model on it"
        )


def _engine_texts(plan: Plan, content: bytes, trunk_hash: bytes) -> dict[str, str]:
    source = plan.graph.tensors[plan.graph.inputs[0]]
    target = plan.graph.tensors[plan.graph.outputs[0]]
    kinds = ", ".join(operator.kind for operator in plan.graph.operators)
    summary = (
        f"{source.dtype}{list(source.shape)} to {target.dtype}{list(target.shape)} by "
        f"{kinds if len(kinds) < 200 else f'{len(plan.graph.operators)} operators'}."
    )
    return emit_engine(plan, _model_hash(content), trunk_hash, [content], summary)


def _write(
    out: Path,
    texts: Mapping[str, str],
    plan: Plan,
    content: bytes,
    trunk_hash: bytes,
    events: tuple[str, ...],
    blobs: tuple[bytes, ...],
) -> CompiledModel:
    for name, text in texts.items():
        write_if_changed(out / name, text)
    files = tuple(out / name for name in texts)
    return CompiledModel(
        files=files,
        sources=tuple(file for file in files if file.suffix == ".c"),
        input_bytes=plan.graph.tensors[plan.graph.inputs[0]].byte_count,
        output_bytes=plan.graph.tensors[plan.graph.outputs[0]].byte_count,
        state_bytes=plan.total_bytes,
        model_hash=_model_hash(content),
        trunk_hash=trunk_hash,
        events=events,
        head_blobs=blobs,
        operators=tuple(step.operator.kind for step in plan.steps),
    )


def _model_hash(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:8]


def _trunk_hash(plan: Plan) -> bytes:
    """Hash what the trunk computes: kinds, options, shapes, quantisation and constants, in running order."""
    digest = hashlib.sha256()
    graph = plan.graph
    position = {index: i for i, index in enumerate(_tensors_in_order(graph))}
    for index in position:
        tensor = graph.tensors[index]
        digest.update(repr((tensor.shape, tensor.dtype.str, tensor.quantization, tensor.is_variable)).encode())
        digest.update(b"" if tensor.data is None else tensor.data.tobytes())
    for operator in graph.operators:
        wiring = [position.get(i, -1) for i in (*operator.inputs, *operator.outputs)]
        digest.update(repr((operator.kind, wiring, sorted(operator.options.items()))).encode())
    return digest.digest()[:8]


def _tensors_in_order(graph: Graph) -> list[int]:
    named = [*graph.inputs, *(i for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0)]
    return list(dict.fromkeys(named))


def _read_manifest(manifest: Path | str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if manifest is None or isinstance(manifest, Mapping):
        return manifest or {}
    try:
        content = json.loads(Path(manifest).read_text(encoding="utf-8"))
    except OSError as error:
        raise HarkenError(f"cannot read the manifest {manifest}: {error.strerror or error}") from error
    except ValueError as error:
        raise HarkenError(f"{manifest} is no JSON ({error}): write it again with `harken train`") from error
    if not isinstance(content, dict):
        raise HarkenError(f"{manifest} is no JSON object: write it again with `harken train`")
    return content


def _head_specs(manifest: Mapping[str, Any], count: int, path: Path) -> list[HeadSpec]:
    points = manifest.get("operating_points", {})
    versions = manifest.get("head_versions", {})
    events = manifest.get("events") or list(points) or list(catalogue.load().names)
    if len(events) != count or len(set(events)) != count:
        raise HarkenError(
            f"{path} has {count} heads, but its manifest or the catalogue names {len(events)} events "
            f"({', '.join(map(str, events))}): list one event per output in the manifest's `events`"
        )
    specs = []
    for event in events:
        point = points.get(event)
        try:
            thresholds = (
                DEFAULT_THRESHOLDS
                if point is None
                else Thresholds(int(point["low"]), int(point["normal"]), int(point["high"]))
            )
            specs.append(HeadSpec(str(event), int(versions.get(event, 1)), thresholds))
        except (KeyError, TypeError, ValueError) as error:
            raise HarkenError(
                f"the manifest of {path} has no usable operating point for {event} ({error!r}): "
                "it needs low, normal and high"
            ) from error
    return specs
