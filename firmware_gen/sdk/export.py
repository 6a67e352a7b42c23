"""Writes a project that an SDK builds: templates filled in, the C core beside them, the engine of the target."""

import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jinja2

from edge import build_core
from edge.c_source import write_if_changed
from edge.contracts.generate import zcbor_include_dir
from edge.errors import HarkenError
from firmware_gen.board import Board, board_table, load_board
from firmware_gen.build import CORE, DEFAULT_MODEL
from firmware_gen.compiler import compile_model
from firmware_gen.sdk.targets import Target, cmsis_target, esp_idf_target, zephyr_target
from firmware_gen.tflm import Arena, KernelLibrary, generate_engine
from firmware_gen.tflm.engine import ENGINE_SOURCE

Sdk = Literal["esp-idf", "cmsis", "zephyr"]
Engine = Literal["tflm", "compiled"]

TEMPLATES = Path(__file__).parent
RECORD = "harken-export.json"  # in each exported project: what was written, so that the next export can tidy up


@dataclass(frozen=True)
class _Kit:
    """An SDK: its templates, where the core goes in its projects, and what a person types."""

    templates: str
    core_folder: str
    kernels: KernelLibrary
    target: Callable[[str, Mapping[str, Any]], Target]
    build_command: str
    version: str


KITS: dict[str, _Kit] = {
    "esp-idf": _Kit(
        "esp_idf",
        "components/harken_core",
        "esp-nn",
        esp_idf_target,
        "idf.py set-target {target} && idf.py build flash monitor",
        "ESP-IDF 5.5 and espressif/esp-tflite-micro 1.4.0",
    ),
    "cmsis": _Kit(
        "cmsis",
        "harken_core",
        "reference",
        cmsis_target,
        "cbuild harken.csolution.yml --packs --update-rte",
        "TensorFlow Lite Micro 90b983c2",
    ),
    "zephyr": _Kit(
        "zephyr",
        "harken_core",
        "reference",
        zephyr_target,
        "west build -b {target} .",
        "Zephyr 4.2 and TensorFlow Lite Micro 90b983c2",
    ),
}


@dataclass(frozen=True)
class Export:
    """A written project. arena: TFLM's, None with the compiled engine. checked: what can be said of it unbuilt."""

    folder: Path
    files: tuple[Path, ...]
    arena: Arena | None
    build_command: str
    checked: str


def export_project(
    sdk: Sdk,
    board: str,
    out: Path | str,
    model: Path | str | None = None,
    engine: Engine = "tflm",
    kernels: KernelLibrary | None = None,
) -> Export:
    """Write the project of `board` for `sdk` into `out`, a new folder or that of an earlier export.

    Files of an earlier export are replaced, and those that are no longer part of it removed; others are left alone.

    Raises HarkenError for a board that the SDK does not build, a folder that holds something else, a model that cannot
    be used, and a kernel library that would change its answers.
    """
    kit = KITS[sdk]
    target = kit.target(board, board_table(board))
    folder = Path(out)
    earlier = _earlier_files(folder)
    model_path = Path(model) if model is not None else DEFAULT_MODEL
    if not model_path.is_file():
        raise HarkenError(f"there is no model at {model_path}: train one with `harken train`, or name one by --model")
    manifest = model_path.parent / "manifest.json"
    with tempfile.TemporaryDirectory() as scratch:
        generated = Path(scratch)
        arena = _generate(engine, model_path, generated, target, kernels or kit.kernels, manifest)
        core = _core_files(generated, engine)
    texts = {f"{kit.core_folder}/{name}": text for name, text in core.items()}
    texts |= _port_files(target)
    sources = [name for name in core if name.endswith((".c", ".cc"))]
    checked = (
        f"its sources compile with warnings as errors, for {target.core}, against declarations of the calls that they "
        f"make ({kit.version}); linking and running them takes the SDK and a board"
    )
    build_command = kit.build_command.format(target=target.sdk_target)
    texts |= _render(
        kit.templates,
        {
            "target": target,
            "sources": sources,
            "engine": engine,
            "arena": arena,
            "firmware_version": _firmware_version(),
            "build_command": build_command,
            "checked": checked,
        },
    )
    for name, text in texts.items():
        write_if_changed(folder / name, text)
    for name in earlier - set(texts):
        (folder / name).unlink(missing_ok=True)
    write_if_changed(folder / RECORD, json.dumps({"sdk": sdk, "board": board, "files": sorted(texts)}, indent=2) + "\n")
    return Export(folder, tuple(folder / name for name in texts), arena, build_command, checked)


def _earlier_files(folder: Path) -> set[str]:
    """Return the names that an earlier export wrote; refuse a folder that holds anything else."""
    if not folder.exists():
        return set()
    if not folder.is_dir():
        raise HarkenError(f"{folder} is no folder: name another with --out")
    record = folder / RECORD
    if record.is_file():
        try:
            names = json.loads(record.read_text(encoding="utf-8"))["files"]
            return {name for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts}
        except (ValueError, KeyError, TypeError):
            raise HarkenError(f"{record} is damaged: delete {folder} or name another folder with --out") from None
    if any(folder.iterdir()):
        raise HarkenError(f"{folder} is not empty and no earlier export: name a new folder with --out")
    return set()


def _generate(
    engine: Engine, model: Path, out: Path, target: Target, kernels: KernelLibrary, manifest: Path
) -> Arena | None:
    build_core.generate(out)
    known = manifest if manifest.is_file() else None
    if engine == "compiled":
        compile_model(model, out, known)
        return None
    return generate_engine(model, out, target.abi, kernels, known).arena


def _core_files(generated: Path, engine: Engine) -> dict[str, str]:
    """Return the core as a project holds it: path → text."""
    sources = [*sorted((CORE / "src").glob("*.c"))]
    if engine == "tflm":
        sources.append(CORE / "src" / ENGINE_SOURCE)
    groups = (
        ("src", sources),
        ("include", sorted((CORE / "include").glob("*.h"))),
        ("generated", sorted(path for path in generated.iterdir() if path.suffix in {".c", ".cc", ".h"})),
        ("zcbor", sorted(zcbor_include_dir().glob("*.h"))),
    )
    texts = {f"{name}/{path.name}": path.read_text(encoding="utf-8") for name, paths in groups for path in paths}
    # zcbor's sources are compiled from the installed package, which the project does not have.
    for path in sorted(generated.glob("hk_zcbor_*.c")):
        part = path.stem.removeprefix("hk_")
        own = (zcbor_include_dir().parent / "src" / f"{part}.c").read_text(encoding="utf-8")
        wrapper = texts[f"generated/{path.name}"]
        texts[f"zcbor/{part}.inc"] = own
        texts[f"generated/{path.name}"] = _include_locally(wrapper, part)
    return texts


def _port_files(target: Target) -> dict[str, str]:
    """Return the board's own port and the program around it, for a project that keeps them."""
    if not target.port_sources:
        return {}
    board = load_board(target.board)
    headers = [path for folder in board.include_dirs for path in sorted(folder.glob("*.h"))]
    texts = {f"board/{path.name}": path.read_text(encoding="utf-8") for path in (*board.sources, *headers)}
    texts[f"board/{target.linker_script}"] = _whole_script(board)
    texts["device.c"] = (CORE / "apps" / "device.c").read_text(encoding="utf-8")
    return texts


def _whole_script(board: Board) -> str:
    """Return the board's linker script with what it includes in place: a project has no folders to look for more in."""
    if board.linker_script is None:
        return ""

    def included(match: re.Match[str]) -> str:
        found = [folder / match[1] for folder in board.include_dirs if (folder / match[1]).is_file()]
        if not found:
            raise HarkenError(f"{board.linker_script} includes {match[1]}, which none of its folders holds")
        return found[0].read_text(encoding="utf-8")

    return re.sub(r"^INCLUDE (\S+)$", included, board.linker_script.read_text(encoding="utf-8"), flags=re.M)


def _include_locally(wrapper: str, part: str) -> str:
    """Let a generated wrapper include zcbor's source from the project's own folder."""
    lines = [
        f'#include "{part}.inc"' if line.startswith("#include") and f"{part}.c" in line else line
        for line in wrapper.splitlines()
    ]
    return "\n".join(lines) + "\n"


def _render(templates: str, context: Mapping[str, Any]) -> dict[str, str]:
    folder = TEMPLATES / templates
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jinja"))
    return {name.removesuffix(".jinja"): environment.get_template(name).render(context) for name in names}


def _firmware_version() -> str:
    """Return HK_FIRMWARE_VERSION of hk_app.h, the one place that states it."""
    for line in (CORE / "include" / "hk_app.h").read_text(encoding="utf-8").splitlines():
        if line.startswith("#define HK_FIRMWARE_VERSION"):
            return line.split('"')[1]
    raise HarkenError("hk_app.h states no HK_FIRMWARE_VERSION: restore it")
