"""Hostile messages: counted, named and quarantined; the event they speak of ends in a reason; neighbours live."""

import struct
from dataclasses import replace
from datetime import timedelta

import cbor2
import numpy as np
import pytest

from cloud.history.models import Device, Fingerprint, Rejection
from cloud.history.quarantine import quarantined
from cloud.ingest.plausible import MOST_SAMPLES
from edge import native
from edge.contracts import messages
from edge.errors import HarkenError
from tests.cloud_doubles import Sounds, tone
from tests.unit.cloud.conftest import Cloud

YEARS = 2**64 - 1


@pytest.fixture
def cloud(tmp_path, history_url):
    """Here on both engines: what a column holds depends on them."""
    running = Cloud(tmp_path, history_url).start()
    yield running
    running.close()


def causes(cloud) -> dict[str, int]:
    with cloud.history.reading() as session:
        return {row.cause: row.count for row in session.query(Rejection)}


def deep(levels: int) -> bytes:
    return b"\x81" * levels + b"\x00"


MALFORMED = {
    "no CBOR": b"\xff\x00",
    "nothing": b"",
    "a list": cbor2.dumps([1, 2, 3]),
    "an empty map": cbor2.dumps({}),
    "a header that claims 2^62 bytes": b"\x5b" + struct.pack(">Q", 2**62) + b"abc",
    "a map that claims 2^32 entries": b"\xba" + struct.pack(">I", 2**32 - 1),
    "nested five hundred deep": deep(500),
    "an unknown tag": b"\xd9\xff\xff\x00",
    "a number for text": cbor2.dumps(dict.fromkeys(range(1, 17), 1.5)),
    "not a number": cbor2.dumps(dict.fromkeys(range(1, 17), float("nan"))),
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("kind", ["trigger", "clip", "status"])
def test_no_bytes_can_stop_the_decoder(kind, payload):
    with pytest.raises(messages.MessageError):
        messages.decode(kind, payload)


def test_each_malformed_message_is_counted_and_kept_and_its_neighbours_live(cloud, kitchen):
    before, after = kitchen.trigger(), kitchen.trigger()
    cloud.receive(kitchen, before)
    for kind in ("trigger", "clip", "status"):
        for payload in MALFORMED.values():
            cloud.receive_raw(f"harken/v1/kitchen/{kind}", payload)
    cloud.receive(kitchen, after)
    cloud.until(lambda: cloud.row(after))
    assert cloud.row(before) is not None
    assert causes(cloud) == {f"{kind}: malformed": len(MALFORMED) for kind in ("trigger", "clip", "status")}
    with cloud.history.reading() as session:
        assert len(quarantined(session)) == 3 * len(MALFORMED)
    assert cloud.acknowledged == 2 + 3 * len(MALFORMED)


def test_a_message_of_an_unknown_version_is_named(cloud, kitchen):
    wire = cbor2.loads(messages.encode(kitchen.trigger()))
    version = next(key for key, value in wire.items() if value == messages.limits.MESSAGE_VERSION)
    wire[version] = 99
    cloud.receive_raw("harken/v1/kitchen/trigger", cbor2.dumps(wire))
    cloud.until(lambda: causes(cloud) == {"trigger: malformed": 1})
    with cloud.history.reading() as session:
        assert "version is 99" in quarantined(session)[0].detail


def test_fingerprints_of_wrong_lengths_are_named(cloud, kitchen):
    good = messages.encode(kitchen.trigger())
    wire = cbor2.loads(good)
    maps = {key: value for key, value in wire.items() if isinstance(value, dict)}
    outer, fingerprint = next((key, value) for key, value in maps.items() if len(value) == 5)
    longest = max(fingerprint, key=lambda key: len(fingerprint[key]) if isinstance(fingerprint[key], bytes) else 0)
    for cut in (1, 4):
        wire[outer] = {**fingerprint, longest: fingerprint[longest][:-cut]}
        cloud.receive_raw("harken/v1/kitchen/trigger", cbor2.dumps(wire))
    cloud.until(lambda: causes(cloud) == {"trigger: malformed": 2})


def long_claim(clip):
    return replace(clip, sample_count=2**32 - 1)


def empty(clip):
    return replace(clip, data=b"", sample_count=0)


def wrong_rate(clip):
    return replace(clip, sample_rate_hz=2**32 - 1)


def odd_blocks(clip):
    return replace(clip, block_bytes=3)


def cut_off(clip):
    return replace(clip, data=clip.data[:-100])


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (empty, "empty"),
        (wrong_rate, "4294967295 Hz"),
        (odd_blocks, "blocks of 3 bytes"),
        (cut_off, "cut off"),
        (long_claim, "claims 4294967295 samples"),
    ],
)
def test_hostile_audio_ends_in_a_reason_that_a_person_is_told(cloud, kitchen, harm, reason):
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.until(lambda: (row := cloud.row(trigger)) and row.stage == "awaiting_clip")
    cloud.receive(kitchen, harm(kitchen.clip(trigger)))
    row = cloud.verdict(trigger)
    assert row.verdict == "unverified"
    assert reason in row.reason
    assert causes(cloud) == {"clip: unusable audio": 1}
    assert [each.event_id for each in cloud.notified] == [trigger.event_id.hex()]
    assert cloud.clips.event_ids() == set()
    assert messages.Receipt(trigger.event_id, "clip") in cloud.answers("receipt")  # it need not come again


def test_hostile_audio_right_behind_its_trigger_leaves_nobody_waiting(cloud, kitchen):
    trigger = kitchen.trigger()
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, empty(kitchen.clip(trigger)))
    assert "empty" in cloud.verdict(trigger).reason


def test_any_samples_decode_to_sound_that_can_be_judged():
    """There is no NaN in ADPCM: every block with a valid header is some sound; a header that is not is refused."""
    rng = np.random.default_rng(5)
    clip = bytearray(native.adpcm_encode(tone(1.0)))
    for start in range(0, len(clip), native.BLOCK_BYTES):
        clip[start + 4 : start + native.BLOCK_BYTES] = rng.integers(0, 256, native.BLOCK_BYTES - 4, np.uint8).tobytes()
    assert native.adpcm_decode(bytes(clip)).dtype == np.int16
    clip[2] = 255  # the step index of the first block
    with pytest.raises(HarkenError, match="no valid header"):
        native.adpcm_decode(bytes(clip))


@pytest.mark.parametrize(
    "times",
    [
        {"trigger_sample": YEARS, "event_start_sample": YEARS},
        {"trigger_sample": 1000, "event_start_sample": YEARS},
        {"trigger_sample": 1000, "event_start_sample": 2000},
    ],
)
def test_a_clock_that_is_off_by_years_is_counted_and_its_alarm_judged(cloud, kitchen, times):
    trigger = kitchen.trigger(**times)
    cloud.receive(kitchen, trigger)
    cloud.receive(kitchen, replace(kitchen.clip(kitchen.trigger()), event_id=trigger.event_id, first_sample=YEARS))
    row = cloud.verdict(trigger)
    assert row.verdict == "confirmed"
    assert 0 <= row.event_start_sample <= row.trigger_sample <= MOST_SAMPLES
    assert causes(cloud) == {"trigger: clock off": 1}


def test_every_number_that_the_schema_allows_can_be_stored(cloud, kitchen):
    trigger = kitchen.trigger(device_seq=2**32 - 1, head_version=2**32 - 1)
    fingerprint = replace(trigger.fingerprint, first_sample=YEARS)
    trigger = replace(trigger, fingerprint=fingerprint)
    cloud.receive(kitchen, trigger)
    most = {"samples_heard": YEARS, "triggers_dropped": 2**32 - 1, "clips_dropped": 2**32 - 1}
    cloud.receive(kitchen, kitchen.status(board="a\0b", **most))
    cloud.until(lambda: cloud.acknowledged == 2)
    with cloud.history.reading() as session:
        assert session.get(Device, "kitchen").board == "ab"
        assert session.get(Fingerprint, trigger.event_id.hex()).first_sample == MOST_SAMPLES
    assert causes(cloud) == {"trigger: clock off": 1}
    assert cloud.pipeline.counters.step_errors == 0


def test_a_clip_for_no_trigger_waits_an_hour_and_is_counted(cloud, kitchen):
    cloud.receive(kitchen, kitchen.clip(kitchen.trigger()))
    cloud.until(lambda: cloud.acknowledged == 1)
    cloud.skew = timedelta(hours=2)
    cloud.pipeline.submit(cloud.steps.sweep())
    cloud.until(lambda: causes(cloud) == {"clip: no trigger": 1})
    cloud.until(lambda: cloud.clips.event_ids() == set())


def test_a_trigger_on_another_device_s_topic_is_refused_and_shown(cloud):
    kitchen, hallway = Sounds("kitchen"), Sounds("hallway")
    forged = hallway.trigger()
    cloud.receive(kitchen, forged, "trigger")
    own = kitchen.trigger()
    cloud.receive(kitchen, own)
    cloud.until(lambda: cloud.row(own))
    assert cloud.row(forged) is None
    assert causes(cloud) == {"trigger: wrong device": 1}
    assert forged.event_id not in {receipt.event_id for receipt in cloud.answers("receipt")}
