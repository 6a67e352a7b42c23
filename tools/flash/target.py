"""How each board is flashed, read from its `board.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.errors import HarkenError
from firmware_gen.board import board_names, board_table, sdk_board_names

TOOLS = ("qemu", "process", "esptool", "pyocd", "openocd")


@dataclass(frozen=True)
class UsbId:
    """A USB vendor and product, and what it is on the board: a chip's own port, a bridge, a debug probe."""

    vendor: int
    product: int
    name: str

    def __str__(self) -> str:
        return f"{self.vendor:04x}:{self.product:04x}"


@dataclass(frozen=True)
class FlashTarget:
    """A board in the eyes of a programmer.

    Attributes:
        board: its folder's name.
        title: for people.
        tool: what flashes it unless another is asked for, one of `TOOLS`.
        target: what that tool calls the chip; None for emulated boards.
        fallback: a second tool, taken where the first is not installed.
        openocd: configuration files of OpenOCD, where it can flash the board.
        baud_rate: of the serial port while flashing.
        link_baud_rate: of the link, where the board speaks it on a serial port.
        usb: what the board shows on USB.
    """

    board: str
    title: str
    tool: str
    target: str | None
    fallback: str | None
    openocd: tuple[str, ...]
    baud_rate: int
    link_baud_rate: int | None
    usb: tuple[UsbId, ...]

    @property
    def is_emulated(self) -> bool:
        """True for boards that run on this machine, which are flashed by starting them."""
        return self.tool in ("qemu", "process")


def flash_targets() -> list[str]:
    """Return the names of all boards that can be flashed or started."""
    return sorted([*board_names(), *sdk_board_names()])


def load_target(board: str) -> FlashTarget:
    """Return how `board` is flashed. Raises HarkenError where there is no such board or its table is wrong."""
    table = board_table(board)
    flash: Mapping[str, Any] = table.get("flash", {"tool": table.get("run", {}).get("runner", "")})
    try:
        tool = flash["tool"]
        if tool not in TOOLS:
            raise KeyError(f"flash.tool (one of {', '.join(TOOLS)})")
        return FlashTarget(
            board=board,
            title=table["title"],
            tool=tool,
            target=flash.get("target"),
            fallback=flash.get("fallback"),
            openocd=tuple(flash.get("openocd", ())),
            baud_rate=int(flash.get("baud_rate", 115200)),
            link_baud_rate=flash.get("link_baud_rate"),
            usb=tuple(_usb_id(entry) for entry in flash.get("usb", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise HarkenError(f"board.toml of {board} lacks or misplaces {error}: compare it with others") from None


def _usb_id(entry: Mapping[str, str]) -> UsbId:
    vendor, _, product = entry["id"].partition(":")
    return UsbId(int(vendor, 16), int(product, 16), entry["name"])
