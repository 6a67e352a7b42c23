"""The core's MQTT session against a real Mosquitto."""

import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud.broker import find_mosquitto
from edge.contracts import limits, messages, topics
from tests.core_driver import CoreDriver, CoreError
from tests.core_driver.mqtt import OnSocket, Session, State, body
from tests.mosquitto import Mosquitto

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed"),
]

DEVICE = "device-1"
FILTERS = tuple(topics.build(DEVICE, kind) for kind in topics.TO_DEVICE)
STATUS = topics.build(DEVICE, "status")
TRIGGER = topics.build(DEVICE, "trigger")
CLIP = topics.build(DEVICE, "clip")
RECEIPT = topics.build(DEVICE, "receipt")
NOTHING_KEPT = "persistence false\nmax_queued_messages 0\n"


class Cloud:
    """Another client of the broker, by another's MQTT library."""

    def __init__(self, port: int) -> None:
        self.received: list[paho.MQTTMessage] = []
        self._subscribed = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="cloud")
        self._client.on_message = lambda _client, _data, message: self.received.append(message)
        self._client.on_subscribe = lambda *_: setattr(self, "_subscribed", True)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("harken/#", qos=1)
        deadline = time.monotonic() + 5
        while not self._subscribed:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def publish(self, topic: str, payload: bytes, is_retained: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=is_retained).wait_for_publish(5)

    def payloads(self, topic: str) -> list[bytes]:
        return [message.payload for message in self.received if message.topic == topic]

    def wait_for(self, topic: str, count: int = 1) -> list[bytes]:
        deadline = time.monotonic() + 5
        while len(self.payloads(topic)) < count:
            assert time.monotonic() < deadline, f"{topic}: {len(self.payloads(topic))} of {count}"
            time.sleep(0.01)
        return self.payloads(topic)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    child = Mosquitto(tmp_path, NOTHING_KEPT + "allow_anonymous true\n")
    yield child
    child.kill()


@pytest.fixture
def cloud(broker: Mosquitto) -> Iterator[Cloud]:
    client = Cloud(broker.port)
    yield client
    client.close()


@pytest.fixture
def session(core: CoreDriver) -> Session:
    device = Session(core)
    device.init(DEVICE, FILTERS, will=(STATUS, b"gone"))
    return device


def test_it_connects_subscribes_and_hears_a_retained_config(broker: Mosquitto, cloud: Cloud, session: Session) -> None:
    config = messages.encode(messages.Config(True, {"door": messages.EventSetting(True, "high")}))
    cloud.publish(topics.build(DEVICE, "config"), config, is_retained=True)
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected and session.messages)
    assert session.state is State.UP
    assert [(m.topic, m.payload, m.is_retained) for m in session.messages] == [
        (topics.build(DEVICE, "config"), config, True)
    ]
    wire.drop()


@pytest.mark.parametrize("most_bytes", [13, 512])
def test_a_clip_of_33_kb_arrives_whole_though_no_buffer_holds_it(
    broker: Mosquitto, cloud: Cloud, session: Session, most_bytes: int
) -> None:
    wire = OnSocket(session, broker.port, most_bytes)
    wire.until(lambda: session.is_connected)
    session.publish(9, CLIP, head=b"prefix", body_bytes=33_000)
    session.publish(10, TRIGGER, head=b"trigger")
    wire.until(lambda: session.published == [9, 10])
    assert cloud.wait_for(CLIP) == [b"prefix" + body(9, 33_000)]
    assert cloud.wait_for(TRIGGER) == [b"trigger"]
    wire.drop()


def test_many_publishes_keep_their_order_within_the_window(broker: Mosquitto, cloud: Cloud, session: Session) -> None:
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    for token in range(40):
        wire.until(lambda: session.details["room"] > 0)
        session.publish(token, TRIGGER, head=b"%d" % token, qos=1 if token % 3 else 0)
    wire.until(lambda: len(session.published) == sum(token % 3 != 0 for token in range(40)))
    assert cloud.wait_for(TRIGGER, 40) == [b"%d" % token for token in range(40)]
    wire.drop()


def test_a_cut_connection_publishes_the_will_and_a_farewell_does_not(
    broker: Mosquitto, cloud: Cloud, session: Session
) -> None:
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    session.publish(1, STATUS, head=b"bye", is_retained=True)
    wire.until(lambda: session.published == [1])
    session.core.ask("mqtt_disconnect")
    with pytest.raises(ConnectionError):
        wire.until(lambda: False)
    wire.drop()
    assert cloud.wait_for(STATUS) == [b"bye"]
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    wire.drop()
    assert cloud.wait_for(STATUS, 2) == [b"bye", b"gone"]


def test_what_is_sent_to_a_device_that_is_away_awaits_it(broker: Mosquitto, cloud: Cloud, session: Session) -> None:
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    wire.drop()
    cloud.publish(RECEIPT, b"for you")
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.messages)
    assert session.details["had_session"] == 1
    assert session.messages[0].payload == b"for you"
    wire.until(lambda: session.is_connected)
    wire.drop()


def test_an_unacknowledged_message_comes_again_and_an_acknowledged_one_does_not(
    broker: Mosquitto, cloud: Cloud, session: Session
) -> None:
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    cloud.publish(RECEIPT, b"one")
    wire.until(lambda: session.messages)
    wire.drop()  # the PUBACK had no chance to go out
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected and len(session.messages) == 2)
    deadline = time.monotonic() + 0.3
    wire.until(lambda: time.monotonic() > deadline)
    wire.drop()
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    deadline = time.monotonic() + 0.3
    wire.until(lambda: time.monotonic() > deadline)
    assert [message.payload for message in session.messages] == [b"one", b"one"]
    wire.drop()


def test_a_message_over_the_limit_is_skipped_counted_and_not_sent_again(
    broker: Mosquitto, cloud: Cloud, session: Session
) -> None:
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    cloud.publish(RECEIPT, bytes(limits.MQTT_INCOMING_MAX_BYTES + 1))
    cloud.publish(RECEIPT, bytes(40_000))
    cloud.publish(RECEIPT, bytes(limits.MQTT_INCOMING_MAX_BYTES))
    wire.until(lambda: session.messages)
    assert session.details["messages_too_large"] == 2
    assert [len(message.payload) for message in session.messages] == [limits.MQTT_INCOMING_MAX_BYTES]
    deadline = time.monotonic() + 0.3
    wire.until(lambda: time.monotonic() > deadline)
    wire.drop()
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    assert session.details["messages_too_large"] == 2
    wire.drop()


def test_keep_alive_pings_hold_the_session(broker: Mosquitto, core: CoreDriver) -> None:
    session = Session(core)
    session.init("short", keep_alive_seconds=1)
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    deadline = time.monotonic() + 3.0  # twice the 1.5 keep-alives after which a broker gives a client up
    wire.until(lambda: time.monotonic() > deadline)
    assert session.state is State.UP
    wire.drop()


def test_a_killed_broker_loses_nothing_that_the_outbox_holds(
    broker: Mosquitto, cloud: Cloud, session: Session, core: CoreDriver
) -> None:
    trigger_ids = [bytes([n]) * 16 for n in range(3)]
    core.ask("outbox_init")
    for n, event_id in enumerate(trigger_ids):
        core.ask("outbox_put", event_id, n == 1, b"trigger %d" % n)

    def offer() -> list[str]:
        """Hand the session what the outbox offers, as the application does; the ids in order."""
        offered = []
        while (words := core.ask("outbox_next")) != ["-"]:
            event_id, payload = words
            session.publish(len(offered), TRIGGER, head=bytes.fromhex(payload))
            core.ask("outbox_sent", bytes.fromhex(event_id))
            offered.append(event_id)
        return offered

    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    assert offer() == [trigger_ids[1].hex(), trigger_ids[0].hex(), trigger_ids[2].hex()]
    wire.until(lambda: len(session.published) == 3)
    core.ask("outbox_receipt", trigger_ids[0])
    broker.kill()
    with pytest.raises((ConnectionError, OSError)):
        wire.until(lambda: False)
    wire.drop()
    cloud.close()
    broker.start()
    later = Cloud(broker.port)
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    core.ask("outbox_reconnected")
    assert offer() == [trigger_ids[1].hex(), trigger_ids[2].hex()]
    wire.until(lambda: len(session.published) == 5)
    assert later.wait_for(TRIGGER, 2) == [b"trigger 1", b"trigger 2"]
    later.close()
    wire.drop()


def test_a_broker_killed_in_the_middle_of_a_clip_gets_it_whole_the_next_time(
    broker: Mosquitto, cloud: Cloud, session: Session
) -> None:
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    session.publish(3, CLIP, body_bytes=33_000)
    sent = session.output(400)
    assert len(sent) == 400
    broker.kill()
    wire.drop()
    cloud.close()
    broker.start()
    later = Cloud(broker.port)
    wire = OnSocket(session, broker.port)
    wire.until(lambda: session.is_connected)
    session.publish(3, CLIP, body_bytes=33_000)
    wire.until(lambda: session.published == [3])
    assert later.wait_for(CLIP) == [body(3, 33_000)]
    later.close()
    wire.drop()


def test_a_refused_password_is_told(tmp_path: Path, core: CoreDriver) -> None:
    broker = Mosquitto(tmp_path, NOTHING_KEPT + "allow_anonymous false\n")
    session = Session(core)
    session.init("stranger", username="who", password="guess")
    wire = OnSocket(session, broker.port)
    with pytest.raises(CoreError) as error:
        wire.until(lambda: session.is_connected)
    assert error.value.code == -15
    assert session.details["connack_code"] == 5
    assert session.state is State.FAILED
    wire.drop()
    broker.kill()
