"""From a board and a model to an image: generates, compiles what changed, links, and measures what came out."""

import dataclasses
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from edge import build_core
from edge.contracts.generate import zcbor_include_dir
from edge.errors import HarkenError
from firmware_gen.board import Board, Memory, load_board

App = Literal["device", "replay", "library"]

CORE = Path(build_core.__file__).parent / "core"
COMPILER_SOURCES = Path(__file__).parent / "compiler"
DEFAULT_MODEL = CORE.parent / "models" / "detector" / "detector.tflite"

C_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2")

LARGEST_SHOWN = 4


@dataclass(frozen=True)
class Program:
    """What an image runs on top of the core and the board: its `main` and what else it brings.

    Attributes:
        name: of the ELF file.
        sources: C files; they find their own headers beside them.
        link_flags: further flags of the linker.
    """

    name: str
    sources: tuple[Path, ...]
    link_flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """What a build made: its files, and what it takes of the board's memory, in bytes.

    Attributes:
        elf: the program (`device`, `replay`) or the shared library, with symbols.
        bin: the bytes to flash; None on boards that run the ELF file.
        flash_bytes: code, constants and initial values.
        ram_bytes: static data and, where the board reserves it, the stack.
        sections: size of every section that takes memory.
    """

    elf: Path
    bin: Path | None
    flash_bytes: int
    ram_bytes: int
    sections: dict[str, int]


def build_image(
    board: str | Board,
    model: Path | str | None = None,
    app: App = "device",
    out_dir: Path | str | None = None,
) -> Image:
    """Build `app` for `board` with `model` (default: the committed detector); only what changed is compiled.

    Args:
        board: a board, or its name.
        model: the detector's `.tflite`; a `manifest.json` beside it gives the heads' thresholds.
        app: `device`, `replay` (PCM file to features and scores), or `library` (host only, for `edge.native`).
        out_dir: where the image and its objects go; default `build/firmware/<board>`, apart for other models.

    Raises:
        HarkenError: a tool is missing, the model cannot be compiled, or the image does not fit the board.
    """
    target = load_board(board) if isinstance(board, str) else board
    sources = [CORE / "apps" / f"{app}.c"]
    if app == "library":
        if target.run.runner != "process":
            raise HarkenError(f"board {target.name} cannot be loaded as a library: use board host")
        sources += [CORE / "apps" / "rehearsal.c", *sorted((CORE / "host").glob("*.c"))]
    return build_program(target, Program(app, tuple(sources)), model, out_dir)


def build_program(
    board: Board, program: Program, model: Path | str | None = None, out_dir: Path | str | None = None
) -> Image:
    """Build `program` for `board` as `build_image` builds an app: from the very objects that the others are linked of.

    Raises:
        HarkenError: as `build_image`.
    """
    model_path = Path(model) if model is not None else DEFAULT_MODEL
    if not model_path.is_file():
        raise HarkenError(f"there is no model at {model_path}: train one with `harken train`, or name one by --model")
    out = Path(out_dir) if out_dir is not None else _default_out_dir(board, model_path)
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        return _Build(board, model_path, program, out).run()


def build_host_library(model: Path | str | None = None) -> Path:
    """Build the shared library of core, compiled model and tracker that `edge.native.load` takes; return its path."""
    return build_image("host", model, app="library").elf


def linker_script_flags(board: Board, memory: Memory) -> list[str]:
    """Return the linker's flags that hold an image to `memory` by the script of `board`, if it has one."""
    if board.linker_script is None:
        return []
    symbols = {
        "hk_flash_address": memory.flash_address,
        "hk_flash_bytes": memory.flash_bytes,
        "hk_ram_address": memory.ram_address,
        "hk_ram_bytes": memory.ram_bytes,
        "hk_stack_bytes": memory.stack_bytes,
    }
    folders = [f"-L{folder}" for folder in board.include_dirs]
    script = ["-T", str(board.linker_script)]
    return [*folders, *script, *(f"-Wl,--defsym={name}={value}" for name, value in symbols.items())]


def _default_out_dir(board: Board, model: Path) -> Path:
    folder = build_core.build_root() / "firmware" / board.name
    if model.resolve() == DEFAULT_MODEL.resolve():
        return folder
    return folder / "models" / f"{model.stem}-{hashlib.sha256(model.read_bytes()).hexdigest()[:8]}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time build in `folder`."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class _Build:
    """One run of the compiler and linker over one output folder."""

    def __init__(self, board: Board, model: Path, program: Program, out: Path) -> None:
        self.board = board
        self.model = model
        self.program = program
        self.out = out
        self.is_library = program.name == "library"
        self.cc = _find_tool(board.toolchain.compiler, board)

    def run(self) -> Image:
        core_dir = build_core.build_root() / "gen"
        core_dir.mkdir(parents=True, exist_ok=True)
        with _locked(core_dir):
            build_core.generate(core_dir)
        model_dir = self.out / "model"
        self._compile_model(model_dir)
        include = [CORE / "include", core_dir, model_dir, *self.board.include_dirs, zcbor_include_dir()]
        flags = [*self.board.toolchain.flags, *(["-fPIC"] if self.is_library else [])]
        # Where the checkout lies must not change a byte of the image.
        flags.append(f"-ffile-prefix-map={CORE.parent.parent}=.")
        objects = [self._compile(source, flags, include) for source in self._sources(core_dir, model_dir)]
        return self._link(objects)

    def _sources(self, core_dir: Path, model_dir: Path) -> list[Path]:
        board_sources: Sequence[Path] = () if self.is_library else self.board.sources
        generated = [*sorted(core_dir.glob("*.c")), *sorted(model_dir.glob("*.c"))]
        return [*self.program.sources, *sorted((CORE / "src").glob("*.c")), *board_sources, *generated]

    def _compile_model(self, model_dir: Path) -> None:
        """Run the model compiler where the model, its manifest or the compiler itself changed."""
        manifest = self.model.parent / "manifest.json"
        inputs = [self.model, *([manifest] if manifest.is_file() else [])]
        compiler = sorted(p for p in COMPILER_SOURCES.rglob("*") if p.is_file() and p.suffix != ".pyc")
        key = _digest(inputs + compiler)
        stamp = self.out / "model.key"
        if stamp.is_file() and stamp.read_text() == key and any(model_dir.glob("*.c")):
            return
        from firmware_gen.compiler import compile_model

        stamp.unlink(missing_ok=True)
        compile_model(self.model, model_dir, manifest if manifest.is_file() else None)
        stamp.write_text(key)

    def _compile(self, source: Path, flags: Sequence[str], include: Sequence[Path]) -> Path:
        """Compile `source` unless its object was made by the same command from the same bytes."""
        name = f"{source.stem}-{hashlib.sha256(str(source).encode()).hexdigest()[:6]}"
        object_path = self.out / ("obj-pic" if self.is_library else "obj") / f"{name}.o"
        depends, stamp = object_path.with_suffix(".d"), object_path.with_suffix(".key")
        command = [self.cc, *C_FLAGS, *flags, *(f"-I{path}" for path in include), "-c", str(source)]
        identity = [_version(self.cc), *command]
        if object_path.is_file() and stamp.is_file() and stamp.read_text() == _object_key(identity, depends):
            return object_path
        object_path.parent.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        result = _run([*command, "-MMD", "-MF", str(depends), "-o", str(object_path)])
        if result.returncode != 0:
            reason = _first_error(result.stderr)
            raise HarkenError(f"{self.board.toolchain.compiler} cannot compile {source.name}: {reason}")
        stamp.write_text(_object_key(identity, depends))
        return object_path

    def _link(self, objects: Sequence[Path]) -> Image:
        suffix = ".so" if self.is_library else ("" if self.board.memory is None else ".elf")
        elf = self.out / ("libharken.so" if self.is_library else f"{self.program.name}{suffix}")
        report = self.out / f"{self.program.name}.json"
        command = [self.cc, *self.board.toolchain.flags, *self._link_flags(self.board.memory)]
        scripts = [path for folder in self.board.include_dirs for path in sorted(folder.glob("*.ld"))]
        key = _digest([*objects, *scripts], [_version(self.cc), *command])
        known = json.loads(report.read_text()) if report.is_file() else {}
        if known.get("key") == key and elf.is_file():
            return self._image(elf, known["sections"])
        made = elf.with_name(f".{elf.name}.new")
        result = _run([*command, *map(str, objects), "-o", str(made)])
        if result.returncode != 0:
            made.unlink(missing_ok=True)
            raise self._link_error(objects, result.stderr)
        made.replace(elf)  # a device that runs the old program keeps it
        sections = _section_sizes(_find_tool(self.board.toolchain.size, self.board), elf)
        if self.board.toolchain.objcopy is not None:
            objcopy = _find_tool(self.board.toolchain.objcopy, self.board)
            copied = _run([objcopy, "-O", "binary", str(elf), str(elf.with_suffix(".bin"))])
            if copied.returncode != 0:
                raise HarkenError(f"{objcopy} cannot read {elf}: {copied.stderr.strip()}")
        report.write_text(json.dumps({"key": key, "sections": sections}, indent=2, sort_keys=True))
        return self._image(elf, sections)

    def _link_flags(self, memory: Memory | None) -> list[str]:
        flags = list(self.board.toolchain.link_flags)
        if self.is_library:
            flags = ["-shared", "-fPIC"]
        if memory is not None:
            flags += linker_script_flags(self.board, memory)
        return [*flags, *self.program.link_flags]

    def _image(self, elf: Path, sections: dict[str, int]) -> Image:
        memory = self.board.memory
        flash = memory.flash_sections if memory else (".text", ".rodata", ".eh_frame", ".data", ".data.rel.ro")
        ram = memory.ram_sections if memory else (".data", ".data.rel.ro", ".bss")
        return Image(
            elf=elf,
            bin=elf.with_suffix(".bin") if self.board.toolchain.objcopy else None,
            flash_bytes=sum(sections.get(name, 0) for name in flash),
            ram_bytes=sum(sections.get(name, 0) for name in ram),
            sections=sections,
        )

    def _link_error(self, objects: Sequence[Path], message: str) -> HarkenError:
        memory = self.board.memory
        if memory is None or not re.search(r"overflowed by|will not fit in region", message):
            return HarkenError(f"the image for {self.board.name} does not link: {_first_error(message)}")
        # Link once more with room for everything, to say how much there is and what it is.
        roomy = dataclasses.replace(memory, flash_bytes=1 << 28, ram_address=1 << 30, ram_bytes=1 << 28)
        elf = self.out / f".{self.program.name}.oversize"
        command = [self.cc, *self.board.toolchain.flags, *self._link_flags(roomy), *map(str, objects), "-o", str(elf)]
        if _run(command).returncode != 0:
            return HarkenError(f"the image for {self.board.name} does not fit: {_first_error(message)}")
        try:
            sections = _section_sizes(_find_tool(self.board.toolchain.size, self.board), elf)
            symbols = _largest_symbols(_find_tool(self.board.toolchain.nm, self.board), elf)
        finally:
            elf.unlink()
        image = self._image(elf, sections)
        excess = [
            f"{used - limit:,} B too much for its {limit:,} B of {what}"
            for what, used, limit in (
                ("flash", image.flash_bytes, memory.flash_bytes),
                ("RAM", image.ram_bytes, memory.ram_bytes),
            )
            if used > limit
        ]
        used_sections = sorted(
            ((size, name) for name, size in sections.items() if name in memory.flash_sections + memory.ram_sections),
            reverse=True,
        )
        largest = ", ".join(f"{name} {size:,} B" for size, name in used_sections[:LARGEST_SHOWN])
        return HarkenError(
            f"the image for {self.board.name} does not fit: {' and '.join(excess)}; "
            f"largest sections: {largest}; largest symbols: {symbols}: use a smaller model or a larger board"
        )


def _find_tool(command: str, board: Board) -> str:
    path = shutil.which(command)
    if path is None:
        raise HarkenError(f"board {board.name} needs {command}, which is not installed: {board.toolchain.remedy}")
    return path


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})


def _first_error(output: str) -> str:
    """Return the line of a compiler's or linker's output that says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|undefined reference|overflowed|will not fit", line)]
    return (telling or lines or ["it gave no reason"])[0]


@cache
def _version(compiler: str) -> str:
    return _run([compiler, "--version"]).stdout.partition("\n")[0]


def _digest(paths: Iterable[Path], texts: Iterable[str] = ()) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    for path in paths:
        digest.update(str(path).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _object_key(identity: Sequence[str], depends: Path) -> str:
    """Return the hash of a command and of every file that the compiler read, or "" when one is gone."""
    if not depends.is_file():
        return ""
    # A make rule: "target: file file \<newline> file"; the files' names hold no space that is not escaped.
    rule = depends.read_text().partition(":")[2].replace("\\\n", " ")
    files = [Path(name.replace("\\ ", " ")) for name in re.split(r"(?<!\\)\s+", rule.strip())]
    if not all(path.is_file() for path in files):
        return ""
    return _digest(files, identity)


def _section_sizes(size: str, elf: Path) -> dict[str, int]:
    """Return the size in bytes of each section that takes memory of the target."""
    rows = (line.split() for line in _run([size, "-A", str(elf)]).stdout.splitlines())
    sizes = {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[0].startswith(".") and row[1].isdigit()}
    return {name: used for name, used in sizes.items() if used > 0 and not _is_about_the_file(name)}


def _is_about_the_file(section: str) -> bool:
    return section.startswith((".debug", ".comment", ".note", ".gnu")) or section.endswith(".attributes")


def _largest_symbols(nm: str, elf: Path) -> str:
    rows = [line.split() for line in _run([nm, "-S", "--size-sort", "-r", str(elf)]).stdout.splitlines()]
    return ", ".join(f"{row[3]} {int(row[1], 16):,} B" for row in rows[:LARGEST_SHOWN] if len(row) == 4)
