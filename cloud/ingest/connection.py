"""The server's MQTT connection: what devices publish comes in, what the pipeline answers goes out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.broker import IN_FLIGHT_MESSAGES, BrokerAddress
from cloud.pipeline import Publication
from edge.contracts import messages, topics
from edge.errors import HarkenError

CLIENT_ID = "harken-cloud"
_SESSION_EXPIRY_S = 7 * 24 * 3600
_KEEP_ALIVE_S = 30

log = logging.getLogger("harken.ingest")

OnMessage = Callable[[str, bytes, Callable[[], None]], None]


class Connection:
    """A persistent session with the broker.

    A message is acknowledged to the broker by calling what comes with it, after the history has committed; until
    then the broker keeps it for us, and `IN_FLIGHT_MESSAGES` bounds how many may be open. The session is never begun
    clean: one that once was does not survive a restart of Mosquitto.
    """

    def __init__(
        self,
        address: BrokerAddress,
        on_message: OnMessage,
        on_session_lost: Callable[[], None] = lambda: None,
        client_id: str = CLIENT_ID,
        share: str = "",
    ) -> None:
        """Prepare a connection.

        Args:
            address: the broker's.
            on_message: called with topic, payload and the function that acknowledges, in the network thread.
            on_session_lost: called after a connection to a broker that had forgotten us, and what it held for us and
                for devices with it: a broker that is killed does.
            client_id: names our session.
            share: the group of servers in which each message goes to one of them (MQTT 5); empty: all come to us. What
                was on its way to a server that is killed waits for that server; its devices, which got no receipt,
                send it again, to any of them.
        """
        if share and not address.is_mqtt5:
            raise HarkenError("this broker speaks no MQTT 5 and cannot share a subscription: leave out [broker] share")
        self._prefix = f"$share/{share}/" if share else ""
        self._address = address
        self._on_message = on_message
        self._on_session_lost = on_session_lost
        self._lock = threading.Lock()
        self._waiting: dict[int, Callable[[], None]] = {}
        self._sent_early: set[int] = set()
        self._is_subscribed = threading.Event()
        self.reconnects = -1
        protocol = mqtt.MQTTv5 if address.is_mqtt5 else mqtt.MQTTv311
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=protocol,
            clean_session=None if address.is_mqtt5 else False,
            manual_ack=True,
        )
        if address.username:
            client.username_pw_set(address.username, address.password)
        if address.tls is not None:
            client.tls_set_context(address.tls)
        client.max_inflight_messages_set(IN_FLIGHT_MESSAGES)
        client.reconnect_delay_set(min_delay=1, max_delay=5)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        client.on_publish = self._published
        self._client = client

    @property
    def is_connected(self) -> bool:
        """Whether messages flow now."""
        return self._client.is_connected() and self._is_subscribed.is_set()

    def start(self, timeout_s: float = 10.0) -> bool:
        """Connect in the background; True once subscribed, False when that took longer than the timeout."""
        options: dict[str, Any] = {}
        if self._address.is_mqtt5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = _SESSION_EXPIRY_S
            properties.ReceiveMaximum = IN_FLIGHT_MESSAGES
            options = {"clean_start": False, "properties": properties}
        self._client.connect_async(self._address.host, self._address.port, _KEEP_ALIVE_S, **options)
        self._client.loop_start()
        return self._is_subscribed.wait(timeout_s)

    def stop(self) -> None:
        """Disconnect; the broker keeps our session."""
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, publication: Publication) -> None:
        """Send a message to a device at QoS 1. Kept in memory while the broker is away."""
        topic = topics.build(publication.device_id, publication.kind)
        retained = publication.kind in topics.RETAINED
        properties = None
        if publication.stale_after_s is not None and self._address.is_mqtt5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = publication.stale_after_s
        payload = messages.encode(publication.message)
        info = self._client.publish(topic, payload, qos=1, retain=retained, properties=properties)
        on_sent = publication.on_sent or _nothing
        with self._lock:
            # The acknowledgement may have been faster. (Holding the lock while publishing would deadlock: paho calls
            # `_published` with a lock of its own that `publish` takes.)
            is_sent = info.mid in self._sent_early
            self._sent_early.discard(info.mid)
            if not is_sent:
                self._waiting[info.mid] = on_sent
        if is_sent:
            on_sent()

    def _connected(self, client: mqtt.Client, _data: Any, flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.error("the broker refuses us (%s): check its address, user and password", reason)
            return
        self.reconnects += 1
        # What is for open pages goes to every server, because any of them may serve the page.
        kept = [kind for kind in topics.FROM_DEVICE if kind not in topics.LIVE]
        filters = [(self._prefix + topics.subscription(kind), 1) for kind in kept]
        client.subscribe(filters + [(topics.subscription(kind), 0) for kind in topics.LIVE])
        if self.reconnects and not flags.session_present:
            self._on_session_lost()

    def _subscribed(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        refused = [reason for reason in reasons if reason.is_failure]
        if refused:
            log.error("the broker refuses our subscription (%s): allow it to read harken/v1/#", refused[0])
            return
        self._is_subscribed.set()

    def _disconnected(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._is_subscribed.clear()
        if reason.is_failure:
            log.warning("the broker is away (%s); connecting again", reason)

    def _received(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        def acknowledge() -> None:
            if message.qos and client.ack(message.mid, message.qos) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                log.debug("message %s is acknowledged when it comes again", message.mid)

        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "(not UTF-8)"
        self._on_message(topic, bytes(message.payload), acknowledge)

    def _published(self, _client: mqtt.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            log.error("the broker refused a message (%s)", reason)
        with self._lock:
            on_sent = self._waiting.pop(mid, None)
            if on_sent is None:
                self._sent_early.add(mid)
        if on_sent is not None:
            on_sent()


def _nothing() -> None:
    """What follows the acknowledgement of a message that nobody waits for."""
