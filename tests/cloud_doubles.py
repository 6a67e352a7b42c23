"""What the cloud's tests stand in for: a device that speaks the contract, and a verifier model that knows one tone."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import paho.mqtt.client as mqtt
import tflite
from paho.mqtt.enums import CallbackAPIVersion

from edge import catalogue, native
from edge.contracts import limits, messages, topics

TONE_HZ = 3100
RATE = 16000


def tone(seconds: float = 4.0, frequency_hz: float = TONE_HZ) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE)) / RATE
    return (8000 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.int16)


def noise(seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 900, int(seconds * RATE)).astype(np.int16)


def music(seconds: float, seed: int) -> np.ndarray:
    """Seeded notes that come and go, so that fingerprints have something to say."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0, 60, int(seconds * RATE))
    for _ in range(int(seconds * 9)):
        start, length = rng.integers(0, len(out) - 4000), rng.integers(1500, 9000)
        time_s = np.arange(min(length, len(out) - start)) / RATE
        pitch = 250 * 2 ** (rng.integers(0, 36) / 12)
        fall = np.exp(-time_s * rng.uniform(3, 14))
        out[start : start + len(time_s)] += rng.uniform(500, 2500) * fall * np.sin(2 * np.pi * pitch * time_s)
    return np.clip(out, -32767, 32767).astype(np.int16)


def write_stand_in_verifier(folder: Path, thresholds: float = 0.5) -> Path:
    """A one-layer model: `smoke_alarm` is energy at 3.1 kHz over that of the other bands; the rest is never heard."""
    names = catalogue.load().names
    frames, bands = 400, native.MEL_BANDS
    band = int(native.features(tone()).astype(int).mean(axis=0).argmax())
    weights = np.zeros((len(names), frames, bands), np.float32)
    weights[names.index("smoke_alarm")] = -4.0 / (frames * bands)
    weights[names.index("smoke_alarm"), :, band] += 4.0 / frames
    biases = np.full(len(names), -6.0, np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "verifier.tflite").write_bytes(
        _dense_sigmoid(weights.reshape(len(names), -1), biases, [1, frames, bands, 1])
    )
    manifest = {"input_frames": frames, "thresholds": dict.fromkeys(names, thresholds), "version": "stand-in"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _dense_sigmoid(weights: np.ndarray, biases: np.ndarray, input_shape: list[int]) -> bytes:
    """A .tflite file: FULLY_CONNECTED, then LOGISTIC, all float32."""
    builder = flatbuffers.Builder(weights.nbytes + 4096)

    def vector(start: Callable[[Any, int], Any], offsets: list[int]) -> int:
        start(builder, len(offsets))
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    def ints(values: list[int]) -> int:
        return builder.CreateNumpyVector(np.array(values, np.int32))

    def buffer(data: bytes) -> int:
        content = builder.CreateByteVector(data) if data else None
        tflite.BufferStart(builder)
        if content is not None:
            tflite.BufferAddData(builder, content)
        return tflite.BufferEnd(builder)

    def tensor(name: str, shape: list[int], buffer_index: int) -> int:
        text, dims = builder.CreateString(name), ints(shape)
        tflite.TensorStart(builder)
        tflite.TensorAddName(builder, text)
        tflite.TensorAddShape(builder, dims)
        tflite.TensorAddType(builder, tflite.TensorType.FLOAT32)
        tflite.TensorAddBuffer(builder, buffer_index)
        return tflite.TensorEnd(builder)

    def operator(code: int, inputs: list[int], outputs: list[int]) -> int:
        ins, outs = ints(inputs), ints(outputs)
        options = None
        if code == 0:
            tflite.FullyConnectedOptionsStart(builder)
            options = tflite.FullyConnectedOptionsEnd(builder)
        tflite.OperatorStart(builder)
        tflite.OperatorAddOpcodeIndex(builder, code)
        tflite.OperatorAddInputs(builder, ins)
        tflite.OperatorAddOutputs(builder, outs)
        if options is not None:
            tflite.OperatorAddBuiltinOptionsType(builder, tflite.BuiltinOptions.FullyConnectedOptions)
            tflite.OperatorAddBuiltinOptions(builder, options)
        return tflite.OperatorEnd(builder)

    def operator_code(builtin: int) -> int:
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, builtin)
        tflite.OperatorCodeAddBuiltinCode(builder, builtin)
        tflite.OperatorCodeAddVersion(builder, 1)
        return tflite.OperatorCodeEnd(builder)

    n_out, n_in = weights.shape
    buffers = vector(tflite.ModelStartBuffersVector, [buffer(b""), buffer(weights.tobytes()), buffer(biases.tobytes())])
    tensors = vector(
        tflite.SubGraphStartTensorsVector,
        [
            tensor("features", input_shape, 0),
            tensor("weights", [n_out, n_in], 1),
            tensor("biases", [n_out], 2),
            tensor("logits", [1, n_out], 0),
            tensor("scores", [1, n_out], 0),
        ],
    )
    operators = vector(tflite.SubGraphStartOperatorsVector, [operator(0, [0, 1, 2], [3]), operator(1, [3], [4])])
    inputs, outputs = ints([0]), ints([4])
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operators)
    graph = tflite.SubGraphEnd(builder)
    graphs = vector(tflite.ModelStartSubgraphsVector, [graph])
    codes = vector(
        tflite.ModelStartOperatorCodesVector,
        [operator_code(tflite.BuiltinOperator.FULLY_CONNECTED), operator_code(tflite.BuiltinOperator.LOGISTIC)],
    )
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, buffers)
    builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class Sounds:
    """Makes the messages of one device: event ids count up from a random boot id."""

    def __init__(self, device_id: str = "kitchen") -> None:
        self.device_id = device_id
        self._boot_id = os.urandom(limits.BOOT_ID_BYTES)
        self._seq = 0

    def trigger(self, event: str = "smoke_alarm", pcm: np.ndarray | None = None, **changes: Any) -> messages.Trigger:
        sound = noise(seed=7) if pcm is None else pcm
        words = native.fingerprint(sound).every(limits.TRIGGER_FINGERPRINT_WORD_STEPS)
        spec = catalogue.load().by_name(event)
        values: dict[str, Any] = {
            "event_id": messages.make_event_id(self._boot_id, self._seq, self.device_id),
            "device_seq": self._seq,
            "event": event,
            "event_start_sample": 160000,
            "trigger_sample": 176000,
            "score": 214,
            "scores": {each.id: 214 if each.name == event else 9 for each in catalogue.load()},
            "sensitivity": "normal",
            "is_armed": False,
            "cadence": messages.Cadence("none", 0, 0, 0, 0, 0),
            "fingerprint": messages.Fingerprint.of(112000, 640, *words.between(0, 100)),
            "model_hash": bytes(range(8)),
            "head_version": 1,
            "clip": spec.clip,
        }
        self._seq += 1
        return messages.Trigger(**{**values, **changes})

    @staticmethod
    def clip(trigger: messages.Trigger, pcm: np.ndarray | None = None) -> messages.Clip:
        sound = tone() if pcm is None else pcm
        data = native.adpcm_encode(sound)
        return messages.Clip(
            event_id=trigger.event_id,
            first_sample=trigger.trigger_sample - 2 * RATE,
            sample_count=len(sound),
            trigger_offset=2 * RATE,
            sample_rate_hz=RATE,
            block_bytes=limits.CLIP_BLOCK_BYTES,
            codec="ima-adpcm",
            data=data,
        )

    @staticmethod
    def status(**changes: Any) -> messages.Status:
        values: dict[str, Any] = {
            "is_online": True,
            "is_armed": False,
            "board": "host",
            "firmware": "0.1.0",
            "model_hash": bytes(range(8)),
            "samples_heard": 960000,
            "triggers_dropped": 0,
            "clips_dropped": 0,
            "outbox_depth": 0,
        }
        return messages.Status(**{**values, **changes})


class FakeDevice:
    """A device on a real broker: publishes raw messages and keeps what the cloud answers."""

    def __init__(self, port: int, device_id: str = "kitchen") -> None:
        self.sounds = Sounds(device_id)
        self.device_id = device_id
        self.answers: list[tuple[str, Any]] = []
        self._changed = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=device_id, clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{topics.PREFIX}/{device_id}/+", qos=1)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port, keepalive=10)
        self._client.loop_start()

    def __enter__(self) -> "FakeDevice":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        kind = message.topic.rpartition("/")[2]
        if kind in topics.TO_DEVICE:
            with self._changed:
                self.answers.append((kind, messages.decode(kind, message.payload)))
                self._changed.notify_all()

    def publish(self, kind: str, message: Any) -> None:
        self.publish_raw(kind, messages.encode(message))

    def publish_raw(self, kind: str, payload: bytes) -> None:
        self._client.publish(f"{topics.PREFIX}/{self.device_id}/{kind}", payload, qos=1, retain=kind == "status")

    def deliver(self, kind: str, message: Any, every_s: float = 3.0, times: int = 10) -> None:
        """Send until the cloud's receipt comes, as a device does: the broker's acknowledgement is none."""
        for _ in range(times):
            self.publish(kind, message)
            try:
                self.wait("receipt", message.event_id, timeout_s=every_s, kind=kind)
            except AssertionError:
                continue
            return
        raise AssertionError(f"no receipt for a {kind} sent {times} times")

    def wait(self, kind: str, event_id: bytes, /, *, timeout_s: float = 20.0, count: int = 1, **values: Any) -> Any:
        """The `count`th answer of a kind to an event that has these values."""
        give_up_at = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = [
                    answer
                    for each, answer in self.answers
                    if each == kind
                    and answer.event_id == event_id
                    and all(getattr(answer, name) == value for name, value in values.items())
                ]
                if len(found) >= count:
                    return found[count - 1]
                left = give_up_at - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"no {kind} {values} within {timeout_s} s; there were {self.answers}")
                self._changed.wait(left)
