"""Is an image for the board that it is to be written to?"""

import struct
from pathlib import Path

from edge.errors import HarkenError
from tools.flash.target import FlashTarget

_ELF_MAGIC = b"\x7fELF"
_MACHINES = {3: "x86", 40: "Arm", 62: "x86-64", 94: "Xtensa", 183: "AArch64", 243: "RISC-V"}
_MACHINE_OFFSET = 18  # of e_machine in an ELF file's header, little-endian
_HEADER_BYTES = 52


def check_image(target: FlashTarget, path: Path) -> None:
    """Refuse an image that is not one, or was built for another board.

    Every image of Harken holds its board's name, since the device says it in its hello.

    Raises:
        HarkenError: the file is missing, is no image, or names another board.
    """
    if not path.is_file():
        raise HarkenError(f"there is no image at {path}: build one with `harken firmware build --board {target.board}`")
    data = path.read_bytes()
    if not data.startswith(_ELF_MAGIC) or len(data) < _HEADER_BYTES:
        raise HarkenError(f"{path} is no ELF file: give the device.elf that `harken firmware build` names")
    if b"\0" + target.board.encode() + b"\0" in data:
        return
    (machine,) = struct.unpack_from("<H", data, _MACHINE_OFFSET)
    raise HarkenError(
        f"{path} is an {_MACHINES.get(machine, f'unknown ({machine})')} image of another board than {target.board}: "
        f"build the right one with `harken firmware build --board {target.board}`"
    )
