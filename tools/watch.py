"""Listens on a broker to all that devices and cloud say to each other, for the demo and for tests."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.contracts import messages, topics
from edge.errors import HarkenError

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Said:
    """One message as the broker passed it on.

    Attributes:
        at_s: when it came, `time.monotonic()` seconds.
        topic: whose it is and of which kind.
        payload: its bytes.
        message: the same, decoded.
        is_retained: it was said before the watch began.
    """

    at_s: float
    topic: topics.Topic
    payload: bytes
    message: Any
    is_retained: bool = False


class Watch:
    """A subscription to one device's topics (or all devices'). Use as a context manager.

    Args:
        host: the broker's host name.
        port: the broker's port.
        device_id: whose topics; None for all.
        on_said: called in the network thread for each message, before it is kept in `said`.
        tls: how to speak to a broker that asks for it, our certificate included.

    Raises:
        HarkenError: no broker answers there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        device_id: str | None = None,
        on_said: Callable[[Said], None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = (host, port)
        self._filter = f"{topics.PREFIX}/{device_id or '+'}/#"
        self._on_said = on_said
        self._changed = threading.Condition()
        self._is_subscribed = threading.Event()
        self.said: list[Said] = []
        self.undecodable = 0
        # 3.1.1, so that the broker that stands in for Mosquitto will do as well
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        if tls is not None:
            self._client.tls_set_context(tls)
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._is_subscribed.set()
        self._client.on_message = self._received

    def __enter__(self) -> Watch:
        host, port = self._address
        try:
            self._client.connect(host, port)
        except OSError as error:
            raise HarkenError(f"no broker answers at {host}:{port} ({error}): start one with harken serve") from error
        self._client.loop_start()
        if not self._is_subscribed.wait(CONNECT_TIMEOUT_S):
            self._client.loop_stop()
            raise HarkenError(f"the broker at {host}:{port} does not take a subscription: see its log")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, device_id: str, kind: topics.Kind, message: Any, piece: int | None = None) -> None:
        """Send a message to a device at QoS 1 and wait until the broker has it; None takes back a retained one."""
        payload = b"" if message is None else messages.encode(message)
        topic = topics.build(device_id, kind, piece)
        info = self._client.publish(topic, payload, qos=1, retain=kind in topics.RETAINED)
        info.wait_for_publish(CONNECT_TIMEOUT_S)

    def of_kind(self, *kinds: topics.Kind) -> list[Said]:
        """What was said so far of these kinds, in order."""
        with self._changed:
            return [said for said in self.said if said.topic.kind in kinds]

    def wait_for(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `is_done()` after some message; False when the time ran out."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not is_done():
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0:
                    return False
                self._changed.wait(remaining_s)
        return True

    def _connected(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(self._filter, qos=1)

    def _received(self, _client: mqtt.Client, _data: Any, raw: mqtt.MQTTMessage) -> None:
        if not raw.payload:
            return  # a retained message was taken back
        try:
            topic = topics.parse(raw.topic)
            message = messages.decode(topic.kind, bytes(raw.payload))
        except HarkenError:
            self.undecodable += 1
            return
        said = Said(time.monotonic(), topic, bytes(raw.payload), message, raw.retain)
        if self._on_said is not None:
            self._on_said(said)
        with self._changed:
            self.said.append(said)
            self._changed.notify_all()
