"""Devices, the gateway and a real broker: what a cloud receives."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from cloud.broker import find_mosquitto
from edge import media_set
from edge.contracts import limits, messages, topics
from edge.errors import HarkenError
from edge.native import adpcm_decode
from firmware_gen.build import build_image
from tests.mosquitto import Mosquitto
from tests.unit.device.conftest import BOOT_ID, TONES
from tests.unit.device.sounds import RATE_HZ, overlapping, quiet, scene
from tools import media_push
from tools.device import Device
from tools.gateway import Bridge, Broker
from tools.watch import Watch

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed"),
]


class Cloud:
    """Receives what devices publish and answers with receipts; asks for clips on request."""

    def __init__(self, port: int, answers: bool = True) -> None:
        self.answers = answers
        self.received: list[tuple[str, bytes]] = []
        self.statuses: list[messages.Status] = []
        self.changed = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="cloud", clean_session=False)
        self._client.on_message = self._take
        self._client.on_connect = self._subscribe
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _subscribe(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe([(topics.subscription(kind), 1) for kind in ("trigger", "clip", "status")])

    def _take(self, client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        topic = topics.parse(message.topic)
        decoded = messages.decode(topic.kind, message.payload)
        with self.changed:
            if topic.kind == "status":
                self.statuses.append(decoded)
            else:
                self.received.append((topic.kind, message.payload))
            self.changed.notify_all()
        if topic.kind == "status" or not self.answers:
            return
        receipt = messages.Receipt(decoded.event_id, topic.kind)
        client.publish(topics.build(topic.device_id, "receipt"), messages.encode(receipt), 1)
        if topic.kind == "trigger" and decoded.clip == "on_request":
            command = messages.Command(decoded.event_id, "send_clip")
            client.publish(topics.build(topic.device_id, "command"), messages.encode(command), 1)

    def publish(self, device_id: str, kind: str, message: messages.MqttMessage, retain: bool = False) -> None:
        self._client.publish(topics.build(device_id, kind), messages.encode(message), 1, retain).wait_for_publish(5)

    def wait_for(self, count: int, kind: str = "", timeout_s: float = 20.0) -> list[tuple[str, bytes]]:
        def matching() -> list[tuple[str, bytes]]:
            return [entry for entry in self.received if kind in ("", entry[0])]

        with self.changed:
            assert self.changed.wait_for(lambda: len(matching()) >= count, timeout_s), self.received
            return matching()

    def wait_for_status(self, is_online: bool, timeout_s: float = 20.0) -> messages.Status:
        def last() -> messages.Status | None:
            found = [status for status in self.statuses if status.is_online == is_online]
            return found[-1] if found else None

        with self.changed:
            assert self.changed.wait_for(lambda: last() is not None, timeout_s), self.statuses
            status = last()
            assert status is not None
            return status

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path)
    yield broker
    broker.kill()


@pytest.fixture
def cloud(mosquitto: Mosquitto) -> Iterator[Cloud]:
    receiver = Cloud(mosquitto.port)
    yield receiver
    receiver.close()


def device_of(board: str, device_id: str = "test") -> Device:
    return Device(board, build_image(board, TONES), device_id=device_id, boot_id=BOOT_ID)


def attach(device: Device, mosquitto: Mosquitto) -> Bridge:
    return Bridge(device.link, Broker("127.0.0.1", mosquitto.port))


def test_a_trigger_and_its_clip_reach_the_broker(mosquitto: Mosquitto, cloud: Cloud) -> None:
    pcm = scene("smoke_alarm", pause_s=3.0)
    with device_of("host") as device:
        attach(device, mosquitto)
        device.inject(pcm)
        assert device.pending == 0
        (event,) = device.events
    ((_, trigger_bytes),) = cloud.wait_for(1, "trigger")
    ((_, clip_bytes),) = cloud.wait_for(1, "clip")
    trigger, clip = messages.decode("trigger", trigger_bytes), messages.decode("clip", clip_bytes)
    assert trigger.event == "smoke_alarm"
    assert trigger.event_id == clip.event_id == event.event_id
    behind_latest = trigger.trigger_sample - trigger.fingerprint.first_sample - 99 * 640
    assert behind_latest in (320, 640)  # a word each second step
    assert clip.first_sample + clip.trigger_offset == trigger.trigger_sample
    assert 4 * RATE_HZ <= clip.sample_count <= 4 * RATE_HZ + 504
    # What is heard in the clip is what was injected, but for four bits a sample.
    decoded = adpcm_decode(clip.data)[: clip.sample_count].astype(float)
    original = pcm[clip.first_sample : clip.first_sample + clip.sample_count].astype(float)
    assert np.corrcoef(decoded, original)[0, 1] > 0.98


@pytest.mark.parametrize("board", ["host", pytest.param("mps2-an386", marks=pytest.mark.qemu)])
@pytest.mark.parametrize(
    ("sound", "earlier", "later", "around"),
    [
        (overlapping("dog_bark", "baby_cry", later_s=0.1), "dog_bark", "baby_cry", "dog_bark"),
        # an alarm has to go on before it is one: the dog that comes later triggers first
        (overlapping("smoke_alarm", "dog_bark", later_s=1.5), "dog_bark", "smoke_alarm", "smoke_alarm"),
    ],
    ids=["the first event's window", "a safety event's window"],
)
def test_events_that_trigger_within_two_seconds_share_one_clip(
    mosquitto: Mosquitto, cloud: Cloud, board: str, sound: np.ndarray, earlier: str, later: str, around: str
) -> None:
    with device_of(board) as device:
        attach(device, mosquitto)
        cloud.wait_for_status(is_online=True)
        device.inject(sound)
        assert device.pending == 0
        assert device.stats().clips_dropped == 0
    triggers = [messages.decode("trigger", payload) for _, payload in cloud.wait_for(2, "trigger")]
    clips = {clip.event_id: clip for clip in (messages.decode("clip", data) for _, data in cloud.wait_for(2, "clip"))}
    samples = {trigger.event: trigger.trigger_sample for trigger in triggers}
    assert list(samples) == [earlier, later]
    assert 0 < samples[later] - samples[earlier] <= 2 * RATE_HZ
    assert {clip.data for clip in clips.values()} == {clips[triggers[0].event_id].data}
    for trigger in triggers:
        clip = clips[trigger.event_id]
        assert clip.first_sample + clip.trigger_offset == trigger.trigger_sample
        assert clip.first_sample + clip.sample_count == samples[around] + 2 * RATE_HZ


@pytest.mark.qemu
def test_the_emulated_board_sends_the_same_bytes_as_the_virtual_device(mosquitto: Mosquitto, cloud: Cloud) -> None:
    pcm = scene("smoke_alarm", "dog_bark", "co_alarm", pause_s=3.0)
    sent = {}
    for board in ("host", "mps2-an386"):
        with device_of(board) as device:
            attach(device, mosquitto)
            device.inject(pcm)
        sent[board] = cloud.wait_for(6)
        cloud.received.clear()
    assert [kind for kind, _ in sent["host"]] == ["trigger", "clip"] * 3
    assert sent["host"] == sent["mps2-an386"]


def test_what_the_cloud_has_not_stored_survives_a_killed_broker(mosquitto: Mosquitto, cloud: Cloud) -> None:
    cloud.answers = False
    with device_of("host") as device:
        attach(device, mosquitto)
        cloud.wait_for_status(is_online=True)
        device.inject(scene("smoke_alarm", pause_s=3.0), settle=False)
        first = cloud.wait_for(2)
        mosquitto.kill()
        cloud.received.clear()
        cloud.answers = True
        mosquitto.start()
        # The device may be back before the cloud has subscribed again: then the broker forgets what it acknowledged.
        again = cloud.wait_for(2, timeout_s=40.0)
        assert sorted(set(again)) == sorted(first)
        device.inject(quiet(0.1))
        assert device.pending == 0


def test_retained_settings_reach_the_device(mosquitto: Mosquitto, cloud: Cloud) -> None:
    chosen = {"glass_break": messages.EventSetting(is_enabled=True, sensitivity="normal")}
    cloud.publish("test", "config", messages.Config(is_armed=True, events=chosen), retain=True)
    with device_of("host") as device:
        attach(device, mosquitto)
        with cloud.changed:
            assert cloud.changed.wait_for(lambda: any(s.is_armed for s in cloud.statuses), 20.0)
        device.inject(scene("glass_break", pause_s=3.0))
        assert [event.event for event in device.events] == ["glass_break"]


def test_a_discarded_clip_is_not_sent(mosquitto: Mosquitto, cloud: Cloud) -> None:
    cloud.answers = False
    with device_of("host") as device:
        attach(device, mosquitto)
        cloud.wait_for_status(is_online=True)
        device.inject(scene("dog_bark", pause_s=3.0), settle=False)
        ((_, payload),) = cloud.wait_for(1, "trigger")
        event_id = messages.decode("trigger", payload).event_id
        cloud.publish("test", "receipt", messages.Receipt(event_id, "trigger"))
        cloud.publish("test", "verdict", messages.Verdict(event_id, "media", "known"))
        device.inject(quiet(0.5), settle=True)
        assert device.pending == 0
    assert [kind for kind, _ in cloud.received] == ["trigger"]


def test_an_orderly_shutdown_says_offline_without_the_last_will(mosquitto: Mosquitto, cloud: Cloud) -> None:
    with device_of("host") as device:
        attach(device, mosquitto)
        cloud.wait_for_status(is_online=True)
        device.inject(quiet(1.0))
    farewell = cloud.wait_for_status(is_online=False)
    time.sleep(0.3)  # a last will would follow at once
    assert farewell.samples_heard == RATE_HZ
    # a connection that was lost on the way may have left one before; after the farewell there must be none
    assert [status.samples_heard for status in cloud.statuses if not status.is_online][-1] == RATE_HZ


def test_a_device_that_dies_is_said_to_be_offline_by_its_last_will(mosquitto: Mosquitto, cloud: Cloud) -> None:
    with device_of("host") as device:
        attach(device, mosquitto)
        cloud.wait_for_status(is_online=True)
        assert device._running is not None
        device._running.process.kill()
        assert cloud.wait_for_status(is_online=False).board == "host"


def test_a_malformed_message_from_the_cloud_is_ignored_and_said(mosquitto: Mosquitto, cloud: Cloud) -> None:
    with device_of("host") as device:
        attach(device, mosquitto)
        cloud.wait_for_status(is_online=True)
        cloud._client.publish(topics.build("test", "command"), b"\xff\x00", 1).wait_for_publish(5)
        deadline = time.monotonic() + 10
        while not any("schema" in line for line in device.log) and time.monotonic() < deadline:
            time.sleep(0.01)
        device.inject(scene("smoke_alarm", pause_s=3.0))
        assert any("schema" in line for line in device.log)
        assert len(device.events) == 1


def test_the_gateway_waits_for_a_broker_that_is_not_there_yet(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path)
    broker.kill()
    said: list[str] = []
    with device_of("host") as device:
        bridge = Bridge(device.link, Broker("127.0.0.1", broker.port), said.append)
        device.inject(quiet(0.5), settle=False)
        broker.start()
        try:
            deadline = time.monotonic() + 20
            while "the cloud is reached" not in device.log and time.monotonic() < deadline:
                time.sleep(0.02)
            assert "the cloud is reached" in device.log
            assert bridge.connections == 1
            assert len([line for line in said if "no broker" in line]) == 1
        finally:
            broker.kill()


@pytest.mark.parametrize(
    ("address", "host", "port", "is_tls"),
    [
        ("localhost", "localhost", 1883, False),
        ("broker.example:1884", "broker.example", 1884, False),
        ("mqtt://broker.example", "broker.example", 1883, False),
        ("mqtts://broker.example", "broker.example", 8883, True),
    ],
)
def test_a_broker_s_address_is_understood(address: str, host: str, port: int, is_tls: bool) -> None:
    broker = Broker.parse(address)
    assert (broker.host, broker.port, broker.tls is not None) == (host, port, is_tls)


@pytest.mark.parametrize("address", ["", ":1883", "http://broker", "broker:port", "broker:99999"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(HarkenError, match="HOST:PORT"):
        Broker.parse(address)


@pytest.mark.parametrize("board", ["host", pytest.param("mps2-an386", marks=pytest.mark.qemu)])
def test_a_set_of_known_media_waits_with_the_broker_for_its_device(mosquitto: Mosquitto, board: str) -> None:
    rng = np.random.default_rng(1)
    words = rng.integers(0, 2**32, (limits.MEDIA_CLIPS_MAX, 2, limits.MEDIA_CLIP_WORDS_MAX), dtype=np.uint32)
    full = media_set.make([media_set.Clip(f"{n:016x}", tuple(each)) for n, each in enumerate(words)], 1700000000)
    with Watch("127.0.0.1", mosquitto.port) as watch:
        assert media_push.push(watch, ["test"], full, timeout_s=0.0) == [media_push.Outcome("test", is_held=False)]
        with device_of(board) as device:
            attach(device, mosquitto)
            assert watch.wait_for(
                lambda: any(said.message.set_version == full.version for said in watch.of_kind("status")), 20.0
            )
            assert device.log.count("the last set of known media was refused: the one before stays") == 0
