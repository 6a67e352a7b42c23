"""The one stretch of audio that a device keeps: which events share it, what becomes of each."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import build_core
from edge.native import adpcm_decode

NONE, CAPTURING, HELD, READY, SENDING, SENT = range(6)
FULL, NOT_FOUND, WRONG_STATE = -11, -12, -10
RATE = 16000
STEP = 320
OWNERS = 4
FIRST, SECOND, THIRD, FOURTH, FIFTH = (bytes([n]) * 16 for n in range(5))

CORE = Path(build_core.__file__).parent / "core"
# The device's sound is a tone whose pitch tells the time; hearing it in C keeps the property tests quick.
SOURCE = """
#include <stdint.h>
#include "hk_clip_slot.h"
#include "hk_error.h"
size_t slot_bytes(void) { return sizeof(hk_clip_slot_t); }
size_t data_bytes(void) { return HK_CLIP_DATA_BYTES; }
size_t ring_bytes(void) { return sizeof(hk_clip_ring_t); }
int16_t sound(uint64_t sample)
{
    const int64_t period = 200 + (int64_t)(sample / 16000 % 16) * 40;
    const int64_t phase = (int64_t)(sample % (uint64_t)period);
    return (int16_t)(8000 - 16000 * (phase < period / 2 ? 2 * phase : 2 * (period - phase)) / period);
}
int hear(hk_clip_slot_t *slot, hk_clip_ring_t *ring, uint32_t steps)
{
    int given_up = 0;
    for (uint32_t step = 0; step < steps; step++) {
        int16_t pcm[HK_STEP_SAMPLES];
        for (uint32_t i = 0; i < HK_STEP_SAMPLES; i++) {
            pcm[i] = sound(ring->samples_heard + i);
        }
        hk_clip_ring_push(ring, pcm, HK_STEP_SAMPLES);
        given_up += hk_clip_slot_update(slot, ring, ring->samples_heard);
    }
    return given_up;
}
"""


class Owner(ctypes.Structure):
    _fields_ = (
        ("trigger_sample", ctypes.c_uint64),
        ("event_id", ctypes.c_uint8 * 16),
        ("state", ctypes.c_uint8),
        ("is_safety", ctypes.c_bool),
        ("is_wanted", ctypes.c_bool),
        ("is_unwanted", ctypes.c_bool),
        ("tries", ctypes.c_uint8),
        ("is_asked", ctypes.c_bool),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("clip_slot")
    generated = build_core.build_root() / "gen"
    build_core.generate(generated)
    (folder / "sound.c").write_text(SOURCE)
    sources = [folder / "sound.c", *(CORE / "src" / f"hk_{name}.c" for name in ("clip_slot", "clip_ring", "adpcm"))]
    command = ["cc", "-std=c11", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC"]
    command += [f"-I{CORE / 'include'}", f"-I{generated}", *map(str, sources), "-o", str(folder / "slot.so")]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(folder / "slot.so"))
    library.sound.restype = ctypes.c_int16
    library.hk_clip_slot_next_to_send.restype = ctypes.POINTER(Owner)
    library.hk_clip_slot_is_awaiting_receipt.restype = ctypes.c_bool
    library.hk_clip_slot_pending.restype = ctypes.c_uint8
    return library


class Slot:
    """A slot beside the ring that it cuts from; starts three seconds into the sound."""

    def __init__(self, library: ctypes.CDLL) -> None:
        class Layout(ctypes.Structure):
            _fields_ = (
                ("owners", Owner * OWNERS),
                ("window_trigger_sample", ctypes.c_uint64),
                ("first_sample", ctypes.c_uint64),
                ("sample_count", ctypes.c_uint32),
                ("bytes", ctypes.c_uint32),
                ("data", ctypes.c_uint8 * library.data_bytes()),
            )

        assert ctypes.sizeof(Layout) == library.slot_bytes()
        self._library = library
        self._slot = Layout()
        self._ring = (ctypes.c_uint64 * (library.ring_bytes() // 8 + 1))()
        self.heard = 0
        library.hk_clip_slot_init(ctypes.byref(self._slot))
        library.hk_clip_ring_init(self._ring)
        self.hear(3.0)

    @property
    def owners(self) -> dict[bytes, Owner]:
        """Copies of the owners by their event."""
        taken = (Owner.from_buffer_copy(owner) for owner in self._slot.owners if owner.state != NONE)
        return {bytes(owner.event_id): owner for owner in taken}

    @property
    def states(self) -> dict[bytes, int]:
        return {event_id: owner.state for event_id, owner in self.owners.items()}

    @property
    def window_trigger_sample(self) -> int:
        return int(self._slot.window_trigger_sample)

    @property
    def extent(self) -> tuple[int, int]:
        """First sample of the captured audio, and the sample after its last."""
        return self._slot.first_sample, self._slot.first_sample + self._slot.sample_count

    @property
    def audio(self) -> bytes:
        """All that a sender reads."""
        return bytes(self._slot.data)[: self._slot.bytes] + bytes(str(self.extent), "ascii")

    @property
    def pcm(self) -> np.ndarray:
        """The captured audio, decoded, int16[n]."""
        return adpcm_decode(bytes(self._slot.data)[: self._slot.bytes])[: self._slot.sample_count]

    def hear(self, seconds: float) -> int:
        """Hear steps of sound; return how many clips were given up."""
        steps = round(seconds * RATE / STEP)
        self.heard += steps * STEP
        return int(self._library.hear(ctypes.byref(self._slot), self._ring, steps))

    def claim(self, event_id: bytes, is_safety: bool, is_wanted: bool) -> tuple[int, int]:
        """Claim for an event that triggers now; return status and number of events displaced."""
        displaced = ctypes.c_uint8(99)
        status = self._library.hk_clip_slot_claim(
            ctypes.byref(self._slot),
            event_id,
            ctypes.c_uint64(self.heard),
            is_safety,
            is_wanted,
            ctypes.byref(displaced),
        )
        return status, displaced.value

    def ask(self, event_id: bytes) -> int:
        """An owner asks for a clip around now; return the status."""
        return int(self._library.hk_clip_slot_ask(ctypes.byref(self._slot), event_id, ctypes.c_uint64(self.heard)))

    def read(self, offset: int, count: int) -> bytes:
        """What a sender gets of the clip on its way."""
        out = (ctypes.c_uint8 * count)(*[7] * count)
        self._library.hk_clip_slot_read(ctypes.byref(self._slot), ctypes.c_size_t(offset), out, ctypes.c_size_t(count))
        return bytes(out)

    def next(self) -> bytes | None:
        owner = self._library.hk_clip_slot_next_to_send(ctypes.byref(self._slot))
        return bytes(owner.contents.event_id) if owner else None

    def call(self, verb: str, *arguments: bytes) -> int:
        return int(getattr(self._library, f"hk_clip_slot_{verb}")(ctypes.byref(self._slot), *arguments))


@pytest.fixture
def slot(library: ctypes.CDLL) -> Slot:
    return Slot(library)


def test_a_wanted_clip_is_ready_two_seconds_after_its_trigger(slot: Slot) -> None:
    assert slot.claim(FIRST, True, True) == (0, 0)
    slot.hear(1.98)
    assert slot.states == {FIRST: CAPTURING}
    slot.hear(0.02)
    assert slot.states == {FIRST: READY}


def test_a_clip_on_request_is_held_until_it_is_asked_for(slot: Slot) -> None:
    slot.claim(FIRST, False, False)
    slot.hear(2.0)
    assert slot.states == {FIRST: HELD}
    assert slot.next() is None
    assert slot.call("request", SECOND) == NOT_FOUND
    assert slot.call("request", FIRST) == 0
    assert slot.states == {FIRST: READY}
    assert slot.next() == FIRST


def test_asking_before_the_capture_takes_effect_at_the_capture(slot: Slot) -> None:
    slot.claim(FIRST, False, False)
    slot.call("request", FIRST)
    assert slot.states == {FIRST: CAPTURING}
    slot.hear(2.0)
    assert slot.states == {FIRST: READY}


def test_a_verdict_before_the_capture_takes_effect_at_the_capture(slot: Slot) -> None:
    slot.claim(FIRST, False, False)
    slot.call("settle", FIRST)
    assert slot.states == {FIRST: CAPTURING}
    assert slot.hear(2.0) == 0
    assert slot.states == {}


def test_a_verdict_does_not_take_a_clip_that_is_wanted(slot: Slot) -> None:
    slot.claim(FIRST, True, True)
    slot.hear(2.0)
    slot.call("settle", FIRST)
    assert slot.states == {FIRST: READY}
    slot.call("discard", FIRST)
    assert slot.states == {}


def test_an_event_that_triggers_while_the_window_is_heard_shares_the_audio(slot: Slot, library: ctypes.CDLL) -> None:
    slot.claim(FIRST, False, True)
    trigger = slot.heard
    slot.hear(0.9)
    assert slot.claim(SECOND, False, False) == (0, 0)
    slot.hear(1.1)
    assert slot.states == {FIRST: READY, SECOND: HELD}
    assert [owner.trigger_sample for owner in slot.owners.values()] == [trigger, trigger + 0.9 * RATE]
    start, end = slot.extent
    assert trigger - 2 * RATE - 504 <= start <= trigger - 2 * RATE
    assert end == trigger + 2 * RATE
    original = np.array([library.sound(ctypes.c_uint64(sample)) for sample in range(start, end)], float)
    assert np.abs(slot.pcm - original).mean() < 200


def test_an_event_that_triggers_as_the_window_ends_shares_it_and_the_next_one_does_not(slot: Slot) -> None:
    slot.claim(FIRST, False, True)
    slot.hear(1.98)
    # A trigger's own step has been heard when it claims, the slot learns of the step only after it.
    slot._library.hk_clip_ring_push(slot._ring, (ctypes.c_int16 * STEP)(), ctypes.c_size_t(STEP))
    slot.heard += STEP
    assert slot.claim(SECOND, False, False) == (0, 0)
    slot._library.hk_clip_slot_update(ctypes.byref(slot._slot), slot._ring, ctypes.c_uint64(slot.heard))
    assert slot.states == {FIRST: READY, SECOND: HELD}
    assert slot.owners[SECOND].trigger_sample == slot.extent[1]
    assert slot.claim(THIRD, False, False) == (FULL, 0)


def test_the_first_safety_event_to_join_moves_the_window_and_no_event_loses_its_clip(slot: Slot) -> None:
    slot.claim(FIRST, False, True)
    first = slot.heard
    slot.hear(1.9)
    assert slot.claim(SECOND, True, True) == (0, 0)
    safety = slot.heard
    slot.hear(1.0)
    assert slot.claim(THIRD, True, True) == (0, 0), "the window is now the safety event's"
    slot.hear(0.98)
    assert set(slot.states.values()) == {CAPTURING}
    slot.hear(0.02)
    assert slot.states == {FIRST: READY, SECOND: READY, THIRD: READY}
    start, end = slot.extent
    assert end == safety + 2 * RATE, "a second safety event does not move it again"
    assert start <= first


def test_a_full_house_makes_room_for_safety_only(slot: Slot) -> None:
    for event_id in (FIRST, SECOND, THIRD, FOURTH):
        assert slot.claim(event_id, False, True) == (0, 0)
        slot.hear(0.1)
    assert slot.claim(FIFTH, False, True) == (FULL, 0)
    assert slot.claim(FIFTH, True, True) == (0, 1)
    assert set(slot.states) == {SECOND, THIRD, FOURTH, FIFTH}


def test_four_safety_events_keep_their_places(slot: Slot) -> None:
    for event_id in (FIRST, SECOND, THIRD, FOURTH):
        slot.claim(event_id, True, True)
    assert slot.claim(FIFTH, True, True) == (FULL, 0)


@pytest.mark.parametrize(
    ("held_is_safety", "new_is_safety", "expected"),
    [
        (False, True, (0, 2)),
        (False, False, (FULL, 0)),
        (True, True, (FULL, 0)),
        (True, False, (FULL, 0)),
    ],
)
def test_after_the_capture_only_safety_takes_the_slot_and_only_from_what_is_not(
    slot: Slot, held_is_safety: bool, new_is_safety: bool, expected: tuple[int, int]
) -> None:
    slot.claim(FIRST, held_is_safety, False)
    slot.claim(SECOND, False, False)
    slot.hear(2.0)
    assert slot.claim(THIRD, new_is_safety, True) == expected


def test_audio_on_its_way_is_never_displaced(slot: Slot) -> None:
    slot.claim(FIRST, False, True)
    slot.claim(SECOND, False, False)
    slot.hear(2.0)
    slot.call("mark_sending", FIRST)
    assert slot.claim(THIRD, True, True) == (FULL, 0)
    slot.call("mark_sent")
    assert slot.claim(THIRD, True, True) == (FULL, 0)
    slot.call("receipt", FIRST)
    assert slot.claim(THIRD, True, True) == (0, 1)


def test_a_clip_that_was_asked_for_is_captured_and_sent_like_any_other(slot: Slot) -> None:
    assert slot.ask(FIRST) == 0
    slot.hear(2.0)
    assert slot.states == {FIRST: READY}
    assert slot.call("mark_sending", FIRST) == 0
    assert slot.read(0, 256) == slot.audio[:256]
    slot.call("mark_sent")
    slot.call("receipt", FIRST)
    assert slot.states == {}


@pytest.mark.parametrize("is_safety", [False, True])
def test_a_clip_that_is_asked_for_takes_no_event_s_place(slot: Slot, is_safety: bool) -> None:
    slot.claim(FIRST, is_safety, True)
    assert slot.ask(SECOND) == FULL, "an event's window begins before it was asked for"
    slot.hear(2.0)
    assert slot.ask(SECOND) == FULL
    slot.call("receipt", FIRST)
    assert slot.ask(SECOND) == 0


@pytest.mark.parametrize("is_safety", [False, True])
@pytest.mark.parametrize("stage", ["ready", "sending", "sent"])
def test_any_event_takes_the_slot_from_a_clip_that_was_asked_for(slot: Slot, is_safety: bool, stage: str) -> None:
    slot.ask(FIRST)
    slot.hear(2.0)
    if stage != "ready":
        slot.call("mark_sending", FIRST)
    if stage == "sent":
        slot.call("mark_sent")
    assert slot.claim(SECOND, is_safety, True) == (0, 0)
    trigger = slot.heard
    slot.hear(2.0)
    assert slot.owners[SECOND].state == READY
    assert slot.extent[1] == trigger + 2 * RATE, "its capture waits for nothing"
    if stage == "sending":
        assert slot.next() is None
        assert slot.read(512, 256) == bytes(256), "nobody gets the event's sound under another name"
        slot.call("mark_sent")
    assert slot.states == {SECOND: READY}
    assert slot.next() == SECOND


def test_events_share_the_window_of_a_clip_that_was_asked_for_and_go_first(slot: Slot) -> None:
    slot.ask(FIRST)
    slot.hear(0.5)
    assert slot.claim(SECOND, False, True) == (0, 0)
    trigger = slot.heard
    slot.hear(2.0)
    assert slot.states == {FIRST: READY, SECOND: READY}
    assert slot.extent[1] == trigger + 2 * RATE
    assert slot.next() == SECOND


def test_in_a_full_house_what_was_asked_for_makes_room_first(slot: Slot) -> None:
    slot.ask(FIRST)
    for event_id in (SECOND, THIRD, FOURTH, FIFTH):
        assert slot.claim(event_id, False, True) == (0, 0)
    assert set(slot.states) == {SECOND, THIRD, FOURTH, FIFTH}


def test_safety_owners_are_sent_first_and_one_at_a_time(slot: Slot) -> None:
    slot.claim(FIRST, False, True)
    slot.hear(0.5)
    slot.claim(SECOND, False, True)
    slot.hear(0.5)
    slot.claim(THIRD, True, True)
    slot.hear(2.0)
    order = []
    while (event_id := slot.next()) is not None:
        order.append(event_id)
        assert slot.call("mark_sending", event_id) == 0
        assert slot.next() is None
        assert all(slot.call("mark_sending", other) == WRONG_STATE for other in (FIRST, SECOND, THIRD))
        assert not slot.call("is_awaiting_receipt")
        slot.call("mark_sent")
    assert order == [THIRD, FIRST, SECOND]
    assert slot.call("is_awaiting_receipt")


def test_each_owner_ends_on_its_own(slot: Slot) -> None:
    for event_id in (FIRST, SECOND, THIRD, FOURTH):
        slot.claim(event_id, False, event_id == FIRST)
    slot.hear(2.0)
    assert slot.call("pending") == 4
    slot.call("mark_sending", FIRST)
    slot.call("mark_sent")
    slot.call("receipt", FIRST)
    assert slot.states == {SECOND: HELD, THIRD: HELD, FOURTH: HELD}
    slot.call("settle", SECOND)
    slot.call("discard", THIRD)
    assert slot.states == {FOURTH: HELD}
    assert slot.call("pending") == 1
    assert slot.claim(FIFTH, False, False) == (FULL, 0)
    slot.call("settle", FOURTH)
    assert slot.claim(FIFTH, False, False) == (0, 0)


def test_a_receipt_while_sending_takes_effect_when_it_has_ended(slot: Slot) -> None:
    slot.claim(FIRST, True, True)
    slot.hear(2.0)
    slot.call("mark_sending", FIRST)
    slot.call("receipt", FIRST)
    assert slot.states == {FIRST: SENDING}
    slot.call("mark_sent")
    assert slot.states == {}


def test_a_lost_connection_makes_all_that_has_no_receipt_ready_again(slot: Slot) -> None:
    slot.claim(FIRST, True, True)
    slot.claim(SECOND, True, True)
    slot.hear(2.0)
    for _ in range(2):
        slot.call("mark_sending", FIRST)
        slot.call("mark_sent")
        slot.call("mark_sending", SECOND)
        assert slot.states == {FIRST: SENT, SECOND: SENDING}
        slot.call("disconnected")
        assert slot.states == {FIRST: READY, SECOND: READY}


def test_an_overdue_receipt_does_not_disturb_what_is_being_read(slot: Slot) -> None:
    slot.claim(FIRST, True, True)
    slot.claim(SECOND, True, True)
    slot.hear(2.0)
    slot.call("mark_sending", FIRST)
    slot.call("mark_sent")
    slot.call("mark_sending", SECOND)
    slot.call("send_again")
    assert slot.states == {FIRST: READY, SECOND: SENDING}


def test_held_clips_that_nobody_wants_are_given_up_a_minute_after_their_triggers(slot: Slot) -> None:
    slot.claim(FIRST, False, False)
    slot.hear(1.0)
    slot.claim(SECOND, False, False)
    assert slot.hear(58.98) == 0
    assert slot.states == {FIRST: HELD, SECOND: HELD}
    assert slot.hear(0.02) == 1
    assert slot.states == {SECOND: HELD}
    assert slot.hear(1.0) == 1
    assert slot.states == {}


def test_a_clip_sent_three_times_in_vain_is_given_up(slot: Slot) -> None:
    slot.claim(FIRST, True, True)
    slot.hear(2.0)
    for attempt in range(3):
        slot.call("mark_sending", FIRST)
        slot.call("mark_sent")
        if attempt < 2:
            slot.call("send_again")
    assert slot.hear(58.0) == 1
    assert slot.states == {}


# --- Whatever happens, in whatever order ---

_TURN = st.tuples(
    st.sampled_from([0.1, 0.7, 1.3, 2.0]),
    st.sampled_from(["ask", "send asked", "mark_sent", "disconnected", "claim", "claim for safety", "nothing"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_TURN, min_size=3, max_size=20))
def test_no_clip_that_is_asked_for_costs_an_event_its_own(library: ctypes.CDLL, turns: list[tuple[float, str]]) -> None:
    with_wishes, without = Slot(library), Slot(library)
    asked: set[bytes] = set()
    for number, (seconds, verb) in enumerate(turns):
        event_id = number.to_bytes(16, "big")
        if verb.startswith("claim"):
            is_safety = verb.endswith("safety")
            assert with_wishes.claim(event_id, is_safety, True) == without.claim(event_id, is_safety, True)
        elif verb == "ask":
            asked.add(event_id)
            with_wishes.ask(event_id)
        elif verb == "send asked":
            if (first := with_wishes.next()) in asked:
                with_wishes.call("mark_sending", first)
        elif verb != "nothing":
            with_wishes.call(verb)  # of the clip that was asked for: nothing else is ever sent here
        with_wishes.hear(seconds)
        without.hear(seconds)
        events = {each: state for each, state in with_wishes.states.items() if each not in asked}
        assert events == without.states
        if READY in events.values():
            assert with_wishes.extent == without.extent


_SECONDS = st.sampled_from([0.02, 0.1, 0.5, 0.98, 2.0, 4.0, 31.0])
_WHOSE = st.integers(0, 11)  # of the events so far, the last one is 0
_CLAIM = st.tuples(st.just("claim"), st.booleans(), st.booleans())
_CALL = st.tuples(st.sampled_from(["request", "settle", "discard", "receipt"]), _WHOSE)
_SEND = st.sampled_from([("send",), ("mark_sent",), ("disconnected",), ("send_again",)])
_HEAR = st.tuples(st.just("hear"), _SECONDS)
_HISTORY = st.lists(st.one_of(_CLAIM, _CALL, _SEND, _HEAR), max_size=60)


class Witness:
    """Does one thing after the other to a slot and says what must not have happened."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.claimed: list[bytes] = []

    def do(self, action: tuple) -> None:
        before, audio = self.slot.owners, self.slot.audio
        verb, *arguments = action
        may_go: set[bytes] = set()
        count: int | None = None
        if verb == "claim":
            may_go, count = self._claim(*arguments)
        elif verb == "hear":
            count = self.slot.hear(*arguments)
            unwanted = {i for i, one in before.items() if one.state == CAPTURING and one.is_unwanted}
            count += len(unwanted - set(self.slot.owners))
            may_go = {i for i, one in before.items() if one.state in (CAPTURING, HELD, SENT)}
        elif verb == "send":
            event_id = self.slot.next()
            assert event_id is None or self.slot.call("mark_sending", event_id) == 0
        elif verb in ("mark_sent", "disconnected", "send_again"):
            self.slot.call(verb)
            may_go = {i for i, one in before.items() if one.is_unwanted}
        elif self.claimed:
            event_id = self.claimed[-1 - arguments[0] % len(self.claimed)]
            assert self.slot.call(verb, event_id) == (0 if event_id in before else NOT_FOUND)
            may_go = {event_id} if event_id in before and before[event_id].state not in (CAPTURING, SENDING) else set()
        gone = set(before) - set(self.slot.owners)
        assert gone <= may_go, f"{action}: an owner was lost"
        assert count is None or len(gone) == count, f"{action}: an owner was lost without being counted"
        if any(one.state == SENDING for one in before.values()):
            assert self.slot.audio == audio, f"{action}: the audio changed while it was being read"
        self._check_the_slot()

    def _claim(self, is_safety: bool, is_wanted: bool) -> tuple[set[bytes], int]:
        before = self.slot.owners
        event_id = len(self.claimed).to_bytes(16, "big")
        self.claimed.append(event_id)
        status, displaced = self.slot.claim(event_id, is_safety, is_wanted)
        assert (status, event_id in self.slot.owners) in ((0, True), (FULL, False))
        assert displaced == 0 or is_safety
        if status == FULL:
            assert displaced == 0
            assert self.slot.states == {i: one.state for i, one in before.items()}
        return {i for i, one in before.items() if not one.is_safety and one.state not in (SENDING, SENT)}, displaced

    def _check_the_slot(self) -> None:
        owners = list(self.slot.owners.values())
        states = [owner.state for owner in owners]
        assert states.count(SENDING) <= 1
        assert CAPTURING not in states or set(states) == {CAPTURING}, "all share one window"
        assert self.slot.call("pending") == sum(state != CAPTURING for state in states)
        around = self.slot.window_trigger_sample
        start, end = (around - 2 * RATE, around + 2 * RATE) if CAPTURING in states else self.slot.extent
        assert all(start <= owner.trigger_sample <= end for owner in owners), "every trigger lies in its clip"
        if CAPTURING not in states and owners:
            assert end == around + 2 * RATE
            assert end - start >= 4 * RATE
        if CAPTURING in states and any(owner.is_safety for owner in owners):
            assert around == min(owner.trigger_sample for owner in owners if owner.is_safety)


@settings(max_examples=150, deadline=None)
@given(_HISTORY)
def test_no_owner_is_lost_and_audio_being_read_never_changes(library: ctypes.CDLL, history: list[tuple]) -> None:
    witness = Witness(Slot(library))
    for action in history:
        witness.do(action)


@settings(max_examples=100, deadline=None)
@given(_HISTORY)
def test_every_owner_ends_even_with_a_cloud_that_never_answers(library: ctypes.CDLL, history: list[tuple]) -> None:
    witness = Witness(Slot(library))
    for action in history:
        witness.do(action)
    witness.do(("mark_sent",))
    witness.do(("hear", 64.0))
    for _ in range(3):
        witness.do(("send_again",))
        while witness.slot.next() is not None:
            witness.do(("send",))
            witness.do(("mark_sent",))
    witness.do(("hear", 0.02))
    assert witness.slot.states == {}
    assert witness.slot.claim(b"x" * 16, False, False) == (0, 0)


_TRIGGER = st.tuples(st.sampled_from([0.0, 0.02, 0.3, 0.7]), st.booleans(), st.booleans())


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(_TRIGGER, st.lists(_CALL, max_size=3)), min_size=1, max_size=8))
def test_who_shares_the_window_does_not_depend_on_what_the_cloud_says_meanwhile(
    library: ctypes.CDLL, history: list[tuple]
) -> None:
    heard_by_itself, spoken_to = Witness(Slot(library)), Witness(Slot(library))
    for (pause_s, is_safety, is_wanted), calls in history:
        for witness in (heard_by_itself, spoken_to):
            witness.do(("hear", pause_s))
            if witness.claimed and CAPTURING not in witness.slot.states.values():
                break  # what comes after the capture does depend on the cloud
            witness.do(("claim", is_safety, is_wanted))
        else:
            for call in calls:
                spoken_to.do(call)
            assert set(spoken_to.slot.states) == set(heard_by_itself.slot.states)
            assert spoken_to.slot.window_trigger_sample == heard_by_itself.slot.window_trigger_sample
            continue
        break
    for witness in (heard_by_itself, spoken_to):
        witness.do(("hear", 4.0))
    assert spoken_to.slot.audio == heard_by_itself.slot.audio
