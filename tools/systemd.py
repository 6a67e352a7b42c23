"""A systemd unit for a command of Harken that runs on and on."""

import getpass
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

# What no service of Harken needs is taken from it. MemoryDenyWriteExecute is not among it: libffi, by which Python
# calls C, may ask for such memory.
_HARDENING = """NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateTmp=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
"""
_NO_DEVICES = "PrivateDevices=yes\n"
# Boards on USB, their bridges and plain serial ports; in Debian and its kin they belong to this group.
_SERIAL_PORTS = """DevicePolicy=closed
DeviceAllow=char-ttyACM rw
DeviceAllow=char-ttyUSB rw
DeviceAllow=char-ttyS rw
SupplementaryGroups=dialout
"""


def unit(
    description: str,
    arguments: Sequence[str],
    folder: Path,
    writable: Sequence[Path] = (),
    needs_serial_ports: bool = False,
) -> str:
    """Return the text of a unit that runs `harken ARGUMENTS` as the user who asks for it, and never gives up.

    Args:
        description: for `systemctl status`.
        arguments: of `harken`; paths among them absolute.
        folder: where it runs, absolute.
        writable: folders that it writes to; all others are read-only to it.
        needs_serial_ports: boards on cables are to be reached; else it sees no device at all.
    """
    program = shutil.which("harken") or str(Path(sys.argv[0]).resolve())
    paths = "".join(f"ReadWritePaths={_escaped(str(path.resolve()))}\n" for path in writable)
    command = shlex.join([program, *arguments]).replace("%", "%%").replace("$", "$$")
    return f"""[Unit]
Description={description}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
User={getpass.getuser()}
ExecStart={command}
WorkingDirectory={_escaped(str(folder.resolve()))}
Restart=always
RestartSec=2
{_HARDENING}{_SERIAL_PORTS if needs_serial_ports else _NO_DEVICES}{paths}
[Install]
WantedBy=multi-user.target
"""


def _escaped(path: str) -> str:
    return path.replace("%", "%%")
