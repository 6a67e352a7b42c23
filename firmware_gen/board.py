"""Boards: one folder each under `boards/`, found by listing it, described by its `board.toml`.

Sources that boards share lie in `boards/_parts`, which is no board; a `board.toml` names them by relative paths.
"""

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from edge.errors import HarkenError

BOARDS = Path(__file__).parent / "boards"

Runner = Literal["process", "qemu"]
LOCAL: tuple[Runner, ...] = ("process", "qemu")


@dataclass(frozen=True)
class Memory:
    """What an image may use, from which address and in bytes, and which of its sections lie in flash and in RAM."""

    flash_address: int
    flash_bytes: int
    ram_address: int
    ram_bytes: int
    stack_bytes: int
    flash_sections: tuple[str, ...]
    ram_sections: tuple[str, ...]


@dataclass(frozen=True)
class Toolchain:
    """The compiler and its companions, as command names looked up in PATH."""

    compiler: str
    remedy: str
    flags: tuple[str, ...]
    link_flags: tuple[str, ...]
    size: str
    nm: str
    objcopy: str | None


@dataclass(frozen=True)
class RunSpec:
    """How an image is run on this machine: as a process of its own or by QEMU's `machine`, with its further options."""

    runner: Runner
    command: str | None
    machine: str | None
    options: tuple[str, ...]
    remedy: str | None


@dataclass(frozen=True)
class FlashSpec:
    """How an image gets onto the board: by which program, and what that calls the board."""

    tool: str
    target: str | None


@dataclass(frozen=True)
class Board:
    """One kind of device: what compiles for it, what it holds and how it is run."""

    name: str
    title: str
    folder: Path
    toolchain: Toolchain
    sources: tuple[Path, ...]
    linker_script: Path | None
    memory: Memory | None
    flash: FlashSpec | None
    run: RunSpec

    @property
    def include_dirs(self) -> tuple[Path, ...]:
        """Where its sources' headers and what its linker script includes lie: its own folder, then its parts'."""
        return tuple(dict.fromkeys([self.folder, *(source.parent for source in self.sources)]))

    def missing_tools(self) -> list[str]:
        """Return the commands that building and running its images here needs and PATH lacks."""
        tools = self.toolchain
        commands = [tools.compiler, tools.size, tools.nm, tools.objcopy, self.run.command]
        return [command for command in commands if command is not None and shutil.which(command) is None]


@dataclass(frozen=True)
class SdkBoard:
    """A board that its SDK builds, from a project that `harken firmware export` writes.

    abi: how the SDK's compiler lays out structs, a key of `firmware_gen.tflm.ABIS`. settings: the board's table of its
    `board.toml`, for the project's templates.
    """

    name: str
    title: str
    sdk: str
    abi: str
    settings: dict[str, Any]


def board_names() -> list[str]:
    """Return the names of all boards that are built here, sorted."""
    return [name for name in _folders() if "compiler" in _table(name)]


def sdk_board_names() -> list[str]:
    """Return the names of the boards that their SDK builds, sorted."""
    return [name for name in _folders() if "compiler" not in _table(name)]


def load_sdk_board(name: str) -> SdkBoard:
    """Return the SDK's board called `name`.

    Raises:
        HarkenError: there is no such board, or its `board.toml` is not of the expected form.
    """
    if name not in sdk_board_names():
        raise HarkenError(f"no SDK builds a board {name!r}: use one of {', '.join(sdk_board_names())}")
    table = _table(name)
    try:
        sdk = table["sdk"]
        return SdkBoard(name, table["title"], sdk["name"], sdk["abi"], sdk)
    except (KeyError, TypeError) as error:
        path = BOARDS / name / "board.toml"
        raise HarkenError(f"{path} lacks or misplaces {error}: compare it with another board's") from None


def board_table(name: str) -> dict[str, Any]:
    """Return the whole `board.toml` of a board of either sort. Raises HarkenError where there is none."""
    if name not in _folders():
        raise HarkenError(f"there is no board {name!r}: use one of {', '.join(_folders())}")
    return _table(name)


def _folders() -> list[str]:
    return sorted(path.parent.name for path in BOARDS.glob("*/board.toml"))


def local_boards() -> list[Board]:
    """Return the boards whose images run on a workstation that has their tools, as a process or emulated; `host` first.

    `Board.missing_tools` tells which of them run on this one.
    """
    boards = (load_board(name) for name in board_names())
    return sorted((board for board in boards if board.run.runner in LOCAL), key=lambda board: board.run.runner)


def _table(name: str) -> dict[str, Any]:
    path = BOARDS / name / "board.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise HarkenError(f"{path} is not valid TOML: {error}") from None


def load_board(name: str) -> Board:
    """Return the board called `name`.

    Raises:
        HarkenError: there is no such board, or its `board.toml` is not of the expected form.
    """
    folder = BOARDS / name
    if name in sdk_board_names():
        sdk = load_sdk_board(name).sdk
        raise HarkenError(
            f"board {name} is built by {sdk}: write its project with "
            f"`harken firmware export --sdk {sdk} --board {name} --out DIR`"
        )
    if name not in board_names():
        raise HarkenError(f"there is no board {name!r}: use one of {', '.join(board_names())}")
    path = folder / "board.toml"
    try:
        return _parse(name, folder, _table(name))
    except (KeyError, TypeError) as error:
        raise HarkenError(f"{path} lacks or misplaces {error}: compare it with another board's") from None


def _parse(name: str, folder: Path, table: dict[str, Any]) -> Board:
    compiler, sources, run = table["compiler"], table["sources"], table["run"]
    runner = run["runner"]
    if runner not in get_args(Runner):
        raise KeyError(f"run.runner (one of {', '.join(get_args(Runner))})")
    files = tuple((folder / file).resolve() for file in sources["files"])
    script = (folder / sources["linker_script"]).resolve() if "linker_script" in sources else None
    for path in (*files, *([script] if script else [])):
        if not path.is_file():
            raise KeyError(f"the file {path.name}")
    return Board(
        name=name,
        title=table["title"],
        folder=folder,
        toolchain=Toolchain(
            compiler=compiler["command"],
            remedy=compiler["remedy"],
            flags=tuple(compiler["flags"]),
            link_flags=tuple(compiler["link_flags"]),
            size=compiler["size_command"],
            nm=compiler["nm_command"],
            objcopy=compiler.get("objcopy_command"),
        ),
        sources=files,
        linker_script=script,
        memory=_parse_memory(table["memory"]) if "memory" in table else None,
        flash=FlashSpec(table["flash"]["tool"], table["flash"].get("target")) if "flash" in table else None,
        run=RunSpec(runner, run.get("command"), run.get("machine"), tuple(run.get("options", ())), run.get("remedy")),
    )


def _parse_memory(table: dict[str, Any]) -> Memory:
    return Memory(
        flash_address=table["flash_address"],
        flash_bytes=table["flash_bytes"],
        ram_address=table["ram_address"],
        ram_bytes=table["ram_bytes"],
        stack_bytes=table["stack_bytes"],
        flash_sections=tuple(table["flash_sections"]),
        ram_sections=tuple(table["ram_sections"]),
    )
