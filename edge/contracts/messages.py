"""The messages of `harken.cddl` as frozen dataclasses, to and from deterministic CBOR.

A field's name here is its name in the schema without `k_`; enumerations are their names ("confirmed").
`encode` writes the very bytes that the C core writes for the same content.
"""

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Annotated, Any, ClassVar, Final, TypeVar, cast, get_args, get_type_hints

import cbor2
import numpy as np
import numpy.typing as npt

from edge.contracts import limits, schema, topics
from edge.errors import HarkenError


class MessageError(HarkenError):
    """Bytes or values that are not a message of the schema; names the field and the remedy."""


HEAD_PIECE_BYTES: Final = 384  # with its fields it fits one frame of the link
_NUMBER_BITS: Final = {"u8": 8, "u16": 16, "u32": 32, "u64": 64}


@dataclass(frozen=True)
class _Codec:
    """How one field looks on the wire; both functions raise ValueError with what was expected."""

    to_wire: Callable[[Any], Any]
    from_wire: Callable[[Any], Any]


def _same(check: Callable[[Any], Any]) -> _Codec:
    return _Codec(check, check)


def _integer(least: int, greatest: int) -> _Codec:
    def check(value: Any) -> int:
        if isinstance(value, np.integer):
            value = int(value)
        if type(value) is not int or not least <= value <= greatest:
            raise ValueError(f"a whole number from {least} to {greatest}")
        return value

    return _same(check)


def _unsigned(bits: int) -> _Codec:
    return _integer(0, 2**bits - 1)


def _bytes(least: int, greatest: int) -> _Codec:
    def check(value: Any) -> bytes:
        if not isinstance(value, bytes) or not least <= len(value) <= greatest:
            count = f"{least}" if least == greatest else f"{least} to {greatest}"
            raise ValueError(f"{count} bytes")
        return value

    return _same(check)


def _text(least: int, greatest: int) -> _Codec:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not least <= len(value.encode()) <= greatest:
            raise ValueError(f"text of {least} to {greatest} bytes")
        return value

    return _same(check)


def _boolean() -> _Codec:
    def check(value: Any) -> bool:
        if type(value) is not bool:
            raise ValueError("true or false")
        return value

    return _same(check)


def _choice(group: str) -> _Codec:
    values = schema.values(group)
    names = {value: name for name, value in values.items()}

    def to_wire(name: Any) -> int:
        if not isinstance(name, str) or name not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return values[name]

    def from_wire(value: Any) -> str:
        if type(value) is not int or value not in names:
            raise ValueError(f"one of {', '.join(f'{v} ({n})' for v, n in names.items())}")
        return names[value]

    return _Codec(to_wire, from_wire)


def _device_id() -> _Codec:
    def check(value: Any) -> str:
        try:
            return topics.check_device_id(value)
        except topics.TopicError:
            raise ValueError(f"1 to {limits.DEVICE_ID_MAX_CHARS} of a-z, 0-9 and -") from None

    return _same(check)


def _nested(message_type: "type[_Message]") -> _Codec:
    def to_wire(value: Any) -> dict[int, Any]:
        if not isinstance(value, message_type):
            raise ValueError(f"a {message_type.__name__}")
        return _to_map(value)

    return _Codec(to_wire, lambda value: _from_map(message_type, value))


def _mapping(key: _Codec, value: _Codec, least: int, greatest: int) -> _Codec:
    """Return a codec for maps; entries are written in the order of their encoded keys."""

    def convert(entries: Any, to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]) -> dict[Any, Any]:
        if not isinstance(entries, Mapping) or not least <= len(entries) <= greatest:
            raise ValueError(f"a map of {least} to {greatest} entries")
        return {to_key(k): to_value(v) for k, v in entries.items()}

    def to_wire(entries: Any) -> dict[Any, Any]:
        converted = convert(entries, key.to_wire, value.to_wire)
        return {k: converted[k] for k in sorted(converted, key=cbor2.dumps)}

    return _Codec(to_wire, lambda entries: convert(entries, key.from_wire, value.from_wire))


def _array(item: _Codec, least: int, greatest: int) -> _Codec:
    """Return a codec for tuples of `item`."""

    def check(values: Any, convert: Callable[[Any], Any]) -> list[Any]:
        if not isinstance(values, list | tuple) or not least <= len(values) <= greatest:
            raise ValueError(f"a list of {least} to {greatest} entries")
        return [convert(value) for value in values]

    return _Codec(lambda values: check(values, item.to_wire), lambda values: tuple(check(values, item.from_wire)))


_EVENT_ID: Final = _bytes(limits.EVENT_ID_BYTES, limits.EVENT_ID_BYTES)
_MODEL_HASH: Final = _bytes(limits.MODEL_HASH_BYTES, limits.MODEL_HASH_BYTES)
_NAME: Final = _text(1, limits.NAME_MAX_CHARS)
_VERSION: Final = _integer(limits.MESSAGE_VERSION, limits.MESSAGE_VERSION)
_MEDIA: Final = _text(1, limits.MEDIA_MAX_CHARS)
_CODE: Final = _integer(-(2**15), 2**15 - 1)
_U8, _U16, _U32, _U64 = (_unsigned(bits) for bits in _NUMBER_BITS.values())


class _Message:
    """Base of everything that is one map of the schema."""

    control: ClassVar[int | None] = None


@dataclass(frozen=True)
class Cadence(_Message):
    """What temporal pattern was heard: `kind` none, t3, t4, other or continuous; `confidence` 0–255."""

    kind: Annotated[str, _choice("cadence")]
    periods: Annotated[int, _U8]
    on_ms: Annotated[int, _U16]
    off_ms: Annotated[int, _U16]
    pause_ms: Annotated[int, _U16]
    confidence: Annotated[int, _U8]


@dataclass(frozen=True)
class Fingerprint(_Message):
    """Sub-fingerprints of one sound, one 32-bit word each `step_samples` samples from `first_sample` on.

    `words` holds them little-endian, `masks` the reliable bits of each in the same way; bit i%8 of byte i/8 of `usable`
    says if word i may count as evidence for a safety event.
    """

    first_sample: Annotated[int, _U64]
    step_samples: Annotated[int, _U16]
    words: Annotated[bytes, _bytes(0, limits.TRIGGER_FINGERPRINT_WORDS * 4)]
    usable: Annotated[bytes, _bytes(0, (limits.TRIGGER_FINGERPRINT_WORDS + 7) // 8)]
    masks: Annotated[bytes, _bytes(0, limits.TRIGGER_FINGERPRINT_WORDS * 4)]

    def __post_init__(self) -> None:
        n_words, rest = divmod(len(self.words), 4)
        if rest:
            raise MessageError(f"words is {len(self.words)} bytes: give 4 bytes for each word")
        if len(self.usable) != (n_words + 7) // 8:
            raise MessageError(f"usable is {len(self.usable)} bytes for {n_words} words: give one bit a word")
        if len(self.masks) != len(self.words):
            raise MessageError(f"masks is {len(self.masks)} bytes for {n_words} words: give 4 bytes for each word")

    @classmethod
    def of(
        cls,
        first_sample: int,
        step_samples: int,
        words: npt.NDArray[np.uint32],
        masks: npt.NDArray[np.uint32],
        is_usable: npt.NDArray[np.bool_],
    ) -> "Fingerprint":
        """Return a fingerprint of `words` and their `masks`, uint32[n] each, and `is_usable` bool[n]."""
        packed = np.packbits(np.asarray(is_usable, dtype=bool), bitorder="little").tobytes()
        bits, reliable = (np.asarray(array, dtype="<u4").tobytes() for array in (words, masks))
        return cls(first_sample, step_samples, bits, packed, reliable)

    @property
    def word_array(self) -> npt.NDArray[np.uint32]:
        """The words as uint32[n]."""
        return np.frombuffer(self.words, dtype="<u4").astype(np.uint32)

    @property
    def mask_array(self) -> npt.NDArray[np.uint32]:
        """The reliable bits of each word, uint32[n]."""
        return np.frombuffer(self.masks, dtype="<u4").astype(np.uint32)

    @property
    def usable_array(self) -> npt.NDArray[np.bool_]:
        """For each word whether it may count as evidence of media, bool[n]."""
        bits = np.frombuffer(self.usable, dtype=np.uint8)
        return np.unpackbits(bits, count=len(self.words) // 4, bitorder="little").astype(bool)


@dataclass(frozen=True)
class MediaHint(_Message):
    """What a device finds among its own known media: the recording's id, and `z_q4`, its z in sixteenths."""

    media_id: Annotated[str, _MEDIA]
    z_q4: Annotated[int, _U16]


_CADENCE: Final = _nested(Cadence)
_FINGERPRINT: Final = _nested(Fingerprint)
_HINT: Final = _nested(MediaHint)
_SCORES: Final = _mapping(_U8, _U8, 1, limits.SCORES_MAX)
_THRESHOLDS: Final = _mapping(_U8, _U8, 0, limits.SCORES_MAX)


@dataclass(frozen=True)
class Trigger(_Message):
    """A device suspects an event. Samples are counted since its boot; `score` and `scores` are 0–255.

    `scores` is by event number of the catalogue; `clip` is always, on_request or none.
    """

    event_id: Annotated[bytes, _EVENT_ID]
    device_seq: Annotated[int, _U32]
    event: Annotated[str, _NAME]
    event_start_sample: Annotated[int, _U64]
    trigger_sample: Annotated[int, _U64]
    score: Annotated[int, _U8]
    scores: Annotated[Mapping[int, int], _SCORES]
    sensitivity: Annotated[str, _choice("sensitivity")]
    is_armed: Annotated[bool, _boolean()]
    cadence: Annotated[Cadence, _CADENCE]
    fingerprint: Annotated[Fingerprint, _FINGERPRINT]
    model_hash: Annotated[bytes, _MODEL_HASH]
    head_version: Annotated[int, _U32]
    clip: Annotated[str, _choice("clip")]
    version: Annotated[int, _VERSION] = limits.MESSAGE_VERSION
    media: Annotated[MediaHint | None, _HINT] = None


@dataclass(frozen=True)
class FurtherWords(_Message):
    """What sounds after a trigger, on topic `fingerprint`: for each event that the cloud has not judged yet."""

    fingerprint: Annotated[Fingerprint, _FINGERPRINT]
    event_ids: Annotated[tuple[bytes, ...], _array(_EVENT_ID, 1, limits.FURTHER_EVENTS_MAX)]
    media: Annotated[MediaHint | None, _HINT] = None


@dataclass(frozen=True)
class Clip(_Message):
    """The sound of an event: `data` holds whole IMA-ADPCM blocks of `block_bytes`, as in a WAV file."""

    event_id: Annotated[bytes, _EVENT_ID]
    first_sample: Annotated[int, _U64]
    sample_count: Annotated[int, _U32]
    trigger_offset: Annotated[int, _U32]
    sample_rate_hz: Annotated[int, _U32]
    block_bytes: Annotated[int, _U16]
    codec: Annotated[str, _NAME]
    data: Annotated[bytes, _bytes(0, limits.CLIP_MAX_BYTES - 255)]


@dataclass(frozen=True)
class Status(_Message):
    """How a device is (retained); its last will is the same with `is_online` false.

    `set_version` is that of the known media that it holds (0: none), `set_code` 0 or why it refused the last set,
    `dismissed` how many triggers known media explained, `is_siren_on` None from older firmware.
    """

    is_online: Annotated[bool, _boolean()]
    is_armed: Annotated[bool, _boolean()]
    board: Annotated[str, _NAME]
    firmware: Annotated[str, _text(1, limits.VERSION_MAX_CHARS)]
    model_hash: Annotated[bytes, _MODEL_HASH]
    samples_heard: Annotated[int, _U64]
    triggers_dropped: Annotated[int, _U32]
    clips_dropped: Annotated[int, _U32]
    outbox_depth: Annotated[int, _U8]
    set_version: Annotated[int, _U32] = 0
    set_code: Annotated[int, _CODE] = 0
    dismissed: Annotated[int, _U32] = 0
    is_siren_on: Annotated[bool | None, _boolean()] = None


@dataclass(frozen=True)
class LiveScores(_Message):
    """What the device hears now, by event number, 0–255; `thresholds` of the events that it listens for now."""

    scores: Annotated[Mapping[int, int], _SCORES]
    samples_heard: Annotated[int, _U64]
    thresholds: Annotated[Mapping[int, int], _THRESHOLDS]


@dataclass(frozen=True)
class Receipt(_Message):
    """The cloud has committed the trigger or the clip (`kind`) of this event."""

    event_id: Annotated[bytes, _EVENT_ID]
    kind: Annotated[str, _choice("receipt")]


@dataclass(frozen=True)
class Verdict(_Message):
    """What the cloud thinks: confirmed, rejected, media or unverified, and why (for people)."""

    event_id: Annotated[bytes, _EVENT_ID]
    verdict: Annotated[str, _choice("verdict")]
    reason: Annotated[str, _text(0, limits.REASON_MAX_CHARS)]
    media_id: Annotated[str | None, _MEDIA] = None
    media_title: Annotated[str | None, _MEDIA] = None


@dataclass(frozen=True)
class EventSetting(_Message):
    """What the user chose for one event; sensitivity is low, normal or high."""

    is_enabled: Annotated[bool, _boolean()]
    sensitivity: Annotated[str, _choice("sensitivity")]


_SETTINGS: Final = _mapping(_NAME, _nested(EventSetting), 0, limits.SCORES_MAX)


@dataclass(frozen=True)
class Config(_Message):
    """All that the user chose (retained); an event that is not named keeps its default."""

    is_armed: Annotated[bool, _boolean()]
    events: Annotated[Mapping[str, EventSetting], _SETTINGS] = field(default_factory=dict)


@dataclass(frozen=True)
class Command(_Message):
    """What a device is to do.

    send_clip, discard_clip or siren_on for one of its events, clip_now for an event that the cloud has made; for
    siren_off, scores_on and scores_off the event says nothing.
    """

    event_id: Annotated[bytes, _EVENT_ID]
    command: Annotated[str, _choice("command")]


@dataclass(frozen=True)
class MediaPiece(_Message):
    """A piece of a device's set of known media, on topic `media/<set_offset // MEDIA_PIECE_BYTES>` (retained)."""

    data: Annotated[bytes, _bytes(1, limits.MEDIA_PIECE_BYTES)]
    set_version: Annotated[int, _U32]
    set_hash: Annotated[bytes, _bytes(8, 8)]
    set_offset: Annotated[int, _U16]
    set_bytes: Annotated[int, _U16]


@dataclass(frozen=True)
class UpdatePiece(_Message):
    """A piece of a signed update, on topic `update/<n>` (retained); `update_tag` begins its signature."""

    data: Annotated[bytes, _bytes(1, limits.UPDATE_PIECE_BYTES)]
    update_tag: Annotated[bytes, _bytes(8, 8)]
    update_offset: Annotated[int, _U16]
    update_bytes: Annotated[int, _U16]


@dataclass(frozen=True)
class Update(_Message):
    """What has become of one update: `fate` is waiting, trial, confirmed, withdrawn, rolled_back or refused.

    `part` is what it changes: head (then `event` is whose; else it is empty), thresholds, settings or media.
    """

    event: Annotated[str, _text(0, limits.NAME_MAX_CHARS)]
    part: Annotated[str, _choice("part")]
    update_version: Annotated[int, _U32]
    fate: Annotated[str, _choice("fate")]
    update_code: Annotated[int, _CODE]


@dataclass(frozen=True)
class Installed(_Message):
    """The updates that a device holds, and the last one that it refused (retained)."""

    model_hash: Annotated[bytes, _MODEL_HASH]
    updates: Annotated[tuple[Update, ...], _array(_nested(Update), 0, limits.UPDATES_TOLD_MAX)]
    has_key: Annotated[bool, _boolean()]


@dataclass(frozen=True)
class HostHello(_Message):
    """Opens the link: the protocol version that the host speaks."""

    control: ClassVar[int | None] = schema.values("host")["hello"]
    protocol: Annotated[int, _U16] = limits.LINK_PROTOCOL_VERSION


@dataclass(frozen=True)
class HostConfigure(_Message):
    """Who the device is for this boot; `utc_ms` is milliseconds since 1970 where the host knows.

    `device_id` None: the one that the device was provisioned with.
    """

    control: ClassVar[int | None] = schema.values("host")["configure"]
    device_id: Annotated[str | None, _device_id()]
    boot_id: Annotated[bytes, _bytes(limits.BOOT_ID_BYTES, limits.BOOT_ID_BYTES)]
    utc_ms: Annotated[int | None, _U64] = None


@dataclass(frozen=True)
class HostMicrophone(_Message):
    """The microphone file now holds this many samples since boot."""

    control: ClassVar[int | None] = schema.values("host")["microphone"]
    samples_available: Annotated[int, _U64]


@dataclass(frozen=True)
class HostNetwork(_Message):
    """Whether the way to the broker is open."""

    control: ClassVar[int | None] = schema.values("host")["network"]
    is_open: Annotated[bool, _boolean()]


@dataclass(frozen=True)
class HostScores(_Message):
    """Switch the live scores on or off."""

    control: ClassVar[int | None] = schema.values("host")["scores"]
    is_on: Annotated[bool, _boolean()]


@dataclass(frozen=True)
class HostStats(_Message):
    """Ask for the device's counters."""

    control: ClassVar[int | None] = schema.values("host")["stats"]


@dataclass(frozen=True)
class HostShutdown(_Message):
    """End the device's program (virtual and emulated devices)."""

    control: ClassVar[int | None] = schema.values("host")["shutdown"]


@dataclass(frozen=True)
class HostHead(_Message):
    """A piece of a head's blob and self-test: `data` lies at `head_offset` of `head_bytes`; pieces come in order."""

    control: ClassVar[int | None] = schema.values("host")["head"]
    data: Annotated[bytes, _bytes(1, HEAD_PIECE_BYTES)]
    head_offset: Annotated[int, _U16]
    head_bytes: Annotated[int, _U16]


@dataclass(frozen=True)
class HostMedia(MediaPiece):
    """The same over the link."""

    control: ClassVar[int | None] = schema.values("host")["media"]


@dataclass(frozen=True)
class HostVault(_Message):
    """Ask what the device was provisioned with."""

    control: ClassVar[int | None] = schema.values("host")["vault"]


@dataclass(frozen=True, repr=False)
class HostProvision(_Message):
    """What the device is to keep over a restart: all that is not None is written, or nothing; the rest stays."""

    control: ClassVar[int | None] = schema.values("host")["provision"]
    device_id: Annotated[str | None, _device_id()] = None
    ssid: Annotated[str | None, _text(0, limits.SSID_MAX_CHARS)] = None
    wifi_password: Annotated[str | None, _text(0, limits.WIFI_PASSWORD_MAX_CHARS)] = None
    broker_host: Annotated[str | None, _text(0, limits.BROKER_HOST_MAX_CHARS)] = None
    broker_port: Annotated[int | None, _U16] = None
    update_key: Annotated[bytes | None, _bytes(limits.UPDATE_KEY_BYTES, limits.UPDATE_KEY_BYTES)] = None


@dataclass(frozen=True, repr=False)
class HostCredentials(_Message):
    """A piece of a device's CA, certificate and key, three PEM texts each ended by a zero; pieces come in order."""

    control: ClassVar[int | None] = schema.values("host")["credentials"]
    data: Annotated[bytes, _bytes(1, limits.CREDENTIALS_PIECE_BYTES)]
    credentials_offset: Annotated[int, _U16]
    credentials_bytes: Annotated[int, _U16]


@dataclass(frozen=True)
class DeviceHello(_Message):
    """The device's answer to hello."""

    control: ClassVar[int | None] = schema.values("device")["hello"]
    protocol: Annotated[int, _U16]
    board: Annotated[str, _NAME]
    firmware: Annotated[str, _text(1, limits.VERSION_MAX_CHARS)]
    model_hash: Annotated[bytes, _MODEL_HASH]
    max_payload: Annotated[int, _U16]


@dataclass(frozen=True)
class DeviceCredit(_Message):
    """The host may have sent `total` payload bytes on `channel` since hello."""

    control: ClassVar[int | None] = schema.values("device")["credit"]
    channel: Annotated[int, _U8]
    total: Annotated[int, _U64]


@dataclass(frozen=True)
class DeviceHeard(_Message):
    """Samples heard since boot, and how many triggers and clips are not settled yet."""

    control: ClassVar[int | None] = schema.values("device")["heard"]
    samples_heard: Annotated[int, _U64]
    pending: Annotated[int, _U8]


@dataclass(frozen=True)
class DeviceNetwork(_Message):
    """Whether the device wants a way to the broker."""

    control: ClassVar[int | None] = schema.values("device")["network"]
    want_open: Annotated[bool, _boolean()]


@dataclass(frozen=True)
class DeviceEvent(_Message):
    """A trigger in short, for whoever watches the link."""

    control: ClassVar[int | None] = schema.values("device")["event"]
    event_id: Annotated[bytes, _EVENT_ID]
    event: Annotated[str, _NAME]
    event_start_sample: Annotated[int, _U64]
    trigger_sample: Annotated[int, _U64]
    score: Annotated[int, _U8]
    cadence: Annotated[Cadence, _CADENCE]
    clip: Annotated[str, _choice("clip")]


@dataclass(frozen=True)
class DeviceStats(_Message):
    """The device's counters since boot."""

    control: ClassVar[int | None] = schema.values("device")["stats"]
    samples_heard: Annotated[int, _U64]
    triggers_made: Annotated[int, _U32]
    triggers_dropped: Annotated[int, _U32]
    clips_dropped: Annotated[int, _U32]
    outbox_depth: Annotated[int, _U8]
    frames_received: Annotated[int, _U32]
    frames_lost: Annotated[int, _U32]
    crc_errors: Annotated[int, _U32]
    oversize_frames: Annotated[int, _U32]
    garbage_bytes: Annotated[int, _U32]


@dataclass(frozen=True)
class DeviceError(_Message):
    """The device refuses or reports a fault; `code` is a negative number of errors.toml."""

    control: ClassVar[int | None] = schema.values("device")["error"]
    code: Annotated[int, _CODE]
    text: Annotated[str, _text(0, limits.REASON_MAX_CHARS)]


@dataclass(frozen=True)
class DeviceHead(_Message):
    """A head has come whole and is in use, or is refused: `code` is 0 or a negative number of errors.toml."""

    control: ClassVar[int | None] = schema.values("device")["head"]
    event: Annotated[str, _text(0, limits.NAME_MAX_CHARS)]
    head_version: Annotated[int, _U32]
    code: Annotated[int, _CODE]


@dataclass(frozen=True)
class DeviceMedia(_Message):
    """A set of known media is in use or refused (`set_code` as in the status), or a trigger was dismissed."""

    control: ClassVar[int | None] = schema.values("device")["media"]
    set_version: Annotated[int, _U32]
    set_code: Annotated[int, _CODE]
    dismissed: Annotated[int, _U32]


@dataclass(frozen=True)
class DeviceOutput(_Message):
    """The device has switched an output: siren, or recording, the lamp that tells of a clip that was asked for."""

    control: ClassVar[int | None] = schema.values("device")["output"]
    output: Annotated[str, _choice("output")]
    is_on: Annotated[bool, _boolean()]


@dataclass(frozen=True)
class DeviceVault(_Message):
    """What a device was provisioned with, without its secrets: empty texts and bytes where there is nothing.

    `vault` is empty, held, repaired (one of two copies is damaged) or damaged (both are); `code` is 0 or a negative
    number of errors.toml: why what was to be written was not. Fingerprints are the first bytes of SHA-256.
    """

    control: ClassVar[int | None] = schema.values("device")["vault"]
    device_id: Annotated[str, _text(0, limits.DEVICE_ID_MAX_CHARS)]
    ssid: Annotated[str, _text(0, limits.SSID_MAX_CHARS)]
    broker_host: Annotated[str, _text(0, limits.BROKER_HOST_MAX_CHARS)]
    broker_port: Annotated[int, _U16]
    key_fingerprint: Annotated[bytes, _bytes(0, limits.KEY_FINGERPRINT_BYTES)]
    credentials_fingerprint: Annotated[bytes, _bytes(0, limits.KEY_FINGERPRINT_BYTES)]
    vault: Annotated[str, _choice("vault")]
    vault_writes: Annotated[int, _U32]
    code: Annotated[int, _CODE]


MqttMessage = (
    Trigger
    | FurtherWords
    | Clip
    | Status
    | LiveScores
    | Installed
    | Receipt
    | Verdict
    | Config
    | Command
    | MediaPiece
    | UpdatePiece
)
HostControl = (
    HostHello
    | HostConfigure
    | HostMicrophone
    | HostNetwork
    | HostScores
    | HostStats
    | HostShutdown
    | HostHead
    | HostMedia
    | HostVault
    | HostProvision
    | HostCredentials
)
DeviceControl = (
    DeviceHello
    | DeviceCredit
    | DeviceHeard
    | DeviceNetwork
    | DeviceEvent
    | DeviceStats
    | DeviceError
    | DeviceHead
    | DeviceMedia
    | DeviceOutput
    | DeviceVault
)
Message = MqttMessage | HostControl | DeviceControl

_MQTT_TYPES: Final[dict[str, type[_Message]]] = {
    "trigger": Trigger,
    "fingerprint": FurtherWords,
    "clip": Clip,
    "status": Status,
    "scores": LiveScores,
    "installed": Installed,
    "receipt": Receipt,
    "verdict": Verdict,
    "config": Config,
    "command": Command,
    "media": MediaPiece,
    "update": UpdatePiece,
}
_CONTROL_TYPES: Final[dict[str, dict[int, type[_Message]]]] = {
    "host_control": {t.control: t for t in get_args(HostControl)},
    "device_control": {t.control: t for t in get_args(DeviceControl)},
}
_MAX_BYTES: Final = {
    "trigger": limits.TRIGGER_MAX_BYTES,
    "clip": limits.CLIP_MAX_BYTES,
    "host_control": limits.LINK_PAYLOAD_MAX_BYTES,
    "device_control": limits.LINK_PAYLOAD_MAX_BYTES,
}

KINDS: Final = (*_MQTT_TYPES, *_CONTROL_TYPES)

AnyMessage = TypeVar("AnyMessage", bound=_Message)


@dataclass(frozen=True)
class _FieldSpec:
    name: str
    key: int
    codec: _Codec
    is_optional: bool


def _may_be_none(hint: Any) -> bool:
    return type(None) in get_args(get_args(hint)[0])


@cache
def _field_specs(message_type: Any) -> tuple[_FieldSpec, ...]:
    """Return the fields of a message in the ascending order of their numbers: the order on the wire."""
    numbers = schema.keys()
    hints = get_type_hints(message_type, include_extras=True)
    specs = [
        _FieldSpec(f.name, numbers[f.name], hints[f.name].__metadata__[0], _may_be_none(hints[f.name]))
        for f in fields(message_type)
    ]
    return tuple(sorted(specs, key=lambda spec: spec.key))


def _at_fault(message_type: type[_Message], name: str, expected: object, value: object) -> MessageError:
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:40]}…"
    return MessageError(f"{message_type.__name__}.{name} is {shown}: send {expected}")


def _to_map(message: _Message) -> dict[int, Any]:
    wire: dict[int, Any] = {} if message.control is None else {schema.keys()["control"]: message.control}
    specs: tuple[_FieldSpec, ...] = _field_specs(cast(Any, type(message)))
    for spec in specs:
        value = getattr(message, spec.name)
        if value is None and spec.is_optional:
            continue
        try:
            wire[spec.key] = spec.codec.to_wire(value)
        except ValueError as error:
            raise _at_fault(type(message), spec.name, error, value) from None
    return wire


def _from_map(message_type: type[AnyMessage], wire: Any) -> AnyMessage:
    name = message_type.__name__
    if not isinstance(wire, Mapping):
        raise MessageError(f"{name} is no CBOR map: send one with the fields of harken.cddl")
    values: dict[str, Any] = {}
    known: set[Any] = set() if message_type.control is None else {schema.keys()["control"]}
    specs: tuple[_FieldSpec, ...] = _field_specs(cast(Any, message_type))
    for spec in specs:
        known.add(spec.key)
        if spec.key not in wire:
            if spec.is_optional:
                values[spec.name] = None
                continue
            raise MessageError(f"{name}.{spec.name} (field {spec.key}) is missing: send all of harken.cddl's")
        try:
            values[spec.name] = spec.codec.from_wire(wire[spec.key])
        except ValueError as error:
            raise _at_fault(message_type, spec.name, error, wire[spec.key]) from None
    if unknown := [key for key in wire if key not in known]:
        raise MessageError(f"{name} has an unknown field {unknown[0]!r}: send the fields of harken.cddl only")
    return message_type(**values)


def encode(message: Message) -> bytes:
    """Return the message as deterministic CBOR; raises MessageError for a value outside the schema."""
    data: bytes = cbor2.dumps(_to_map(message))
    return data


def _load(kind: str, data: bytes) -> Any:
    limit = _MAX_BYTES.get(kind, limits.MQTT_INCOMING_MAX_BYTES)
    if len(data) > limit:
        raise MessageError(f"{kind} is {len(data)} bytes: send at most {limit}")
    stream = io.BytesIO(data)
    try:
        loaded = cbor2.CBORDecoder(stream).decode()
    except Exception as error:
        # cbor2 interprets tags, so hostile bytes can raise nearly anything here.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MessageError(f"{kind} is no CBOR ({reason}): send what harken.cddl says") from error
    if rest := len(data) - stream.tell():
        raise MessageError(f"{kind} is followed by {rest} further bytes: send one message at a time")
    return loaded


def decode(kind: str, data: bytes) -> Any:
    """Return the message in `data`, an instance of the dataclass that belongs to `kind`.

    `kind` is the last level of an MQTT topic ("trigger", "clip", …), or "host_control" or "device_control" on
    the link. Raises MessageError, which names the field at fault and what to send instead, for anything else.
    """
    if kind in _MQTT_TYPES:
        return _from_map(_MQTT_TYPES[kind], _load(kind, data))
    if kind not in _CONTROL_TYPES:
        raise MessageError(f"{kind!r} is no kind of message: use one of {', '.join(KINDS)}")
    wire = _load(kind, data)
    if not isinstance(wire, Mapping):
        raise MessageError(f"{kind} is no CBOR map: send one with the fields of harken.cddl")
    control = wire.get(schema.keys()["control"])
    message_type = _CONTROL_TYPES[kind].get(control) if type(control) is int else None
    if message_type is None:
        raise MessageError(f"{kind} {control!r} is unknown: send one of harken.cddl's")
    return _from_map(message_type, wire)


def make_event_id(boot_id: bytes, seq: int, device_id: str) -> bytes:
    """Return the 16 bytes that name one event for ever: boot id, sequence, CRC-32 of the device id."""
    if len(boot_id) != limits.BOOT_ID_BYTES:
        raise MessageError(f"boot id is {len(boot_id)} bytes: give {limits.BOOT_ID_BYTES}")
    return boot_id + struct.pack(">II", seq, zlib.crc32(topics.check_device_id(device_id).encode()))
