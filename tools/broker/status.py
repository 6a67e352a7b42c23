"""What a running broker says of itself on `$SYS`, and when its certificate ends."""

import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import HarkenError
from tools.broker.folder import OPERATOR_NAME, BrokerFolder

CONNECT_TIMEOUT_S = 5.0
FIGURES_TIMEOUT_S = 12.0  # Mosquitto publishes every 10 s what is not retained

_FIGURES = {
    "version": "$SYS/broker/version",
    "uptime": "$SYS/broker/uptime",
    "clients_connected": "$SYS/broker/clients/connected",
    "clients_disconnected": "$SYS/broker/clients/disconnected",
    "messages_received": "$SYS/broker/messages/received",
    "messages_sent": "$SYS/broker/messages/sent",
    "messages_stored": "$SYS/broker/store/messages/count",
    "bytes_stored": "$SYS/broker/store/messages/bytes",
    "messages_dropped": "$SYS/broker/publish/messages/dropped",
    "subscriptions": "$SYS/broker/subscriptions/count",
    "retained": "$SYS/broker/retained messages/count",
}


@dataclass(frozen=True)
class BrokerStatus:
    """A broker's state.

    Attributes:
        address: where it answered.
        connect_ms: how long a connection took, with TLS.
        figures: by name; counts are integers.
        certificate_ends: of the server, ISO 8601; None without TLS.
    """

    address: str
    connect_ms: float
    figures: dict[str, Any] = field(default_factory=dict)
    certificate_ends: str | None = None


def tls_context(folder: Path) -> ssl.SSLContext:
    """Return the TLS settings of an identity: its certificate, its key and the authority it trusts."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def query_status(broker: BrokerFolder, timeout_s: float = FIGURES_TIMEOUT_S) -> BrokerStatus:
    """Connect as the operator and collect what the broker says.

    Raises:
        HarkenError: nobody answers, or the connection is refused; with what to look at.
    """
    host = _reachable(broker.settings.address)
    port = broker.settings.port
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    if not broker.settings.is_open:
        context = tls_context(broker.fleet().place(OPERATOR_NAME, "operator"))
        context.check_hostname = host in broker.settings.hosts
        client.tls_set_context(context)
    figures: dict[str, Any] = {}
    names = {topic: name for name, topic in _FIGURES.items()}
    complete, refused = threading.Event(), threading.Event()

    def connected(client: mqtt.Client, _data: object, _flags: object, reason: Any, _properties: object) -> None:
        if reason.is_failure:
            refused.set()
            complete.set()
        client.subscribe([(topic, 0) for topic in _FIGURES.values()])

    def received(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        text = message.payload.decode("utf-8", "replace")
        figures[names[message.topic]] = int(text) if text.isdigit() else text
        if len(figures) == len(_FIGURES):
            complete.set()

    client.on_connect = connected
    client.on_message = received
    started_s = time.monotonic()
    try:
        client.connect(host, port)
    except (OSError, ssl.SSLError) as error:
        raise HarkenError(_unreachable(broker, host, port, error)) from None
    connect_ms = (time.monotonic() - started_s) * 1000
    client.loop_start()
    complete.wait(timeout_s)
    client.disconnect()
    client.loop_stop()
    if refused.is_set():
        raise HarkenError(f"the broker at {host}:{port} refuses the operator: reload it, and see {broker.log}")
    ends = None if broker.settings.is_open else _server_end(broker)
    return BrokerStatus(f"{host}:{port}", round(connect_ms, 1), dict(sorted(figures.items())), ends)


def _reachable(address: str) -> str:
    return "127.0.0.1" if address in ("0.0.0.0", "::") else address


def _unreachable(broker: BrokerFolder, host: str, port: int, error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"the broker at {host}:{port} and the operator do not trust each other ({error.reason}): reload it"
    if isinstance(error, socket.timeout):
        return f"nothing answers at {host}:{port}: see the firewall"
    hint = f"see {broker.log}" if broker.pid is not None else f"start it: harken broker start {broker.folder}"
    return f"no broker at {host}:{port} ({error.strerror or error}): {hint}"


def _server_end(broker: BrokerFolder) -> str | None:
    from tools.broker.folder import SERVER_NAME

    entry = broker.fleet().current(SERVER_NAME)
    return entry.expires_at if entry is not None else None
