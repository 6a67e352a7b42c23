"""Every emulated board, found by listing, says hello, hears, keeps to its memory and tells a fault."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge.errors import HarkenError
from firmware_gen.board import Board, local_boards
from firmware_gen.build import Image, build_image
from tests.unit.device.conftest import BOOT_ID, TONES
from tests.unit.device.sounds import RATE_HZ, quiet, tone_of
from tools.device import Device, runner

PAGE = Path(__file__).parents[3] / "docs" / "boards.md"
EMULATED = [board for board in local_boards() if board.run.runner == "qemu"]

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module", params=EMULATED, ids=lambda board: board.name)
def emulated(request: pytest.FixtureRequest) -> Board:
    board: Board = request.param
    if board.missing_tools():
        pytest.skip(f"{', '.join(board.missing_tools())} not found: make setup installs what {board.name} needs")
    return board


@pytest.fixture(scope="module")
def image(emulated: Board) -> Image:
    return build_image(emulated, TONES)


def test_the_boards_of_each_core_are_found() -> None:
    expected = {"mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547", "netduinoplus2", "rv32-virt"}
    assert expected <= {board.name for board in EMULATED}


def test_the_page_about_boards_has_a_line_for_each_with_its_memory() -> None:
    lines = PAGE.read_text().splitlines()
    for board in local_boards():
        line = next((line for line in lines if line.startswith(f"| `{board.name}` |")), "")
        sizes = (board.memory.flash_bytes, board.memory.ram_bytes) if board.memory else ()
        assert line, board.name
        assert all(f"/ {size:,} B" in line for size in sizes), board.name
        assert board.flash is None or (board.flash.target or "") in line, board.name


def test_it_says_hello_and_reports_what_it_hears(emulated: Board, image: Image) -> None:
    with Device(emulated, image, device_id="test", boot_id=BOOT_ID) as device:
        assert device.link.device is not None
        assert device.link.device.board == emulated.name
        device.inject(np.concatenate([quiet(0.5), tone_of("baby_cry", 1.5), quiet(0.5)]), settle=False)
        assert device.samples_heard == 5 * RATE_HZ // 2
        assert [event.event for event in device.events] == ["baby_cry"]
        assert device.stats().samples_heard == 5 * RATE_HZ // 2
        assert device.stop() == 0
        assert "bytes used" in device.console


def test_the_image_keeps_to_the_board_s_memory(emulated: Board, image: Image) -> None:
    assert emulated.memory is not None
    assert image.flash_bytes <= emulated.memory.flash_bytes
    assert image.ram_bytes <= emulated.memory.ram_bytes
    assert image.bin is not None
    assert image.bin.stat().st_size == image.flash_bytes


def test_an_image_that_is_too_large_is_refused(emulated: Board) -> None:
    assert emulated.memory is not None
    small = dataclasses.replace(emulated, memory=dataclasses.replace(emulated.memory, ram_bytes=64 * 1024))
    with pytest.raises(HarkenError, match=r"does not fit: [\d,]+ B too much for its 65,536 B of RAM"):
        build_image(small, TONES)


def test_without_a_debugger_it_hears_over_the_link(
    emulated: Board, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a board of one's own: nobody answers semihosting, and what it asks must not stop the board."""
    started = runner._qemu

    def start_alone(*args: object) -> list[str]:
        command = started(*args)  # type: ignore[arg-type]
        at = command.index("-semihosting-config")
        return command[:at] + command[at + 2 :]

    monkeypatch.setattr(runner, "_qemu", start_alone)
    device = Device(emulated, image).start()
    device.inject_over_link(quiet(0.2))
    assert device.stats().samples_heard == RATE_HZ // 5
    assert device._running is not None
    device._running.process.kill()  # nobody hears that it has ended
    device.stop()


def test_a_stack_that_overflows_ends_with_a_fault(emulated: Board, tmp_path: Path) -> None:
    assert emulated.memory is not None
    tight = dataclasses.replace(emulated, memory=dataclasses.replace(emulated.memory, stack_bytes=512))
    image = build_image(tight, TONES, app="replay")
    own = dataclasses.replace(image, elf=image.elf.rename(tmp_path / "tight.elf"))  # the next build links its own
    with pytest.raises(HarkenError, match="the processor faulted"):
        runner.replay(tight, own, quiet(0.2), timeout_s=20)
