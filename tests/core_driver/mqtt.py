"""Carries the bytes of the core's MQTT session, with the clock and the sizes of pieces in the test's hand."""

import socket
import time
from dataclasses import dataclass, field
from enum import IntEnum

from tests.core_driver import CoreDriver, CoreError, unhex


class State(IntEnum):
    """As in hk_mqtt.h."""

    CLOSED = 0
    CONNECTING = 1
    SUBSCRIBING = 2
    UP = 3
    FAILED = 4


@dataclass(frozen=True)
class Message:
    """A publish that the session received."""

    topic: str
    payload: bytes
    is_retained: bool


@dataclass
class Session:
    """One session of the driver's core."""

    core: CoreDriver
    now_ms: int = 0
    is_connected: bool = False
    messages: list[Message] = field(default_factory=list)
    published: list[int] = field(default_factory=list)

    def init(
        self,
        client_id: str = "device-1",
        filters: tuple[str, ...] = (),
        will: tuple[str, bytes] = ("", b""),
        keep_alive_seconds: int = 30,
        username: str = "",
        password: str = "",
    ) -> None:
        """Set the session up, closed."""
        words = (client_id, username, password, *will, keep_alive_seconds, *filters)
        self.core.ask("mqtt_init", *words)

    @property
    def state(self) -> State:
        return State(int(self.core.ask("mqtt_state")[0]))

    @property
    def details(self) -> dict[str, int]:
        """Error, CONNACK code, whether the broker knew the client, messages too large, room for publishes."""
        names = ("state", "error", "connack_code", "had_session", "messages_too_large", "room")
        return dict(zip(names, map(int, self.core.ask("mqtt_state")), strict=True))

    def open(self) -> None:
        self.core.ask("mqtt_open", self.now_ms)

    def close(self) -> None:
        self.core.ask("mqtt_close")
        self.is_connected = False

    def poll(self) -> None:
        self.core.ask("mqtt_poll", self.now_ms)

    def publish(
        self,
        token: int,
        topic: str,
        head: bytes = b"",
        body_bytes: int = 0,
        qos: int = 1,
        is_retained: bool = False,
    ) -> None:
        self.core.ask("mqtt_publish", token, topic, head, body_bytes, qos, is_retained)

    def output(self, most: int = 1_000_000) -> bytes:
        """Take up to `most` bytes of one piece of output."""
        return unhex(self.core.ask("mqtt_output", most, self.now_ms)[0])

    def all_output(self) -> bytes:
        out = b""
        while piece := self.output():
            out += piece
        return out

    def receive(self, data: bytes) -> None:
        """Hand bytes to the session and note what happened; raises CoreError when it failed."""
        words = self.core.ask("mqtt_receive", data)
        while len(words) >= 5:
            kind, token, is_retained, topic, payload = words[:5]
            words = words[5:]
            if kind == "1":
                self.is_connected = True
            elif kind == "2":
                self.messages.append(Message(unhex(topic).decode(), unhex(payload), is_retained == "1"))
            elif kind == "3":
                self.published.append(int(token))
        if words:
            raise CoreError(int(words[1]))


def body(token: int, size: int) -> bytes:
    """Return the body that the driver's reader gives for a publish with `token`."""
    return bytes((7 * n + token) & 255 for n in range(size))


class OnSocket:
    """A session on a TCP socket to a broker; time is real."""

    def __init__(self, session: Session, port: int, most_bytes: int = 512) -> None:
        self.session = session
        self.most_bytes = most_bytes
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket.setblocking(False)
        self._set_clock()
        session.open()

    def _set_clock(self) -> None:
        self.session.now_ms = int(time.monotonic() * 1000) % 2**32

    def step(self) -> None:
        """Move what can be moved. Raises CoreError when the session fails, ConnectionError when the broker is gone."""
        session = self.session
        self._set_clock()
        session.poll()
        moved = False
        while piece := session.output(self.most_bytes):
            self._socket.setblocking(True)
            self._socket.sendall(piece)
            self._socket.setblocking(False)
            moved = True
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            if not moved:
                time.sleep(0.002)
            return
        if not data:
            raise ConnectionError("the broker has closed the connection")
        session.receive(data)

    def until(self, condition: object, timeout_s: float = 10.0) -> None:
        """Step until `condition()`; AssertionError after `timeout_s`."""
        assert callable(condition)
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not in {timeout_s} s: {self.session.details}"
            self.step()

    def drop(self) -> None:
        """Cut the connection without a DISCONNECT."""
        self._socket.close()
        self.session.close()
