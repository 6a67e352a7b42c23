"""What a device does with updates: the C core's own code, over flash that may lose its power at any byte."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contracts import limits, messages
from edge.contracts.error_texts import error_text
from edge.rehearsal import Rehearsal
from tests.unit.ota.conftest import DEVICE, KEY, changed
from tools.ota import envelope, head
from tools.ota.envelope import Trial, Update

TRIAL = Trial(seconds=10, triggers_a_minute=3)
SECOND = np.zeros(16_000, np.int16)
Own = Callable[[str], bytes]


def sent(update: Update, device_id: str = DEVICE, key: bytes = KEY) -> Sequence[messages.UpdatePiece]:
    return tuple(envelope.pieces(update.sign(device_id, key)).values())


def fates(told: messages.Installed) -> list[tuple[str, int, str]]:
    return sorted((update.event or update.part, update.update_version, update.fate) for update in told.updates)


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
    promised = door.payload[-2]
    wrong = door.payload[:-2] + bytes([promised ^ 1, door.payload[-1]])
    assert "self-test" in refusal(device.take(*sent(replace(door, payload=wrong))))


def test_a_power_cut_at_any_write_leaves_the_old_head_or_the_new_one(device: Rehearsal, door: Update) -> None:
    device.take(*sent(door))
    device.hear(np.tile(SECOND, 11))
    kept = bytes(device.flash)
    blob, self_test = door.payload[:-130], door.payload[-130:]
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
