"""Writes the C of a plan and of the heads from the templates."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from edge import c_source
from firmware_gen.compiler.fixed_point import Scale, sigmoid_lines, sigmoid_table
from firmware_gen.compiler.plan import Plan

FOLDER = Path(__file__).parent
KERNELS = FOLDER / "kernels"

# What a kernel needs before it in the file.
_KERNEL_PARTS = {
    "add": ("broadcast.h", "add.h"),
    "conv_2d": ("window.h", "fully_connected.h", "rows.h", "conv_2d.h"),
    "depthwise_conv_2d": ("window.h", "depthwise_conv_2d.h"),
    "fully_connected_rows": ("fully_connected.h", "rows.h", "fully_connected_rows.h"),
    "lstm": ("lstm_form.h", "activation.h", "lstm.h"),
    "mul": ("broadcast.h", "mul.h"),
    "pool_2d": ("window.h", "pool_2d.h"),
}


@dataclass(frozen=True)
class HeadBlob:
    """A head as the generated file lists it."""

    event: str
    version: int
    blob: bytes


@cache
def sources_hash() -> bytes:
    """Return the hash of the compiler's own files, so that generated C names the generator that wrote it."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in {".py", ".h", ".jinja"}:
            digest.update(path.relative_to(FOLDER).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.digest()


def _scale(scale: Scale) -> str:
    return f"{{{scale.multiplier}, {scale.shift}}}"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=False,
        keep_trailing_newline=True,
    )
    environment.globals.update(array=c_source.array, scale=_scale)
    return environment


def _kernels(plan: Plan) -> list[dict[str, str]]:
    names = dict.fromkeys(part for kernel in plan.kernels for part in _KERNEL_PARTS.get(kernel, (f"{kernel}.h",)))
    return [{"name": name, "text": (KERNELS / name).read_text(encoding="utf-8")} for name in names]


def emit_engine(
    plan: Plan, model_hash: bytes, trunk_hash: bytes, inputs: Sequence[bytes], summary: str
) -> dict[str, str]:
    """Return the text of hk_model.h and hk_model.c."""
    environment = _environment()
    steps = []
    for step, pointers in zip(plan.steps, plan.pointers, strict=True):
        module = environment.get_template(f"ops/{step.template}").make_module()
        steps.append(
            {
                "place": plan.graph.place(step.operator),
                "definitions": module.definitions(step.values, pointers),  # type: ignore[attr-defined]
                "call": module.call(step.values, pointers),  # type: ignore[attr-defined]
            }
        )
    # One layer that does not fit a form keeps the whole model from it: there is one LSTM kernel in it.
    layers = [step.values for step in plan.steps if step.kernel == "lstm"]
    context: dict[str, Any] = {
        "banner": c_source.banner("firmware_gen/compiler", [*inputs, sources_hash()]),
        "summary": summary,
        "input": plan.graph.tensors[plan.graph.inputs[0]],
        "output": plan.graph.tensors[plan.graph.outputs[0]],
        "constants": [
            {"name": name, "values": np.asarray(plan.graph.tensors[index].data).view(np.uint8).ravel()}
            for index, name in plan.constants.items()
        ],
        "plan": plan,
        "model_hash": model_hash,
        "trunk_hash": trunk_hash,
        "kernels": _kernels(plan),
        "uses_row_pairs": not {"conv_2d", "fully_connected_rows"}.isdisjoint(plan.kernels),
        "uses_sigmoid": "lstm" in plan.kernels,
        "sigmoid_lines": sigmoid_lines(),
        "sigmoid_values": sigmoid_table(),
        "fits_vectors": all(layer["fits_vectors"] for layer in layers),
        "fits_packing": all(layer["is_packable"] for layer in layers),
        "row_sizes": sorted({size for layer in layers for part in layer["chunks"] for size in part}),
        "steps": steps,
        "states": [
            {
                "offset": plan.state_offsets[state.tensor.index],
                "byte_count": state.tensor.byte_count,
                "reset_byte": state.reset_byte,
            }
            for state in plan.states
        ],
    }
    names = ("hk_model.h", "hk_model.c")
    return {name: environment.get_template(f"{name}.jinja").render(context) for name in names}


def emit_heads(heads: Sequence[HeadBlob], inputs: Sequence[bytes]) -> dict[str, str]:
    """Return the text of hk_default_heads.h and hk_default_heads.c."""
    environment = _environment()
    context = {"banner": c_source.banner("firmware_gen/compiler", [*inputs, sources_hash()]), "heads": heads}
    names = ("hk_default_heads.h", "hk_default_heads.c")
    return {name: environment.get_template(f"{name}.jinja").render(context) for name in names}
