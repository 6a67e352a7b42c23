"""A crowd of devices for the cloud's benches: their triggers and clips made beforehand, sent at a set pace."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from cloud.broker import BrokerAddress
from edge import catalogue, native
from edge.contracts import limits, messages, topics
from edge.errors import HarkenError

RATE_HZ = native.SAMPLE_RATE_HZ
_BOOT_ID = os.urandom(limits.BOOT_ID_BYTES)


def made_sound(seed: int, seconds: float = limits.CLIP_SECONDS) -> npt.NDArray[np.int16]:
    """Notes that come and go over noise, int16[seconds * 16000]: a fingerprint of its own for each seed."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0, 60, int(seconds * RATE_HZ))
    for _ in range(int(seconds * 9)):
        start, length = int(rng.integers(0, len(out) - 4000)), int(rng.integers(1500, 9000))
        time_s = np.arange(min(length, len(out) - start)) / RATE_HZ
        pitch_hz = 250 * 2 ** (rng.integers(0, 36) / 12)
        tone = np.exp(-time_s * rng.uniform(3, 14)) * np.sin(2 * np.pi * pitch_hz * time_s)
        out[start : start + len(time_s)] += rng.uniform(500, 2500) * tone
    return np.clip(out, -32767, 32767).astype(np.int16)


@dataclass(frozen=True)
class Sent:
    """One message of the crowd, encoded."""

    event_id: bytes
    topic: str
    payload: bytes


@dataclass(frozen=True)
class Sound:
    """What a trigger and its clip say of one sound."""

    fingerprint: messages.Fingerprint
    data: bytes
    sample_count: int

    @staticmethod
    def of(pcm: npt.NDArray[np.int16]) -> Sound:
        """Encode a clip, int16[n]."""
        words = native.fingerprint(pcm).every(limits.TRIGGER_FINGERPRINT_WORD_STEPS)
        count = limits.TRIGGER_FINGERPRINT_WORDS
        return Sound(messages.Fingerprint.of(0, 640, *words.between(0, count)), native.adpcm_encode(pcm), len(pcm))


def trigger(number: int, device_id: str, event: str, sound: Sound, clip: str = "") -> messages.Trigger:
    """The `number`th trigger of a device."""
    events = catalogue.load()
    return messages.Trigger(
        event_id=messages.make_event_id(_BOOT_ID, number, device_id),
        device_seq=number,
        event=event,
        event_start_sample=RATE_HZ,
        trigger_sample=2 * RATE_HZ,
        score=200,
        scores={spec.id: 200 if spec.name == event else 5 for spec in events},
        sensitivity="normal",
        is_armed=True,
        cadence=messages.Cadence("none", 0, 0, 0, 0, 0),
        fingerprint=sound.fingerprint,
        model_hash=bytes(limits.MODEL_HASH_BYTES),
        head_version=1,
        clip=clip or events.by_name(event).clip,
    )


def clip(event_id: bytes, sound: Sound) -> messages.Clip:
    """The clip that belongs to an event."""
    return messages.Clip(
        event_id=event_id,
        first_sample=0,
        sample_count=sound.sample_count,
        trigger_offset=2 * RATE_HZ,
        sample_rate_hz=RATE_HZ,
        block_bytes=limits.CLIP_BLOCK_BYTES,
        codec="ima-adpcm",
        data=sound.data,
    )


def sent(device_id: str, message: messages.Trigger | messages.Clip) -> Sent:
    """A message as it goes over the wire."""
    kind = "trigger" if isinstance(message, messages.Trigger) else "clip"
    return Sent(message.event_id, topics.build(device_id, kind), messages.encode(message))


@dataclass
class Answers:
    """When each event's receipts and verdict came, on the monotonic clock."""

    receipts: dict[tuple[bytes, str], float] = field(default_factory=dict)
    verdicts: dict[bytes, float] = field(default_factory=dict)


class Crowd:
    """One MQTT connection that speaks for all devices and hears what the cloud answers them."""

    def __init__(self, address: BrokerAddress) -> None:
        """Prepare the connection; nothing runs yet."""
        self.answers = Answers()
        self._subscribed = threading.Event()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"harken-bench-{os.getpid()}")
        if address.username:
            client.username_pw_set(address.username, address.password)
        client.max_inflight_messages_set(1000)
        client.on_connect = lambda each, *_: each.subscribe(
            [(topics.subscription("receipt"), 0), (topics.subscription("verdict"), 0)]
        )
        client.on_subscribe = lambda *_: self._subscribed.set()
        client.on_message = self._take
        self._client = client
        self._address = address

    def __enter__(self) -> Crowd:
        """Connect.

        Raises:
            HarkenError: the broker takes no subscription.
        """
        self._client.connect(self._address.host, self._address.port)
        self._client.loop_start()
        if not self._subscribed.wait(10):
            raise HarkenError("the broker takes no subscription: is it one that allows harken/v1/#?")
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, message: Sent) -> None:
        """Publish at QoS 1."""
        self._client.publish(message.topic, message.payload, qos=1)

    def send_paced(self, batches: list[list[Sent]], rate_per_s: float) -> list[float]:
        """Send each batch at its time, `rate_per_s` batches a second; returns when each was sent."""
        began = time.monotonic()
        moments = []
        for number, batch in enumerate(batches):
            wait_s = began + number / rate_per_s - time.monotonic()
            if wait_s > 0:
                time.sleep(wait_s)
            moments.append(time.monotonic())
            for message in batch:
                self.send(message)
        return moments

    def _take(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        now = time.monotonic()
        kind = message.topic.rpartition("/")[2]
        answer = messages.decode(kind, bytes(message.payload))
        if isinstance(answer, messages.Receipt):
            self.answers.receipts.setdefault((answer.event_id, answer.kind), now)
        elif isinstance(answer, messages.Verdict):
            self.answers.verdicts.setdefault(answer.event_id, now)
