"""What a programmer's last words mean: the cause and the remedy, in one line."""

import re
from dataclasses import dataclass

from tools.flash.usb import INSTALL_RULES

LONGEST_QUOTE_CHARS = 160


@dataclass(frozen=True)
class _Sign:
    """Words that a programmer prints (a regular expression), and what they mean."""

    pattern: str
    meaning: str


# In order: the first that fits is taken. Each is what esptool 5, pyOCD 0.4x or OpenOCD 0.12 prints.
_SIGNS = tuple(
    _Sign(*sign)
    for sign in (
        (
            r"This chip is (?P<is>[\w-]+),? not (?P<not>[\w-]+)",
            "the board is an {is}, the image is for an {not}: name the board that is plugged in with --board",
        ),
        (
            r"Permission denied|Access denied|insufficient permissions|LIBUSB_ERROR_ACCESS",
            f"no permission to use the port or probe: install Harken's udev rules ({INSTALL_RULES})",
        ),
        (
            r"No such file or directory: '|\[Errno (2|6|19)\]",
            "the port is gone: plug the board in again, and list ports with `harken flash --ports`",
        ),
        (
            r"the port is busy|Resource busy|Could not exclusively lock|LIBUSB_ERROR_BUSY|Device or resource busy",
            "another program uses the port or probe: close monitors and gateways, then try again",
        ),
        (
            r"Failed to connect to .*(No serial data received|Timed out|Invalid head)",
            "the chip does not answer: hold "
            "BOOT, press RESET (or EN), let BOOT go, and try again; see that the cable carries data",
        ),
        (
            r"No (available|connected) debug probes|No target device available|unable to open .*(CMSIS-DAP|ST-?Link)"
            r"|Error: open failed|unable to find .*device",
            "no debug probe answers: plug one in (CMSIS-DAP or ST-Link), "
            "and see that its USB port is the one that carries data",
        ),
        (
            r"No ACK received|Unable to connect|init mode failed|DP initialisation failed",
            "the probe answers but the chip does not: see that SWDIO, SWCLK, GND and the board's power are connected, "
            "and hold RESET while it starts",
        ),
        (
            r"Target type .* not recognized|Target type .* is unknown",
            "pyOCD does not know the chip: run "
            "`python -m pyocd pack install` with its name (it needs the internet once)",
        ),
        (
            r"(MD5 of file does not match|Verify failed|verification failed|mismatch at|Mismatch at)",
            "what was written is not what was sent, and the board cannot start: try a shorter cable, then flash again",
        ),
        (
            r"Unable to verify flash chip connection|Detected flash size .* smaller|will not fit in",
            "the image does not fit this board's flash: check that it is the module that board.toml describes",
        ),
        (r"A fatal error occurred: (?P<said>.+)", "esptool says: {said}"),
        (r"error: (?P<said>.+)", "it says: {said}"),
    )
)


def diagnose(output: str) -> str:
    """Return the cause and the remedy that a programmer's `output` points to; its own last line where none is known."""
    for sign in _SIGNS:
        found = re.search(sign.pattern, output, re.IGNORECASE)
        if found is not None:
            return sign.meaning.format(**found.groupdict())
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = lines[-1][:LONGEST_QUOTE_CHARS] if lines else "nothing"
    return f"its last words were {said!r}: run the command above by itself to see more"
