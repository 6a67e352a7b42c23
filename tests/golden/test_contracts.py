"""CRC-32, COBS, frames and messages: one table of cases for the C core and for Python."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from edge.catalogue import load
from edge.contracts import messages, schema
from tests.core_driver import CoreDriver, CoreError, unhex, word
from tools.link import cobs
from tools.link.frames import Channel, Decoder, Encoder, Frame

GOLDEN = Path(__file__).parent


def _table(name: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((GOLDEN / name).read_text())
    return table


CRC32 = _table("crc32.json")["cases"]
COBS = _table("cobs.json")["cases"]
UNDECODABLE = _table("cobs.json")["undecodable"]
SENT = _table("frames.json")["sent"]
STREAMS = _table("frames.json")["streams"]
MESSAGES = _table("messages.json")["cases"]
INVALID = _table("messages.json")["invalid"]
DECODED_IN_C = ("receipt", "verdict", "config", "command", "media", "update", "host_control")


def _name(case: dict[str, Any]) -> str:
    return f"{case.get('kind', '')} {case['name']}".strip()


@pytest.mark.parametrize("case", CRC32, ids=lambda case: case["data"][:12] or "nothing")
def test_crc32_is_the_same_in_both_languages(core: CoreDriver, case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["data"])
    assert zlib.crc32(data) == case["crc32"]
    assert core.ask("crc32", data) == [str(case["crc32"])]


@pytest.mark.parametrize("case", COBS, ids=lambda case: f"{len(case['data']) // 2} bytes {case['data'][:8]}")
def test_cobs_is_the_same_in_both_languages(core: CoreDriver, case: dict[str, Any]) -> None:
    data, encoded = bytes.fromhex(case["data"]), bytes.fromhex(case["encoded"])
    assert cobs.encode(data) == encoded
    assert cobs.decode(encoded) == data
    assert core.ask("cobs_encode", data, len(encoded)) == [encoded.hex() or "-"]
    assert core.ask("cobs_decode", encoded, len(data)) == [data.hex() or "-"]


@pytest.mark.parametrize("case", COBS[1:], ids=lambda case: f"{len(case['data']) // 2} bytes {case['data'][:8]}")
def test_cobs_in_c_stops_at_the_end_of_its_buffer(core: CoreDriver, case: dict[str, Any]) -> None:
    data, encoded = bytes.fromhex(case["data"]), bytes.fromhex(case["encoded"])
    for command, value, room in (("cobs_encode", data, len(encoded)), ("cobs_decode", encoded, len(data))):
        with pytest.raises(CoreError) as error:
            core.ask(command, value, room - 1)
        assert error.value.code == -2


@pytest.mark.parametrize("case", UNDECODABLE, ids=_name)
def test_bytes_that_no_encoder_writes_are_refused(core: CoreDriver, case: dict[str, Any]) -> None:
    encoded = bytes.fromhex(case["encoded"])
    with pytest.raises(cobs.CobsError):
        cobs.decode(encoded)
    with pytest.raises(CoreError) as error:
        core.ask("cobs_decode", encoded, 1000)
    assert error.value.code == case["error"]


@pytest.mark.parametrize("case", SENT, ids=_name)
def test_both_senders_write_the_same_bytes(core: CoreDriver, case: dict[str, Any]) -> None:
    encoder = Encoder()
    core.ask("link_init")
    written = b""
    for channel, payload in case["frames"]:
        written += encoder.encode(Channel(channel), bytes.fromhex(payload))
        core.ask("link_send", channel, bytes.fromhex(payload))
    assert written.hex() == case["bytes"]
    assert core.ask("link_output", 10_000) == [case["bytes"]]


@pytest.mark.parametrize("piece_bytes", [1, 7, 100_000])
@pytest.mark.parametrize("case", STREAMS, ids=_name)
def test_both_receivers_find_the_same_frames(core: CoreDriver, case: dict[str, Any], piece_bytes: int) -> None:
    data = bytes.fromhex(case["bytes"])
    decoder = Decoder()
    found = []
    for start in range(0, len(data), piece_bytes):
        for item in decoder.feed(data[start : start + piece_bytes]):
            if isinstance(item, Frame):
                found.append([int(item.channel), item.payload.hex()])
    assert found == case["frames"]
    assert list(vars(decoder.counters).values()) == case["counters"]
    core.ask("link_init")
    words = core.ask("link_receive", data, piece_bytes)
    pairs = [[int(words[n]), unhex(words[n + 1]).hex()] for n in range(0, len(words), 2)]
    assert pairs == case["frames"]
    assert [int(count) for count in core.ask("link_counters")] == case["counters"]


def _value(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("hex:"):
        return bytes.fromhex(value[4:])
    return value


def _message(case: dict[str, Any]) -> Any:
    """Build the dataclass that a case's fields describe."""
    fields = {name: _value(value) for name, value in case["fields"].items()}
    if "cadence" in fields:
        fields["cadence"] = messages.Cadence(**fields["cadence"])
    if "fingerprint" in fields:
        values = {name: _value(value) for name, value in fields["fingerprint"].items()}
        fields["fingerprint"] = messages.Fingerprint(**values)
    if "media" in fields:
        fields["media"] = messages.MediaHint(**fields["media"])
    if "updates" in fields:
        fields["updates"] = tuple(messages.Update(**update) for update in fields["updates"])
    if "event_ids" in fields:
        fields["event_ids"] = tuple(map(_value, fields["event_ids"]))
    for name in ("scores", "thresholds"):
        if name in fields:
            fields[name] = {int(number): score for number, score in fields[name].items()}
    if "events" in fields:
        fields["events"] = {name: messages.EventSetting(**setting) for name, setting in fields["events"].items()}
    return getattr(messages, case["type"])(**fields)


@pytest.mark.parametrize("case", MESSAGES, ids=_name)
def test_python_writes_and_reads_the_golden_message(case: dict[str, Any]) -> None:
    message = _message(case)
    assert messages.encode(message).hex() == case["cbor"]
    assert messages.decode(case["kind"], bytes.fromhex(case["cbor"])) == message


def _cadence_words(cadence: messages.Cadence) -> list[object]:
    kind = schema.values("cadence")[cadence.kind]
    return [kind, cadence.periods, cadence.on_ms, cadence.off_ms, cadence.pause_ms, cadence.confidence]


def trigger_words(t: messages.Trigger) -> list[object]:
    """Return the words of the driver's `encode_trigger` up to the capacity."""
    fingerprint = t.fingerprint
    return [
        *(t.event_id, t.device_seq, load().index(t.event), t.event_start_sample, t.trigger_sample, t.score),
        bytes(t.scores[event.id] for event in load()),
        *(schema.values("sensitivity")[t.sensitivity], t.is_armed, *_cadence_words(t.cadence)),
        *(fingerprint.first_sample, fingerprint.step_samples, fingerprint.words),
        *(fingerprint.usable, fingerprint.masks),
        *(t.model_hash, t.head_version, schema.values("clip")[t.clip]),
        *_hint_words(t.media),
    ]


def _hint_words(hint: messages.MediaHint | None) -> list[object]:
    return [False, bytes(8), 0] if hint is None else [True, bytes.fromhex(hint.media_id), hint.z_q4]


def _further_words(m: messages.FurtherWords) -> list[object]:
    """Return the words of the driver's `encode_further_words` up to the capacity."""
    f = m.fingerprint
    return [b"".join(m.event_ids), f.first_sample, f.step_samples, f.words, f.usable, f.masks, *_hint_words(m.media)]


def _device_control_words(m: Any) -> list[object]:
    words: dict[type, Any] = {
        messages.DeviceHello: lambda: [m.protocol, m.board, m.firmware, m.model_hash, m.max_payload],
        messages.DeviceCredit: lambda: [m.channel, m.total],
        messages.DeviceHeard: lambda: [m.samples_heard, m.pending],
        messages.DeviceNetwork: lambda: [m.want_open],
        messages.DeviceEvent: lambda: [
            *(m.event_id, load().index(m.event), m.event_start_sample, m.trigger_sample, m.score),
            *(*_cadence_words(m.cadence), schema.values("clip")[m.clip]),
        ],
        messages.DeviceStats: lambda: list(vars(m).values()),
        messages.DeviceError: lambda: [m.code, m.text],
        messages.DeviceHead: lambda: [m.event, m.head_version, m.code],
        messages.DeviceMedia: lambda: [m.set_version, m.set_code, m.dismissed],
        messages.DeviceOutput: lambda: [schema.values("output")[m.output], m.is_on],
        messages.DeviceVault: lambda: [
            *(m.device_id, m.ssid, m.broker_host, m.broker_port, m.key_fingerprint, m.credentials_fingerprint),
            *(schema.values("vault")[m.vault], m.vault_writes, m.code),
        ],
    }
    return [m.control, *words[type(m)]()]


def _encoding(case: dict[str, Any]) -> tuple[str, list[object], bytes, bytes]:
    """Return the driver's command and words, what it must write, and what is appended to that by a device."""
    message, expected = _message(case), bytes.fromhex(case["cbor"])
    if isinstance(message, messages.Trigger):
        return "encode_trigger", trigger_words(message), expected, b""
    if isinstance(message, messages.Clip):
        c = message
        words = [c.event_id, c.first_sample, c.sample_count, c.trigger_offset, c.sample_rate_hz, c.block_bytes]
        return "encode_clip", [*words, len(c.data)], expected, c.data
    if isinstance(message, messages.Status):
        s = message
        words = [s.is_online, s.is_armed, s.board, s.firmware, s.model_hash, s.samples_heard]
        words += [s.triggers_dropped, s.clips_dropped, s.outbox_depth, s.set_version, s.set_code, s.dismissed]
        words += [s.is_siren_on]
        return "encode_status", words, expected, b""
    if isinstance(message, messages.LiveScores):
        scores = bytes(message.scores[event.id] for event in load())
        thresholds = bytes(message.thresholds.get(event.id, 0) for event in load())
        return "encode_live_scores", [message.samples_heard, scores, thresholds], expected, b""
    if isinstance(message, messages.Installed):
        words = [message.model_hash, message.has_key, len(message.updates)]
        for u in message.updates:
            part, fate = schema.values("part")[u.part], schema.values("fate")[u.fate]
            words += [u.event, part, u.update_version, fate, u.update_code]
        return "encode_installed", words, expected, b""
    if isinstance(message, messages.FurtherWords):
        return "encode_further_words", _further_words(message), expected, b""
    return "encode_device_control", _device_control_words(message), expected, b""


ENCODED_IN_C = [case for case in MESSAGES if case["kind"] not in DECODED_IN_C]


@pytest.mark.parametrize("case", ENCODED_IN_C, ids=_name)
def test_c_writes_the_bytes_that_python_writes(core: CoreDriver, case: dict[str, Any]) -> None:
    command, words, expected, data = _encoding(case)
    (written,) = core.ask(command, *words, len(expected) - len(data))
    assert unhex(written) + data == expected


@pytest.mark.parametrize("case", ENCODED_IN_C, ids=_name)
def test_c_writes_no_message_into_too_small_a_buffer(core: CoreDriver, case: dict[str, Any]) -> None:
    command, words, expected, data = _encoding(case)
    for room in range(len(expected) - len(data)):
        with pytest.raises(CoreError) as error:
            core.ask(command, *words, room)
        assert error.value.code == -2


def _decoded_words(case: dict[str, Any]) -> list[str]:
    """Return what the driver must say of a decoded message."""
    m = _message(case)
    if isinstance(m, messages.Receipt):
        words: list[object] = [m.event_id, schema.values("receipt")[m.kind]]
    elif isinstance(m, messages.Verdict):
        verdict = schema.values("verdict")[m.verdict]
        words = [m.event_id, verdict, m.reason, m.media_id or "", m.media_title or ""]
    elif isinstance(m, messages.Command):
        words = [m.event_id, schema.values("command")[m.command]]
    elif isinstance(m, messages.Config):
        words = [m.is_armed, sum(name not in load() for name in m.events)]
        for name in load().names:
            if name in m.events:
                setting = m.events[name]
                sensitivity = schema.values("sensitivity")[setting.sensitivity]
                words += [load().index(name), setting.is_enabled, sensitivity]
    elif isinstance(m, messages.HostConfigure):
        words = [m.control, m.device_id or "", m.boot_id, m.utc_ms is not None, m.utc_ms or 0]
    elif isinstance(m, messages.HostProvision):
        words = [m.control]
        for name, value in vars(m).items():
            words += [value is not None, value or (0 if name == "broker_port" else b"")]
    elif isinstance(m, messages.HostControl):
        words = [m.control, *vars(m).values()]
    else:
        words = ["", *vars(m).values()]
    return [word(value) for value in words]


@pytest.mark.parametrize("case", [c for c in MESSAGES if c["kind"] in DECODED_IN_C], ids=_name)
def test_c_reads_what_python_writes(core: CoreDriver, case: dict[str, Any]) -> None:
    assert core.ask("decode", case["kind"], bytes.fromhex(case["cbor"])) == _decoded_words(case)


@pytest.mark.parametrize("case", INVALID, ids=_name)
def test_what_is_no_message_is_refused_with_its_fault(case: dict[str, Any]) -> None:
    with pytest.raises(messages.MessageError) as error:
        messages.decode(case["kind"], bytes.fromhex(case["cbor"]))
    assert case["says"] in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", [c for c in INVALID if c["kind"] in DECODED_IN_C], ids=_name)
def test_c_refuses_what_is_no_message(core: CoreDriver, case: dict[str, Any]) -> None:
    with pytest.raises(CoreError) as error:
        core.ask("decode", case["kind"], bytes.fromhex(case["cbor"]))
    assert error.value.code == -5
