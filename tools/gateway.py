"""The gateway: carries devices' MQTT bytes between their links and the broker's socket, and nothing else."""

import contextlib
import queue
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.contracts import limits, messages
from edge.errors import HarkenError
from tools.link import Channel, Link, LinkError, open_stream
from tools.link.identity import check_board, check_model
from tools.link.vault import read_vault

CONNECT_TIMEOUT_S = 5.0
FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 5.0
READ_BYTES = 4096
# What a device has sent and the broker has not taken. A device cannot be held back, so a broker that stops reading
# loses its connection instead; the device then sends again what had no receipt.
QUEUED_FRAMES = 1024


@dataclass(frozen=True)
class Broker:
    """Where the broker listens, and how it is spoken to."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, address: str, ca_file: str | None = None, identity: Path | None = None) -> "Broker":
        """Return the broker of `HOST[:PORT]`, `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.

        Args:
            address: the broker's.
            ca_file: the authority that it is trusted by, PEM; implies TLS.
            identity: a device's folder of a fleet, with `ca.pem`, `cert.pem` and `key.pem`; implies TLS. A device on a
                cable has no TLS of its own: the gateway shows its certificate for it.

        Raises:
            HarkenError: the address is not understood, or a file cannot be used.
        """
        scheme, separator, rest = address.rpartition("://")
        host, _, port = rest.partition(":")
        is_tls = scheme == "mqtts" or ca_file is not None or identity is not None
        if identity is not None and ca_file is None:
            ca_file = str(identity / "ca.pem")
        port = port or ("8883" if is_tls else "1883")
        if (separator and scheme not in ("mqtt", "mqtts")) or not host or not port.isdigit() or int(port) > 65535:
            raise HarkenError(f"broker {address!r} is not understood: write HOST:PORT, or mqtts://HOST:PORT for TLS")
        try:
            tls = ssl.create_default_context(cafile=ca_file) if is_tls else None
        except (OSError, ssl.SSLError) as error:
            raise HarkenError(f"cannot use the CA file {ca_file} ({error}): give one in PEM form") from None
        if tls is not None and identity is not None:
            try:
                tls.load_cert_chain(identity / "cert.pem", identity / "key.pem")
            except (OSError, ssl.SSLError) as error:
                raise HarkenError(
                    f"cannot use the certificate in {identity} ({error}): issue one with "
                    f"`harken provision device {identity.name}`"
                ) from None
        return cls(host, int(port), tls)

    def connect(self) -> socket.socket:
        """Return a connected socket; raises OSError."""
        plain = socket.create_connection((self.host, self.port), CONNECT_TIMEOUT_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = plain if self.tls is None else self.tls.wrap_socket(plain, server_hostname=self.host)
        connection.settimeout(None)
        return connection


class Bridge:
    """One device's connection to the broker: opened when the device wants it, opened again when it breaks.

    It runs until `close` or the end of the link. Bytes from the broker wait for the device's credit, and so does the
    broker, by TCP.
    """

    def __init__(self, link: Link, broker: Broker, say: Callable[[str], None] | None = None) -> None:
        """Serve `link` from now on; handlers that it has already go on being called."""
        self.connections = 0
        self._link = link
        self._broker = broker
        self._say = say or (lambda _line: None)
        self._wants = threading.Event()
        self._ended = threading.Event()
        self._connection: socket.socket | None = None
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(QUEUED_FRAMES)
        self._next_control = link.on_control
        self._next_closed = link.on_closed
        link.on_control = self._take_control
        link.on_frame[Channel.MQTT] = self._take_mqtt
        link.on_closed = self._take_end
        self._thread = threading.Thread(target=self._run, name=f"gateway {link.stream.name}", daemon=True)
        self._thread.start()
        # Ask the device where it stands: it may have said that it wants a broker before anybody listened.
        with contextlib.suppress(LinkError):
            link.send_control(messages.HostNetwork(is_open=False))

    def close(self) -> None:
        """End the connection and stop serving the link, which stays open."""
        self._ended.set()
        self._wants.set()
        self._drop()
        self._thread.join(CONNECT_TIMEOUT_S + LONGEST_RETRY_S)
        self._link.on_control = self._next_control
        self._link.on_closed = self._next_closed
        self._link.on_frame.pop(Channel.MQTT, None)

    # --- From the device: handlers in the link's thread, which return at once ---

    def _take_control(self, message: Any) -> None:
        if isinstance(message, messages.DeviceNetwork):
            # A device that asks has no session: what is left of an older one is of no use to it.
            self._drop()
            if message.want_open:
                self._wants.set()
            else:
                self._wants.clear()
        if self._next_control is not None:
            self._next_control(message)

    def _take_mqtt(self, payload: bytes) -> None:
        if self._connection is None:
            return
        try:
            self._outgoing.put_nowait(payload)
        except queue.Full:
            self._say(f"the broker at {self._broker} takes nothing: its connection is closed and opened again")
            self._drop()

    def _take_end(self, error: Any) -> None:
        self._ended.set()
        self._wants.set()
        try:
            self._outgoing.put_nowait(None)  # what the device said last, its farewell, still reaches the broker
        except queue.Full:
            self._drop()
        if self._next_closed is not None:
            self._next_closed(error)

    def _drop(self) -> None:
        """Close the connection, if there is one, so that its threads end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    # --- The connection's life ---

    def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            self._wants.wait()
            if self._ended.is_set():
                return
            started_s = time.monotonic()
            try:
                connection = self._broker.connect()
            except OSError as error:
                if retry_s == FIRST_RETRY_S:
                    self._say(f"no broker at {self._broker} ({error.strerror or error}): trying again until there is")
            else:
                self.connections += 1
                with connection:
                    self._serve(connection)
            # A broker that lets nobody stay is not to be asked in a tight loop either.
            retry_s = FIRST_RETRY_S if time.monotonic() - started_s > LONGEST_RETRY_S else retry_s
            self._ended.wait(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    def _serve(self, connection: socket.socket) -> None:
        """Carry bytes both ways until one of the three ends."""
        self._empty_queue()
        self._connection = connection
        writer = threading.Thread(target=self._write, args=(connection,), daemon=True)
        writer.start()
        try:
            self._link.send_control(messages.HostNetwork(is_open=True))
            while data := connection.recv(READ_BYTES):
                self._link.send_mqtt(data)
        except OSError:
            pass  # the broker is gone: the device is told below
        except LinkError as error:
            self._say(str(error))
        finally:
            self._drop()
            self._outgoing.put(None)
            writer.join()
            # The device answers whether it wants another one. Only after that answer no byte of the old session can
            # come any more, so what it asked for earlier does not count.
            self._wants.clear()
            with contextlib.suppress(LinkError):
                self._link.send_control(messages.HostNetwork(is_open=False))
            if self._ended.is_set():
                self._wants.set()

    def _write(self, connection: socket.socket) -> None:
        while (payload := self._outgoing.get()) is not None:
            try:
                connection.sendall(payload)
            except OSError:
                # Let the reader see it too, and take what still comes so that nobody waits for room.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def _empty_queue(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._outgoing.get_nowait()


class Gateway:
    """Many devices at once: each is opened, asked who it is, bridged, and looked for again when it goes away."""

    def __init__(
        self,
        broker_of: Callable[[str], Broker],
        board: str | None = None,
        model_hash: bytes | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """Prepare a gateway.

        Args:
            broker_of: the broker as the device of an id speaks to it; raises HarkenError where that cannot be.
            board: what every device must say that it is; None for any.
            model_hash: of the detector that every device must run; None for any.
            say: takes a line for people.
        """
        self._broker_of = broker_of
        self._board = board
        self._model_hash = model_hash
        self._say = say
        self._served: dict[str, str] = {}
        self._lock = threading.Lock()

    def serve(self, device_id: str | None, address: str, stop: threading.Event) -> None:
        """Keep one device connected until `stop` is set. `device_id` None: the one that it was provisioned with."""
        said = ""
        while not stop.is_set():
            try:
                with Link(open_stream(address)) as link:
                    name = self._identify(link, device_id, address)
                    said = ""
                    try:
                        self._bridge(link, name, stop)
                    finally:
                        self._served.pop(name, None)
            except HarkenError as error:
                if str(error) != said:  # once, not every second while a cable is out
                    said = str(error)
                    self._say(f"{device_id or address}: {said}")
            stop.wait(1.0)

    def _identify(self, link: Link, device_id: str | None, address: str) -> str:
        """Return who the device is; raises HarkenError for a wrong board or model, or another id than its own."""
        hello = link.hello()
        check_board(hello, address, self._board)
        check_model(hello, address, self._model_hash)
        vault = read_vault(link)
        own = vault.device_id if vault is not None else ""
        name = device_id or own
        if not name:
            raise HarkenError(f"the device at {address} has no id of its own: write ID={address}, or provision it")
        if own and own != name:
            raise HarkenError(
                f"the device at {address} is provisioned as {own}: write {own}={address}, or give it this name with "
                f"`harken provision write {name} --link {address} --rename`"
            )
        with self._lock:
            other = self._served.setdefault(name, address)
        if other != address:
            raise HarkenError(
                f"the device at {address} is provisioned as {name}, and so is {other}: rename one of them"
            )
        self._say(f"{name}: {hello.board} {hello.firmware} at {address}, broker {self._broker_of(name)}")
        return name

    def _bridge(self, link: Link, name: str, stop: threading.Event) -> None:
        def tell(message: Any) -> None:
            if isinstance(message, messages.DeviceError):
                self._say(f"{name}: {message.text}")

        link.on_control = tell
        bridge = Bridge(link, self._broker_of(name), lambda line: self._say(f"{name}: {line}"))
        link.send_control(messages.HostConfigure(name, secrets.token_bytes(limits.BOOT_ID_BYTES)))
        while not link.is_closed and not stop.is_set():
            stop.wait(0.2)
        bridge.close()
