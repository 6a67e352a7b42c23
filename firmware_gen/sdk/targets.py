"""What an SDK's templates need to know of a board, read from its `board.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from edge.errors import HarkenError

OTA_START = 0x20000  # of the first firmware slot; before it lie boot loader, NVS and the choice of slot
APP_ALIGN = 0x10000

TFLM_FLASH_BYTES = 128 * 1024
TFLM_RAM_BYTES = 16 * 1024

# CMSIS device of each core in ARM::Cortex_DFP.
_CMSIS_DEVICES = {
    "cortex-m3": "ARMCM3",
    "cortex-m4": "ARMCM4",
    "cortex-m7": "ARMCM7",
    "cortex-m33": "ARMCM33",
    "cortex-m55": "ARMCM55",
}


@dataclass(frozen=True)
class Target:
    """A board in the eyes of an SDK.

    sdk_target: the SDK's name for it. abi: key of `firmware_gen.tflm.ABIS`. core: for messages. ota_bytes: size of each
    of two firmware slots, 0 where there are none. microphone: pins, where the board has one. port_sources,
    linker_script (names in the project's folder `board`) and memory (what the script is given): of a project that keeps
    the board's own port.
    """

    board: str
    sdk_target: str
    abi: str
    core: str
    flash_bytes: int = 0
    ota_bytes: int = 0
    microphone: Mapping[str, int] | None = None
    port_sources: tuple[str, ...] = ()
    linker_script: str = ""
    memory: Mapping[str, int] = field(default_factory=dict)


def esp_idf_target(board: str, table: Mapping[str, Any]) -> Target:
    """Return the target of a board with a table `sdk` for ESP-IDF. Raises HarkenError for another board."""
    sdk = table.get("sdk", {})
    if sdk.get("name") != "esp-idf":
        raise HarkenError(f"ESP-IDF does not build {board}: use esp32, esp32s3 or esp32c3")
    flash = int(sdk["flash_bytes"])
    return Target(
        board=board,
        sdk_target=sdk["target"],
        abi=sdk["abi"],
        core={"xtensa": "a 32-bit host in place of Xtensa", "riscv32": "rv32imc"}[sdk["abi"]],
        flash_bytes=flash,
        ota_bytes=(flash - OTA_START) // 2 // APP_ALIGN * APP_ALIGN,
        microphone=sdk["microphone"],
    )


def cmsis_target(board: str, table: Mapping[str, Any]) -> Target:
    """Return the target of a board with a Cortex-M core. Raises HarkenError for another board."""
    core = _cortex_m(board, table, "CMSIS")
    memory = table["memory"]
    return Target(
        board,
        _CMSIS_DEVICES[core],
        "cortex-m",
        core,
        port_sources=tuple(PurePosixPath(file).name for file in table["sources"]["files"]),
        linker_script=PurePosixPath(table["sources"]["linker_script"]).name,
        # TFLM with its interpreter and arena takes more than the compiled engine that the board's limits are for.
        memory={
            "hk_flash_address": memory["flash_address"],
            "hk_ram_address": memory["ram_address"],
            "hk_flash_bytes": memory["flash_bytes"] + TFLM_FLASH_BYTES,
            "hk_ram_bytes": memory["ram_bytes"] + TFLM_RAM_BYTES,
            "hk_stack_bytes": memory["stack_bytes"],
        },
    )


def zephyr_target(board: str, table: Mapping[str, Any]) -> Target:
    """Return the target of a Cortex-M board with a table `zephyr`. Raises HarkenError for another board."""
    core = _cortex_m(board, table, "Zephyr")
    name = table.get("zephyr", {}).get("board")
    if name is None:
        raise HarkenError(f"{board} has no name in Zephyr yet: add `[zephyr]` with `board = …` to its board.toml")
    return Target(board, name, "cortex-m", core)


def _cortex_m(board: str, table: Mapping[str, Any], sdk: str) -> str:
    for flag in table.get("compiler", {}).get("flags", []):
        core = flag.removeprefix("-mcpu=").partition("+")[0]
        if core in _CMSIS_DEVICES:
            return str(core)
    raise HarkenError(f"{board} has no Cortex-M core that the {sdk} project is made for: use mps2-an386 or its kin")
