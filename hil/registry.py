"""Which boards a bench has: `boards.yaml`, checked against its schema, and a scan of USB that writes entries."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from edge.errors import HarkenError
from tools.flash import SerialPort, flash_targets, load_target, serial_ports

FOLDER = Path(__file__).parent
DEFAULT_REGISTRY = FOLDER / "boards.yaml"
SCHEMA = FOLDER / "boards.schema.json"


@dataclass(frozen=True)
class BoardEntry:
    """One board of a bench.

    Attributes:
        name: what `--board` takes: `host`, `qemu:BOARD` or `usb:SERIAL NUMBER`.
        board: its kind, a folder of `firmware_gen/boards`.
        connection: `local` for boards that run on this machine, `serial` for those on a cable.
        serial_number: of its USB serial port.
        baud_rate: of its link.
        probe: serial number of its debug probe, where one flashes it.
        lacks: what tests must not ask of it.
        quarantined: why nothing is run on it; empty when all is well.
    """

    name: str
    board: str
    connection: str
    serial_number: str = ""
    baud_rate: int = 115200
    probe: str = ""
    lacks: tuple[str, ...] = ()
    quarantined: str = ""


def load_registry(path: Path = DEFAULT_REGISTRY) -> dict[str, BoardEntry]:
    """Return the boards of `path` by name.

    Raises:
        HarkenError: the file is missing, no YAML, breaks the schema, or names a board twice or one that there is not.
    """
    try:
        table = yaml.safe_load(path.read_text())
    except OSError as error:
        raise HarkenError(
            f"{path} cannot be read ({error.strerror}): name the bench's boards by --boards FILE"
        ) from None
    except yaml.YAMLError as error:
        raise HarkenError(f"{path} is no YAML ({' '.join(str(error).split())}): correct it") from None
    fault = next(iter(jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(table)), None)
    if fault is not None:
        place = "/".join(str(part) for part in fault.absolute_path) or "the file"
        raise HarkenError(f"{path}: {place}: {fault.message}: correct it (boards.schema.json says what may be there)")
    entries: dict[str, BoardEntry] = {}
    known = flash_targets()
    for row in table["boards"]:
        entry = BoardEntry(**{**row, "lacks": tuple(row.get("lacks", ()))})
        if entry.name in entries:
            raise HarkenError(f"{path}: {entry.name} is there twice: remove one of them")
        if entry.board not in known:
            raise HarkenError(f"{path}: {entry.name} is a {entry.board}, which is no board: {', '.join(known)}")
        entries[entry.name] = entry
    return entries


def select(entries: dict[str, BoardEntry], name: str) -> BoardEntry:
    """Return the board called `name`. Raises HarkenError with those there are."""
    if name not in entries:
        raise HarkenError(f"this bench has no board {name!r}: use {', '.join(entries)}, or add it by `harken hil scan`")
    return entries[name]


def scan(entries: Iterable[BoardEntry], ports: Iterable[SerialPort] | None = None) -> list[BoardEntry]:
    """Return an entry for each board on USB that is not among `entries`.

    A bridge does not say which board is behind it: where its ids fit several boards the first is taken, for the person
    who reads the entry to correct.
    """
    known = {entry.serial_number for entry in entries if entry.serial_number}
    fitting: dict[tuple[int, int], str] = {}
    for board in flash_targets():
        for usb in load_target(board).usb:
            fitting.setdefault((usb.vendor, usb.product), board)
    found = []
    for port in serial_ports() if ports is None else ports:
        board = fitting.get((port.vendor or 0, port.product or 0), "")
        if board and port.serial_number and port.serial_number not in known:
            rate = load_target(board).link_baud_rate or 115200
            lacks = () if load_target(board).link_baud_rate else ("link",)
            name = f"usb:{port.serial_number}"
            found.append(BoardEntry(name, board, "serial", port.serial_number, rate, lacks=lacks))
    return found


def append(path: Path, entries: Iterable[BoardEntry]) -> None:
    """Add entries at the end of a registry; what a person wrote there stays as it is."""
    lines = []
    for entry in entries:
        row: dict[str, Any] = {"name": entry.name, "board": entry.board, "connection": entry.connection}
        row |= {"serial_number": entry.serial_number, "baud_rate": entry.baud_rate}
        if entry.lacks:
            row["lacks"] = list(entry.lacks)
        lines.append(f"  - {yaml.safe_dump(row, default_flow_style=True, sort_keys=False, width=1000).strip()}\n")
    with path.open("a") as file:
        file.writelines(lines)
    load_registry(path)
