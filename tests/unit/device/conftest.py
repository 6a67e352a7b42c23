from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.contracts.messages import Config
from firmware_gen.build import Image, build_image
from tools.device import Device

TONES = Path(__file__).parents[2] / "models" / "tones.tflite"
BOOT_ID = bytes(range(8))

BOARDS = ["host", pytest.param("mps2-an386", marks=pytest.mark.qemu)]


@pytest.fixture(scope="session", params=BOARDS)
def board(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def image(board: str) -> Image:
    """A device whose model hears one tone for each event."""
    return build_image(board, TONES)


@pytest.fixture
def start(board: str, image: Image) -> Iterator[Callable[..., Device]]:
    """Start a device of the board under test; it is stopped after the test."""
    devices: list[Device] = []

    def _start(config: Config | None = None, device_id: str = "test") -> Device:
        device = Device(board, image, device_id=device_id, boot_id=BOOT_ID, config=config)
        devices.append(device)
        return device.start()

    yield _start
    for device in devices:
        device.stop()
