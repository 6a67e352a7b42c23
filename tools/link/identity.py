"""Is the device that answers the one that is meant? Said alike by flash, gateway, provisioning and bench."""

from edge.contracts.messages import DeviceHello
from edge.errors import HarkenError


class WrongDeviceError(HarkenError):
    """Another board answers than was asked for, or one that runs another model."""


def check_board(hello: DeviceHello, where: str, board: str | None) -> None:
    """Raise WrongDeviceError where `hello` is another board's than `board` (None: any)."""
    if board is not None and hello.board != board:
        raise WrongDeviceError(
            f"the device at {where} says that it is {hello.board}, not {board}: see what is plugged in, or name "
            f"{hello.board}"
        )


def check_model(hello: DeviceHello, where: str, model_hash: bytes | None) -> None:
    """Raise WrongDeviceError where the device runs another detector than that of `model_hash` (None: any)."""
    if model_hash is not None and hello.model_hash != model_hash:
        raise WrongDeviceError(
            f"{hello.board} at {where} runs model {hello.model_hash.hex()}, not {model_hash.hex()}: it keeps an older "
            f"image, or was not reset; press RESET, or flash it with `harken flash --board {hello.board}`"
        )
