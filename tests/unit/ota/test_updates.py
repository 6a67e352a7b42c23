"""What a device does with updates: the C core's own code, over flash that may lose its power at any byte."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import catalogue, native, rehearsal
from edge.contracts import limits, messages
from edge.contracts.error_texts import error_text
from edge.dataset.synthesis import appliances, tones
from edge.rehearsal import Rehearsal
from tests.unit.ota.conftest import DEVICE, KEY, Own, changed
from tools.ota import envelope, head, parts
from tools.ota.envelope import Trial, Update

TRIAL = Trial(seconds=10, triggers_a_minute=3)
SECOND = np.zeros(16_000, np.int16)


def sent(update: Update, device_id: str = DEVICE, key: bytes = KEY) -> Sequence[messages.UpdatePiece]:
    return tuple(envelope.pieces(update.sign(device_id, key)).values())


def fates(told: messages.Installed) -> list[tuple[str, int, str]]:
    return sorted((update.event or update.part, update.update_version, update.fate) for update in told.updates)


def apart(update: Update) -> tuple[bytes, bytes]:
    """Return the blob and the self-test of a head's update."""
    (length,) = struct.unpack_from("<H", update.payload, 6)
    return update.payload[:length], update.payload[length:]


def refusal(told: messages.Installed) -> str:
    (refused,) = [update for update in told.updates if update.fate == "refused"]
    return error_text(refused.update_code)


@pytest.fixture(scope="module")
def door(own: Own, library: Path) -> Update:
    return head.make(changed(own("door"), version=7), 100, TRIAL, library)


def test_a_head_takes_effect_on_trial_and_is_confirmed_when_its_seconds_are_over(
    device: Rehearsal, door: Update
) -> None:
    first, second = sent(door)
    assert device.take(first).updates == ()
    assert device.in_use("door")[0] == 1
    assert fates(device.take(second)) == [("door", 100, "trial")]
    assert device.in_use("door")[0] == 7
    device.hear(np.tile(SECOND, 9))
    assert fates(device.installed) == [("door", 100, "trial")]
    device.hear(np.tile(SECOND, 2))
    assert fates(device.installed) == [("door", 100, "confirmed")]
    again = device.restarted()
    assert fates(again.installed) == [("door", 100, "confirmed")]
    assert again.in_use("door")[0] == 7


def test_a_head_in_flight_is_under_two_kilobytes_with_all_of_mqtt(door: Update) -> None:
    longest_id = "d" * limits.DEVICE_ID_MAX_CHARS
    packets = [
        len(messages.encode(piece)) + 3 + 2 + len(f"harken/v1/{longest_id}/update/{n}") + 2
        for n, piece in envelope.pieces(door.sign(longest_id, KEY)).items()
    ]
    assert len(packets) == 2
    assert sum(packets) <= 2048


def test_pieces_may_come_in_any_order_and_twice(library: Path, door: Update) -> None:
    pieces = sent(door)
    for order in itertools.permutations(range(len(pieces))):
        device = Rehearsal(library, DEVICE, KEY)
        for n in order:
            device.take(pieces[n], pieces[n])
        assert fates(device.installed) == [("door", 100, "trial")]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_an_update_with_any_bit_flipped_changes_nothing(data: st.DataObject, library: Path, door: Update) -> None:
    signed = bytearray(door.sign(DEVICE, KEY))
    bit = data.draw(st.integers(0, 8 * len(signed) - 1))
    signed[bit // 8] ^= 1 << bit % 8
    tag, size = bytes(signed[128:136]), limits.UPDATE_PIECE_BYTES
    device = Rehearsal(library, DEVICE, KEY)
    for at in range(0, len(signed), size):
        device.take(messages.UpdatePiece(bytes(signed[at : at + size]), tag, at, len(signed)))
    (told,) = device.installed.updates
    assert told.fate == "refused"
    assert device.in_use("door")[0] == 1
    assert device.restarted().installed.updates == ()


def test_an_older_version_and_the_same_again_are_refused(device: Rehearsal, door: Update) -> None:
    device.take(*sent(door))
    device.hear(np.tile(SECOND, 11))
    for version in (100, 99):
        replayed = replace(door, version=version, trial=Trial(11))
        assert "older" in refusal(device.take(*sent(replayed)))
    assert fates(device.take(*sent(replace(door, version=101))))[0] == ("door", 101, "trial")


def test_what_a_broker_gives_again_with_every_connection_costs_no_flash(device: Rehearsal, door: Update) -> None:
    device.take(*sent(door))
    before = device.power
    device.take(*sent(door))
    assert device.power == before
    assert fates(device.installed) == [("door", 100, "trial")]


def test_another_devices_update_and_another_key_are_refused(device: Rehearsal, door: Update) -> None:
    assert "signature" in refusal(device.take(*sent(door, key=bytes(32))))
    assert "another device" in refusal(device.take(*sent(door, device_id="hall")))
    assert device.in_use("door")[0] == 1


def test_an_update_for_another_detector_is_refused(device: Rehearsal, door: Update) -> None:
    assert "another model" in refusal(device.take(*sent(replace(door, trunk_hash=bytes(8)))))


def test_a_device_without_a_key_says_so(library: Path, door: Update) -> None:
    device = Rehearsal(library, DEVICE, None)
    assert "no key" in refusal(device.take(*sent(door)))
    assert not device.installed.has_key


def test_what_is_too_large_is_refused(device: Rehearsal) -> None:
    piece = messages.UpdatePiece(bytes(limits.UPDATE_PIECE_BYTES), bytes(8), 0, limits.UPDATE_MAX_BYTES + 1)
    assert "larger" in refusal(device.take(piece))


def test_a_head_whose_scores_are_not_those_promised_is_refused(device: Rehearsal, door: Update) -> None:
    at = len(apart(door)[0]) + head.VECTORS * 64  # the first score
    wrong = door.payload[:at] + bytes([door.payload[at] ^ 1]) + door.payload[at + 1 :]
    assert "self-test" in refusal(device.take(*sent(replace(door, payload=wrong))))


def test_a_power_cut_at_any_write_leaves_the_old_head_or_the_new_one(device: Rehearsal, door: Update) -> None:
    device.take(*sent(door))
    device.hear(np.tile(SECOND, 11))
    kept = bytes(device.flash)
    blob, self_test = apart(door)
    newer = replace(door, version=101, payload=changed(blob, version=8) + self_test)
    pieces = sent(newer)
    before = device.power
    device.take(*pieces)
    device.hear(np.tile(SECOND, 11))
    used = before - device.power
    assert device.in_use("door")[0] == 8
    seen = set()
    for power in [*range(0, used - 40, 211), *range(used - 40, used + 1)]:
        flash = type(device.flash).from_buffer_copy(kept)
        cut = Rehearsal(device._path, DEVICE, KEY, flash, power)
        assert cut.in_use("door")[0] == 7
        cut.take(*pieces)
        cut.hear(np.tile(SECOND, 11))
        again = cut.restarted()
        version = again.in_use("door")[0]
        assert version in (7, 8)
        seen.add((version, again.installed.updates[0].fate))
        again.take(*pieces)  # as the broker gives them again
        again.hear(np.tile(SECOND, 11))
        assert again.in_use("door")[0] == 8
    assert seen == {(7, "confirmed"), (8, "trial"), (8, "confirmed")}


def test_two_resets_on_trial_roll_back_and_that_version_never_comes_again(device: Rehearsal, door: Update) -> None:
    device.take(*sent(door))
    once = device.restarted()
    assert once.in_use("door")[0] == 7
    twice = once.restarted()
    assert twice.in_use("door")[0] == 1
    (told,) = twice.installed.updates
    assert (told.fate, "reset twice" in error_text(told.update_code)) == ("rolled_back", True)
    assert fates(twice.take(*sent(door))) == [("door", 100, "rolled_back")]
    assert "older" in refusal(twice.take(*sent(replace(door, trial=Trial(12)))))
    assert fates(twice.restarted().take(*sent(replace(door, version=101)))) == [("door", 101, "trial")]


# --- Safety: what no update may do ---


def test_a_head_that_triggers_too_often_on_trial_is_rolled_back_at_once(library: Path, own: Own) -> None:
    beeps = appliances.microwave(np.random.default_rng(4), beeps=5, frequency_hz=2050.0)
    pcm = np.zeros(16 * 16_000)
    pcm[: len(beeps)] = tones.normalized(beeps, 0.2)[: len(pcm)]
    bout = np.rint(pcm * 32767).astype(np.int16)
    ears = native.load(library)
    ears.push(np.concatenate([np.tile(SECOND, 2), bout]))
    threshold = max(1, int(ears.scores[:, catalogue.load().index("appliance_beep")].max()) // 3)
    eager = changed(own("appliance_beep"), version=9, thresholds=(threshold, threshold, threshold))
    device = Rehearsal(library, DEVICE, KEY)
    assert fates(device.take(*sent(head.make(eager, 100, Trial(60, 1), library)))) == [("appliance_beep", 100, "trial")]
    device.hear(np.tile(SECOND, 2))
    triggers = sum(device.hear(bout) for _ in range(3))
    assert triggers >= 2
    (told,) = device.installed.updates
    assert told.fate == "rolled_back"
    assert "too often" in error_text(told.update_code)
    assert device.in_use("appliance_beep")[0] == 1
    assert fates(device.restarted().installed) == [("appliance_beep", 100, "rolled_back")]


def test_a_head_of_smoke_that_is_silent_where_the_detectors_own_fires_is_refused(
    library: Path, device: Rehearsal, own: Own
) -> None:
    good = head.make(changed(own("smoke_alarm"), version=5), 100, TRIAL, library)
    assert fates(device.take(*sent(good))) == [("smoke_alarm", 100, "trial")]
    blob, self_test = apart(good)
    fresh = Rehearsal(library, DEVICE, KEY)
    deaf = replace(good, payload=changed(blob, thresholds=(255, 255, 255)) + self_test)
    assert "harder to hear" in refusal(fresh.take(*sent(deaf)))
    quiet = np.zeros((2, 64), np.int8).tobytes()
    scores = rehearsal.scores(library, blob, np.zeros((2, 64), np.int8)).tobytes()
    no_witness = replace(good, version=101, payload=blob + quiet + scores)
    assert "harder to hear" in refusal(fresh.take(*sent(no_witness)))
    no_test = replace(good, version=102, payload=blob, vectors=0)
    assert "expected form" in refusal(fresh.take(*sent(no_test)))
    assert fresh.in_use("smoke_alarm")[0] == 1


def test_every_safety_event_has_a_self_test_that_its_own_head_passes(library: Path, own: Own) -> None:
    for event in ("smoke_alarm", "co_alarm", "glass_break"):
        update = head.make(changed(own(event), version=2), 100, TRIAL, library)
        assert fates(Rehearsal(library, DEVICE, KEY).take(*sent(update))) == [(event, 100, "trial")]


def tables(**events: dict[str, int]) -> dict[str, dict[str, int]]:
    return events


def test_thresholds_take_effect_and_survive_a_restart(device: Rehearsal, door: Update) -> None:
    given = parts.thresholds(tables(door={"low": 250, "normal": 240, "high": 7}), 100, TRIAL, door.trunk_hash)
    before = device.in_use("door")
    assert fates(device.take(*sent(given))) == [("thresholds", 100, "trial")]
    assert device.in_use("door") == (1, (250, 240, 7))
    device.hear(np.tile(SECOND, 11))
    again = device.restarted()
    assert again.in_use("door") == (1, (250, 240, 7))
    again.take(*sent(replace(door, version=101)))  # a head that comes later brings its own
    assert again.in_use("door")[1] != (250, 240, 7)
    again.hear(np.tile(SECOND, 11))
    assert fates(again.take(*sent(parts.withdraw("thresholds", 102, door.trunk_hash)))) == [
        ("door", 101, "confirmed"),
        ("thresholds", 102, "withdrawn"),
    ]
    again.take(*sent(head.withdraw("door", 103, door.trunk_hash)))
    assert again.in_use("door") == before


def test_thresholds_cannot_make_a_safety_event_harder_to_hear(library: Path, device: Rehearsal, door: Update) -> None:
    low = device.in_use("smoke_alarm")[1][0]
    unsafe = tables(smoke_alarm={"low": low + 1, "normal": low, "high": 1})
    assert "harder to hear" in refusal(device.take(*sent(parts.thresholds(unsafe, 1, TRIAL, door.trunk_hash))))
    safe = tables(smoke_alarm={"low": low, "normal": 5, "high": 5})
    assert fates(device.take(*sent(parts.thresholds(safe, 2, TRIAL, door.trunk_hash)))) == [("thresholds", 2, "trial")]
    unknown = tables(kettle={"low": 3, "normal": 2, "high": 1})
    fresh = Rehearsal(library, DEVICE, KEY)
    assert "not known" in refusal(fresh.take(*sent(parts.thresholds(unknown, 3, TRIAL, door.trunk_hash))))


def test_settings_change_times_and_never_delay_a_safety_event(library: Path, device: Rehearsal, door: Update) -> None:
    own_times = device.times("dog_bark")
    make = lambda given, version: parts.settings(given, version, TRIAL, door.trunk_hash, device)  # noqa: E731
    assert fates(device.take(*sent(make(tables(dog_bark={"min_duration_ms": 900}), 1)))) == [("settings", 1, "trial")]
    assert device.times("dog_bark") == own_times | {"min_duration_ms": 900}
    device.hear(np.tile(SECOND, 11))
    assert device.restarted().times("dog_bark")["min_duration_ms"] == 900
    for n, unsafe in enumerate(
        (
            tables(smoke_alarm={"min_duration_ms": 60_000}),
            tables(co_alarm={"repeat_ms": 0}),
            tables(smoke_alarm={"refractory_ms": 60_000}),
            tables(smoke_alarm={"max_gap_ms": 10}),
            tables(alarm={"persistent_ms": 60_000}),
            tables(alarm={"lone_duration_ms": 60_000}),
        )
    ):
        fresh = Rehearsal(library, DEVICE, KEY)
        assert "harder to hear" in refusal(fresh.take(*sent(make(unsafe, n + 2))))
    prompt = tables(smoke_alarm={"min_duration_ms": 500}, alarm={"persistent_ms": 20_000})
    fresh = Rehearsal(library, DEVICE, KEY)
    assert fates(fresh.take(*sent(make(prompt, 9)))) == [("settings", 9, "trial")]
    assert fresh.alarm()["persistent_ms"] == 20_000
    assert fates(fresh.take(*sent(parts.withdraw("settings", 10, door.trunk_hash)))) == [("settings", 10, "withdrawn")]


def test_one_update_is_on_trial_and_another_waits(device: Rehearsal, door: Update) -> None:
    device.take(*sent(door))
    later = parts.thresholds(tables(dog_bark={"low": 9, "normal": 8, "high": 7}), 101, TRIAL, door.trunk_hash)
    assert fates(device.take(*sent(later))) == [("door", 100, "trial"), ("thresholds", 101, "waiting")]
    third = parts.settings(tables(dog_bark={"max_gap_ms": 1}), 102, TRIAL, door.trunk_hash, device)
    assert "try again later" in refusal(device.take(*sent(third)))
    device.hear(np.tile(SECOND, 11))
    assert ("thresholds", 101, "trial") in fates(device.installed)
    device.hear(np.tile(SECOND, 11))
    assert ("settings", 102, "trial") in fates(device.take(*sent(third)))


def test_what_takes_the_place_of_an_update_on_trial_does_not_wait(device: Rehearsal, door: Update) -> None:
    device.take(*sent(door))
    newer = replace(door, version=101, trial=Trial(20))
    assert fates(device.take(*sent(newer))) == [("door", 101, "trial")]
    assert fates(device.take(*sent(head.withdraw("door", 102, door.trunk_hash)))) == [("door", 102, "withdrawn")]
    assert device.in_use("door")[0] == 1
    again = device.restarted().restarted()
    assert fates(again.installed) == [("door", 102, "withdrawn")]
    assert fates(again.take(*sent(newer))) == [("door", 102, "withdrawn")]
    assert "older" in refusal(again.take(*sent(replace(newer, trial=Trial(21)))))


def test_three_updates_are_in_effect_and_a_fourth_finds_no_room(library: Path, own: Own, device: Rehearsal) -> None:
    for n, event in enumerate(("door", "dog_bark", "baby_cry")):
        device.take(*sent(head.make(changed(own(event), version=5), n + 1, TRIAL, library)))
        device.hear(np.tile(SECOND, 11))
    assert [fate for _, _, fate in fates(device.installed)] == ["confirmed"] * 3
    fourth = head.make(changed(own("footsteps"), version=5), 9, TRIAL, library)
    assert "no room" in refusal(device.take(*sent(fourth)))
    newer = head.make(changed(own("door"), version=6), 10, TRIAL, library)
    assert ("door", 10, "trial") in fates(device.take(*sent(newer)))
    device.hear(np.tile(SECOND, 11))
    device.take(*sent(head.withdraw("door", 11, newer.trunk_hash)))
    assert ("footsteps", 12, "trial") in fates(device.take(*sent(replace(fourth, version=12))))
    device.hear(np.tile(SECOND, 11))
    # The area of the withdrawal may be taken by now; its version must not come again for all that.
    assert "older" in refusal(device.take(*sent(newer)))
    assert device.restarted().in_use("footsteps")[0] == 5


# --- By cable ---


def test_a_head_by_cable_stays_over_a_restart_and_gives_way_to_a_key(library: Path, own: Own) -> None:
    device = Rehearsal(library, DEVICE, None)
    for event in ("door", "dog_bark", "baby_cry", "footsteps"):
        assert device.load_head(changed(own(event), version=4)) == 0
    assert [device.in_use(event)[0] for event in ("door", "dog_bark", "baby_cry", "footsteps")] == [1, 4, 4, 4]
    again = device.restarted()
    assert [again.in_use(event)[0] for event in ("door", "dog_bark", "baby_cry", "footsteps")] == [1, 4, 4, 4]
    provisioned = again.restarted(key=KEY)
    assert provisioned.in_use("dog_bark")[0] == 1
    assert "signature" in error_text(provisioned.load_head(changed(own("door"), version=4)))


@pytest.mark.parametrize("event", ["smoke_alarm", "co_alarm", "glass_break"])
def test_a_head_by_cable_cannot_make_a_safety_event_harder_to_hear(library: Path, own: Own, event: str) -> None:
    sound = head.with_self_test(changed(own(event), version=5), library)
    blob = sound[: len(own(event))]
    self_test = sound[len(blob) :]
    quiet = np.zeros((2, 64), np.int8)
    no_witness = quiet.tobytes() + rehearsal.scores(library, blob, quiet).tobytes() + bytes(2)
    device = Rehearsal(library, DEVICE, None)
    for deaf in (blob, changed(blob, thresholds=(255, 255, 255)) + self_test, blob + no_witness):
        assert "harder to hear" in error_text(device.load_head(deaf))
    assert "expected form" in error_text(device.load_head(sound + bytes(4)))
    assert (device.in_use(event)[0], device.installed.updates) == (1, ())
    assert device.load_head(sound) == 0
    assert device.in_use(event)[0] == 5
    assert device.restarted().in_use(event)[0] == 5


def test_a_self_test_by_cable_has_to_give_the_scores_that_it_promises(library: Path, own: Own) -> None:
    sound = head.with_self_test(changed(own("door"), version=4), library)
    at = len(own("door")) + head.VECTORS * 64
    device = Rehearsal(library, DEVICE, None)
    assert "self-test" in error_text(device.load_head(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :]))
    assert device.load_head(sound) == 0


def test_a_deaf_head_that_older_firmware_took_by_cable_is_passed_over(library: Path, own: Own) -> None:
    """A device may hold one from before heads by cable were tried."""
    blob = changed(own("smoke_alarm"), version=5, thresholds=(255, 255, 255))
    area = 4096
    envelope_bytes = struct.pack("<4sBBHI8s32s32s", b"HKUP", 1, 0, len(blob), 0, blob[44:52], b"", blob[8:40])
    content = envelope_bytes.ljust(envelope.ENVELOPE_BYTES, b"\0") + blob
    record = struct.pack("<IIHHI", 0x43554B48, 1, len(content), 0, 0)
    device = Rehearsal(library, DEVICE, None)
    flash = bytearray(device.flash)
    flash[: len(content)] = content
    flash[area - 128 : area - 128 + 32] = (record + struct.pack("<I", zlib.crc32(content + record))).ljust(32, b"\0")
    device.flash[:] = type(device.flash).from_buffer_copy(flash)
    again = device.restarted()
    assert again.in_use("smoke_alarm")[0] == 1
    assert (fates(again.installed), refusal(again.installed)) == (
        [("smoke_alarm", 0, "refused")],
        "it would make a safety event harder to hear",
    )
