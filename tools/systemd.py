"""A systemd unit for a command of Harken that runs on and on."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path


def unit(description: str, arguments: Sequence[str], folder: Path, writable: Sequence[Path] = ()) -> str:
    """Return the text of a unit that runs `harken ARGUMENTS`.

    Args:
        description: for `systemctl status`.
        arguments: of `harken`; paths among them absolute.
        folder: where it runs, absolute.
        writable: folders that it writes to; all others are read-only to it.
    """
    program = shutil.which("harken") or str(Path(sys.argv[0]).resolve())
    paths = "".join(f"ReadWritePaths={path.resolve()}\n" for path in writable)
    return f"""[Unit]
Description={description}
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={shlex.join([program, *arguments])}
WorkingDirectory={folder.resolve()}
Restart=always
RestartSec=2
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
{paths}
[Install]
WantedBy=multi-user.target
"""
