"""Serial ports of this machine, which board each may be, who holds one, and the udev rules that open them to users."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import serial.tools.list_ports

from edge.errors import HarkenError
from tools.flash.target import FlashTarget, flash_targets, load_target

RULES_FILE = "/etc/udev/rules.d/60-harken.rules"
INSTALL_RULES = (
    f"harken flash --udev-rules | sudo tee {RULES_FILE} && sudo udevadm control --reload && sudo udevadm trigger"
)


@dataclass(frozen=True)
class SerialPort:
    """A serial port: its device file, and for USB the ids, serial number and product name (None elsewhere)."""

    device: str
    vendor: int | None = None
    product: int | None = None
    serial_number: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        if self.vendor is None or self.product is None:
            return self.device
        serial_number = f", serial number {self.serial_number}" if self.serial_number else ""
        return f"{self.device} ({self.vendor:04x}:{self.product:04x} {self.name or ''}{serial_number})"


def serial_ports() -> list[SerialPort]:
    """Return the serial ports that this machine has, sorted by device file."""
    return sorted(
        (SerialPort(port.device, port.vid, port.pid, port.serial_number, port.product) for port in _comports()),
        key=lambda port: port.device,
    )


def _comports() -> Iterable[serial.tools.list_ports_common.ListPortInfo]:
    return list(serial.tools.list_ports.comports())


def find_port(
    target: FlashTarget,
    device: str | None = None,
    serial_number: str | None = None,
    ports: Iterable[SerialPort] | None = None,
) -> SerialPort:
    """Return the one port at which `target` is plugged in.

    Args:
        target: the board looked for.
        device: a port's device file: then that port, whatever it says of itself.
        serial_number: of the USB device, where several boards of the kind are plugged in.
        ports: where to look; this machine's when None.

    Raises:
        HarkenError: there is none, there are several, or the port may not be used; with what to do.
    """
    found = serial_ports() if ports is None else list(ports)
    if device is not None:
        port = next((port for port in found if port.device == device), SerialPort(device))
        check_usable(port.device)
        return port
    known = {(usb.vendor, usb.product) for usb in target.usb}
    fitting = [port for port in found if (port.vendor, port.product) in known]
    if serial_number is not None:
        fitting = [port for port in fitting if port.serial_number == serial_number]
    if len(fitting) == 1:
        check_usable(fitting[0].device)
        return fitting[0]
    if fitting:
        listed = "; ".join(str(port) for port in fitting)
        raise HarkenError(f"several ports may be {target.board}: {listed}: choose one with --port or --serial-number")
    looked_for = ", ".join(f"{usb} {usb.name}" for usb in target.usb) or "nothing: its board.toml names no USB id"
    there = "; ".join(str(port) for port in found) or "none"
    of_number = f" with serial number {serial_number}" if serial_number else ""
    raise HarkenError(
        f"no {target.board}{of_number} is plugged in (looked for {looked_for}; ports here: {there}): plug it in by a "
        "cable that carries data, or name its port with --port"
    )


def check_usable(device: str) -> None:
    """Refuse a port that is absent, forbidden or in use. Raises HarkenError with cause and remedy in one line."""
    path = Path(device)
    if not path.exists():
        raise HarkenError(f"there is no port {device}: plug the board in, or list ports with `harken flash --ports`")
    if not os.access(device, os.R_OK | os.W_OK):
        raise HarkenError(f"no permission to use {device}: install Harken's udev rules ({INSTALL_RULES})")
    holders = holders_of(path)
    if holders:
        raise HarkenError(f"{device} is in use by {', '.join(holders)}: close it there first")


def holders_of(path: Path) -> list[str]:
    """Return the other processes that have `path` open, as `name (process id)`; those that one may look at (Linux)."""
    target = str(path.resolve())
    holders = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            is_open = any(str(handle.readlink()) == target for handle in (folder / "fd").iterdir())
            if is_open:
                holders.append(f"{(folder / 'comm').read_text().strip()} (process {folder.name})")
        except OSError:
            continue  # another user's, or gone meanwhile
    return sorted(holders)


def udev_rules(boards: Iterable[str] | None = None) -> str:
    """Return udev rules that let whoever sits at the machine use every board's ports and probes.

    Args:
        boards: their names; all when None.
    """
    users: dict[str, tuple[str, list[str]]] = {}
    for board in flash_targets() if boards is None else boards:
        for usb in load_target(board).usb:
            users.setdefault(str(usb), (usb.name, []))[1].append(board)
    lines = [
        "# Harken: boards' serial ports and debug probes, for whoever is logged in at this machine.",
        f"# Written by `harken flash --udev-rules`; belongs in {RULES_FILE}.",
        'ACTION!="add|change", GOTO="harken_end"',
    ]
    for key, (name, names) in sorted(users.items()):
        vendor, product = key.split(":")
        # TAG is for seats (logind), MODE and GROUP for machines without one, such as a bench's server. A modem manager
        # that probes a new port types into the boot ROM.
        lines += [
            f"# {name}: {', '.join(names)}",
            f'ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}", MODE="0660", GROUP="plugdev", '
            'TAG+="uaccess", ENV{ID_MM_DEVICE_IGNORE}="1"',
        ]
    return "\n".join([*lines, 'LABEL="harken_end"', ""])
