"""Byte streams that carry the link: a Unix socket, a serial port or pty, the pipes of a child process."""

import contextlib
import os
import select
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, Protocol

import serial

from edge.errors import HarkenError

DEFAULT_BAUD_RATE = 115200
_CHUNK_BYTES = 65536
_CONNECT_RETRY_S = 0.02


class StreamClosedError(HarkenError):
    """The other end is gone."""


class Stream(Protocol):
    """What the link needs of a transport. `read` and `write` may run in two threads at once."""

    name: str

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived, waiting up to `timeout_s`; b"" when nothing has. Raises StreamClosedError."""

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises StreamClosedError."""

    def close(self) -> None:
        """Let go of the transport; may be called twice."""


class UnixSocketStream:
    """A connection to a listening Unix socket: a virtual device or QEMU's serial port."""

    def __init__(self, path: Path, timeout_s: float = 5.0) -> None:
        """Connect, trying again for up to `timeout_s` while nobody listens yet; raises HarkenError."""
        self.name = f"unix:{path}"
        deadline = time.monotonic() + timeout_s
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(path))
                break
            except OSError as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise HarkenError(
                        f"no device listens at {self.name} ({error.strerror or error}): start it, or correct the path"
                    ) from error
                time.sleep(_CONNECT_RETRY_S)
        self._socket = connection

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived; see Stream."""
        try:
            readable, _, _ = select.select([self._socket], [], [], timeout_s)
            if not readable:
                return b""
            data = self._socket.recv(_CHUNK_BYTES)
        except (OSError, ValueError) as error:
            raise StreamClosedError(f"the link at {self.name} is closed: start the device again") from error
        if not data:
            raise StreamClosedError(f"the device at {self.name} has closed the link: see its log, start it again")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`; see Stream."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise StreamClosedError(f"the link at {self.name} is closed: start the device again") from error

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _is_pty(port: str) -> bool:
    return os.path.realpath(port).startswith("/dev/pts/")


class SerialStream:
    """A serial port, also over USB, or a pty."""

    def __init__(self, port: str, baud_rate: int = DEFAULT_BAUD_RATE) -> None:
        """Open `port`; raises HarkenError where it cannot be had.

        On a pty DTR and RTS do not exist and setting them raises errno 25, so they are left alone; on a board they
        often are wired to its reset, so a port is opened with both inactive.
        """
        self.name = f"serial:{port}"
        self._serial = serial.Serial()
        self._serial.port = port
        self._serial.baudrate = baud_rate
        if not _is_pty(port):
            self._serial.exclusive = True
            self._serial.dtr = False
            self._serial.rts = False
        try:
            self._serial.open()
        except (serial.SerialException, OSError, ValueError) as error:
            raise HarkenError(
                f"cannot open {self.name} ({error}): connect the board, close other programs that use the port, "
                "and see that you may read and write it (group dialout)"
            ) from error

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived; see Stream."""
        try:
            if self._serial.timeout != timeout_s:  # setting it configures the port anew
                self._serial.timeout = timeout_s
            first = bytes(self._serial.read(1))
            return first + bytes(self._serial.read(self._serial.in_waiting)) if first else b""
        except (serial.SerialException, OSError, TypeError, ValueError) as error:
            raise StreamClosedError(f"the link at {self.name} is gone: connect the board again") from error

    def write(self, data: bytes) -> None:
        """Send all of `data`; see Stream."""
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError, TypeError, ValueError) as error:
            raise StreamClosedError(f"the link at {self.name} is gone: connect the board again") from error

    def close(self) -> None:
        """Close the port."""
        self._serial.close()


class PipeStream:
    """The standard input and output of a child process, which was started with both as unbuffered pipes."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        """Take over the pipes of `process`; raises HarkenError where it was started without them."""
        if process.stdin is None or process.stdout is None:
            raise HarkenError("the process has no pipes: start it with stdin=PIPE and stdout=PIPE")
        self.name = f"process {process.pid}"
        self._input: IO[bytes] = process.stdin
        self._output: IO[bytes] = process.stdout

    def read(self, timeout_s: float) -> bytes:
        """Return what has arrived; see Stream."""
        try:
            readable, _, _ = select.select([self._output], [], [], timeout_s)
            if not readable:
                return b""
            data = os.read(self._output.fileno(), _CHUNK_BYTES)
        except (OSError, ValueError) as error:
            raise StreamClosedError(f"the pipe of {self.name} is closed: start it again") from error
        if not data:
            raise StreamClosedError(f"{self.name} has ended: see its log, start it again")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`; see Stream."""
        try:
            self._input.write(data)
            self._input.flush()
        except (OSError, ValueError) as error:
            raise StreamClosedError(f"{self.name} has ended: see its log, start it again") from error

    def close(self) -> None:
        """Close both pipes; the process is its owner's to end."""
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()


def open_stream(address: str, timeout_s: float = 5.0) -> Stream:
    """Open `unix:PATH` or `serial:PORT[@BAUD]` (ptys too); raises HarkenError that says what is wrong."""
    scheme, _, place = address.partition(":")
    if scheme == "unix" and place:
        return UnixSocketStream(Path(place), timeout_s)
    if scheme == "serial" and place:
        port, _, baud_rate = place.partition("@")
        if baud_rate and not baud_rate.isdigit():
            raise HarkenError(f"baud rate {baud_rate!r} is no number: write serial:/dev/ttyACM0@115200")
        return SerialStream(port, int(baud_rate) if baud_rate else DEFAULT_BAUD_RATE)
    raise HarkenError(f"link address {address!r} is not understood: write unix:PATH or serial:PORT[@BAUD]")
