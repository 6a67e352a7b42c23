"""A real Mosquitto that tests may kill and start again at the same port."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from cloud.broker import find_mosquitto, free_port


class Mosquitto:
    """Mosquitto as a child process on a port of its own, started; `port` is that of this machine."""

    def __init__(self, folder: Path, options: str = "allow_anonymous true\n") -> None:
        """Start it with these lines of configuration; its own file lies in `folder`."""
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(f"listener {self.port} 127.0.0.1\n{options}")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it again after `kill`, and wait until it listens."""
        program = find_mosquitto()
        assert program is not None, "no mosquitto here: apt-get install mosquitto"
        self._process = subprocess.Popen(
            [program, "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline_s = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < deadline_s, "Mosquitto does not listen"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it without a farewell; what it kept in memory is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
