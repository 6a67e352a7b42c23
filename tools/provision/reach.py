"""Reaches the device that is to be provisioned: on a serial port, on a link that is served already, or started here."""

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge import build_core
from edge.contracts.messages import HostShutdown
from edge.errors import HarkenError
from firmware_gen.board import board_names, board_table, load_board
from firmware_gen.build import build_image
from tools.device import runner
from tools.flash import load_target
from tools.link import Link, LinkError, open_stream
from tools.link.identity import check_board

START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Place:
    """Where a device is. One of `port` and `link`, or `board` alone for one that runs on this machine.

    Attributes:
        board: what it must say that it is; `qemu:` before it means the emulated one. None for any.
        port: serial port, `PORT[@BAUD]`.
        link: address as `tools.link.open_stream` takes it.
    """

    board: str | None = None
    port: str | None = None
    link: str | None = None

    @property
    def board_name(self) -> str | None:
        """The board without `qemu:`."""
        return None if self.board is None else self.board.removeprefix("qemu:")

    def address(self) -> str | None:
        """Return the link's address; None where the board has to be started. Raises HarkenError where unclear."""
        if self.port is not None and self.link is not None:
            raise HarkenError("--port and --link name two devices: give one of them")
        if self.link is not None:
            return self.link
        if self.port is not None:
            speed = load_target(self.board_name).link_baud_rate if self.board_name is not None else None
            return f"serial:{self.port}" if speed is None or "@" in self.port else f"serial:{self.port}@{speed}"
        if self.board_name is None:
            raise HarkenError("which device? Give --port PORT[@BAUD], --link unix:PATH, or --board qemu:mps2-an386")
        is_for_here = self.board != self.board_name and self.board_name in board_names()  # with `qemu:`
        if not load_target(self.board_name).is_emulated and not is_for_here:
            raise HarkenError(f"{self.board_name} does not run on this machine: give the port that it is plugged into")
        return None


def has_tls(board: str) -> bool:
    """Return whether a board speaks TLS itself, and so holds a certificate: those that ESP-IDF builds."""
    try:
        return bool(board_table(board).get("sdk", {}).get("name") == "esp-idf")
    except HarkenError:
        return False  # a board that this tree does not know


@contextlib.contextmanager
def reach(place: Place) -> Iterator[Link]:
    """Open the link to the device at `place` and say hello; start it first where it runs here, and stop it afterwards.

    Raises:
        HarkenError: it cannot be reached, or is another board.
    """
    address = place.address()
    if address is not None:
        with Link(open_stream(address, START_TIMEOUT_S)) as link:
            hello = link.hello(START_TIMEOUT_S)
            check_board(hello, address, place.board_name)
            yield link
        return
    assert place.board_name is not None
    with _started(place.board_name) as link:
        yield link


@contextlib.contextmanager
def _started(board: str) -> Iterator[Link]:
    """Start an emulated board where `harken flash` starts it, with the settings that it keeps there."""
    folder = build_core.build_root() / "devices" / board
    folder.mkdir(parents=True, exist_ok=True)
    if _is_served(folder / runner.LINK_NAME):
        raise HarkenError(f"{board} runs already: give --link unix:{folder / runner.LINK_NAME}, or end it first")
    running = runner.start(load_board(board), build_image(board), folder)
    try:
        with Link(open_stream(f"unix:{running.link_path}", START_TIMEOUT_S)) as link:
            check_board(link.hello(START_TIMEOUT_S), board, board)
            yield link
            with contextlib.suppress(LinkError):
                link.send_control(HostShutdown())
                running.process.wait(STOP_TIMEOUT_S)
    except HarkenError as error:
        console = running.console()
        raise HarkenError(f"{error}{f' ({console})' if console else ''}") from None
    except subprocess.TimeoutExpired:
        pass  # it is ended below
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()
        running.link_path.unlink(missing_ok=True)


def _is_served(path: Path) -> bool:
    """Return whether a device listens or is spoken with at a socket; one that was left behind is not."""
    if not path.exists():
        return False
    try:
        open_stream(f"unix:{path}", timeout_s=0.0).close()
    except HarkenError:
        return False
    return True
