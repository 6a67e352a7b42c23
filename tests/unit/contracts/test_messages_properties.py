"""Messages with any content: C writes what Python writes, and neither trips over any bytes."""

from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zcbor import CddlValidationError, DataTranslator

from edge.catalogue import load
from edge.contracts import limits, messages, schema
from tests.core_driver import CoreDriver, CoreError, unhex
from tests.golden.test_contracts import trigger_words

_U8, _U16, _U32, _U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
_EVENT_ID = st.binary(min_size=16, max_size=16)
_CADENCES = st.builds(messages.Cadence, st.sampled_from(sorted(schema.values("cadence"))), _U8, _U16, _U16, _U16, _U8)


@st.composite
def _fingerprints(draw: st.DrawFn) -> messages.Fingerprint:
    n_words = draw(st.integers(0, limits.TRIGGER_FINGERPRINT_WORDS))
    words = draw(st.binary(min_size=4 * n_words, max_size=4 * n_words))
    n_usable = (n_words + 7) // 8
    usable = draw(st.binary(min_size=n_usable, max_size=n_usable))
    masks = draw(st.binary(min_size=4 * n_words, max_size=4 * n_words))
    return messages.Fingerprint(draw(_U64), draw(_U16), words, usable, masks)


_TRIGGERS = st.builds(
    messages.Trigger,
    event_id=_EVENT_ID,
    device_seq=_U32,
    event=st.sampled_from(load().names),
    event_start_sample=_U64,
    trigger_sample=_U64,
    score=_U8,
    scores=st.fixed_dictionaries({event.id: _U8 for event in load()}),
    sensitivity=st.sampled_from(["low", "normal", "high"]),
    is_armed=st.booleans(),
    cadence=_CADENCES,
    fingerprint=_fingerprints(),
    model_hash=st.binary(min_size=8, max_size=8),
    head_version=_U32,
    clip=st.sampled_from(["always", "on_request", "none"]),
)


@settings(max_examples=60, deadline=None)
@given(_TRIGGERS)
def test_any_trigger_is_the_same_bytes_from_c_and_python(core: CoreDriver, trigger: messages.Trigger) -> None:
    encoded = messages.encode(trigger)
    assert unhex(core.ask("encode_trigger", *trigger_words(trigger), limits.TRIGGER_MAX_BYTES)[0]) == encoded
    assert messages.decode("trigger", encoded) == trigger


def test_the_largest_trigger_takes_what_the_device_reserves() -> None:
    """Every number as wide as it can be, all words, and as many scores and as long a name as the schema admits."""
    fingerprint = messages.Fingerprint(
        2**64 - 1,
        2**16 - 1,
        bytes(4 * limits.TRIGGER_FINGERPRINT_WORDS),
        bytes((limits.TRIGGER_FINGERPRINT_WORDS + 7) // 8),
        bytes(4 * limits.TRIGGER_FINGERPRINT_WORDS),
    )
    largest = messages.Trigger(
        event_id=bytes(limits.EVENT_ID_BYTES),
        device_seq=2**32 - 1,
        event="a" * limits.NAME_MAX_CHARS,
        event_start_sample=2**64 - 1,
        trigger_sample=2**64 - 1,
        score=255,
        scores={255 - i: 255 for i in range(limits.SCORES_MAX)},
        sensitivity="high",
        is_armed=True,
        cadence=messages.Cadence("continuous", 255, 2**16 - 1, 2**16 - 1, 2**16 - 1, 255),
        fingerprint=fingerprint,
        model_hash=bytes(limits.MODEL_HASH_BYTES),
        head_version=2**32 - 1,
        clip="always",
    )
    assert len(messages.encode(largest)) == 1042 <= limits.TRIGGER_MAX_BYTES


@settings(max_examples=30, deadline=None)
@given(st.one_of(st.integers(0, 300), st.integers(0, limits.CLIP_MAX_BYTES - 255)), _U64, _U32)
def test_any_clip_prefix_goes_before_its_data(core: CoreDriver, size: int, first: int, count: int) -> None:
    clip = messages.Clip(bytes(16), first, count, 7, 16000, 256, "ima-adpcm", bytes(size))
    encoded = messages.encode(clip)
    (prefix,) = core.ask("encode_clip", bytes(16), first, count, 7, 16000, 256, size, 96)
    assert unhex(prefix) + bytes(size) == encoded
    assert len(encoded) <= limits.CLIP_MAX_BYTES


def test_a_clip_over_the_limit_is_refused_by_both(core: CoreDriver) -> None:
    with pytest.raises(CoreError) as error:
        core.ask("encode_clip", bytes(16), 0, 0, 0, 16000, 256, limits.CLIP_MAX_BYTES, 96)
    assert error.value.code == -7
    with pytest.raises(messages.MessageError, match=r"Clip\.data is"):
        messages.encode(messages.Clip(bytes(16), 0, 0, 0, 16000, 256, "ima-adpcm", bytes(limits.CLIP_MAX_BYTES)))


def _fields_at_fault() -> list[tuple[str, Any, str]]:
    return [
        ("event_id", b"short", "send 16 bytes"),
        ("event", "", "send text of 1 to 31 bytes"),
        ("event", "ü" * 16, "send text of 1 to 31 bytes"),
        ("score", 256, "send a whole number from 0 to 255"),
        ("score", -1, "send a whole number from 0 to 255"),
        ("score", 1.0, "send a whole number from 0 to 255"),
        ("is_armed", 1, "send true or false"),
        ("sensitivity", "extreme", "send one of low, normal, high"),
        ("scores", {}, "send a map of 1 to 16 entries"),
        ("cadence", None, "send a Cadence"),
        ("version", 1, "send a whole number from 2 to 2"),
    ]


@pytest.mark.parametrize(("name", "value", "says"), _fields_at_fault())
def test_a_value_outside_the_schema_is_told_by_its_field(name: str, value: Any, says: str) -> None:
    fields: dict[str, Any] = {
        "event_id": bytes(16),
        "device_seq": 0,
        "event": "door",
        "event_start_sample": 0,
        "trigger_sample": 0,
        "score": 0,
        "scores": {1: 1},
        "sensitivity": "low",
        "is_armed": False,
        "cadence": messages.Cadence("none", 0, 0, 0, 0, 0),
        "fingerprint": messages.Fingerprint(0, 640, b"", b"", b""),
        "model_hash": bytes(8),
        "head_version": 1,
        "clip": "none",
    }
    messages.encode(messages.Trigger(**fields))
    with pytest.raises(messages.MessageError) as error:
        messages.encode(messages.Trigger(**{**fields, name: value}))
    assert f"Trigger.{name} is" in str(error.value)
    assert says in str(error.value)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(messages.KINDS), st.binary(max_size=300))
def test_no_bytes_bring_python_down(kind: str, data: bytes) -> None:
    try:
        message = messages.decode(kind, data)
    except messages.MessageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - the claim is about every error that may come
    else:
        assert messages.decode(kind, messages.encode(message)) == message


_CONTENT = st.recursive(
    st.one_of(st.integers(-(2**64), 2**64 - 1), st.binary(max_size=20), st.text(max_size=20), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.integers(0, 60), inner, max_size=6)),
    max_leaves=8,
)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(("receipt", "verdict", "config", "command", "host_control")),
    st.one_of(st.binary(max_size=80), _CONTENT),
)
def test_whatever_c_accepts_python_accepts(core: CoreDriver, kind: str, content: Any) -> None:
    data = content if isinstance(content, bytes) else cbor2.dumps(content)
    try:
        core.ask("decode", kind, data)
    except CoreError as error:
        assert error.code == -5  # noqa: PT017 - the claim is about every error that may come
    else:
        messages.decode(kind, data)


def test_zcbor_itself_finds_the_messages_of_the_schema() -> None:
    translator = DataTranslator.from_cddl(schema.SCHEMA_PATH.read_text(), 3).my_types["receipt"]
    encoded = messages.encode(messages.Receipt(bytes(16), "clip"))
    translator.validate_str(encoded)
    with pytest.raises(CddlValidationError):
        translator.validate_str(encoded[:-1] + b"\x05")


def test_a_fingerprint_gives_back_its_arrays() -> None:
    words = np.array([1, 2**31, 0xFFFFFFFF], dtype=np.uint32)
    masks = np.array([3, 0, 2**31], dtype=np.uint32)
    is_usable = np.array([True, False, True])
    fingerprint = messages.Fingerprint.of(64, 640, words, masks, is_usable)
    assert fingerprint.words == b"\1\0\0\0\0\0\0\x80\xff\xff\xff\xff"
    assert fingerprint.usable == b"\5"
    np.testing.assert_array_equal(fingerprint.mask_array, masks)
    np.testing.assert_array_equal(fingerprint.word_array, words)
    np.testing.assert_array_equal(fingerprint.usable_array, is_usable)
