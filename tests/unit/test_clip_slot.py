"""The one clip that a device keeps: who gets it, what becomes of it."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edge import build_core

EMPTY, CAPTURING, HELD, READY, SENDING, SENT = range(6)
FULL, NOT_FOUND = -11, -12
RATE = 16000
FIRST, SECOND = bytes(16), bytes(range(16))

CORE = Path(build_core.__file__).parent / "core"
SIZES = """
#include "hk_clip_slot.h"
size_t slot_bytes(void) { return sizeof(hk_clip_slot_t); }
size_t ring_bytes(void) { return sizeof(hk_clip_ring_t); }
int slot_state(const hk_clip_slot_t *slot) { return (int)slot->state; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("clip_slot")
    generated = build_core.build_root() / "gen"
    build_core.generate(generated)
    (folder / "sizes.c").write_text(SIZES)
    sources = [folder / "sizes.c", *(CORE / "src" / f"hk_{name}.c" for name in ("clip_slot", "clip_ring", "adpcm"))]
    command = ["cc", "-std=c11", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC"]
    command += [f"-I{CORE / 'include'}", f"-I{generated}", *map(str, sources), "-o", str(folder / "slot.so")]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(folder / "slot.so"))


class Slot:
    """A slot beside the ring that it cuts from."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._slot = (ctypes.c_uint64 * (library.slot_bytes() // 8 + 1))()
        self._ring = (ctypes.c_uint64 * (library.ring_bytes() // 8 + 1))()
        self.heard = 0
        library.hk_clip_slot_init(self._slot)
        library.hk_clip_ring_init(self._ring)

    @property
    def state(self) -> int:
        return self._library.slot_state(self._slot)

    def hear(self, seconds: float) -> int:
        """Hear steps of quiet sound; return how many clips were given up."""
        step = np.full(320, 7, np.int16)
        given_up = 0
        for _ in range(round(seconds * 50)):
            self._library.hk_clip_ring_push(self._ring, step.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(320))
            self.heard += 320
            given_up += self._library.hk_clip_slot_update(self._slot, self._ring, ctypes.c_uint64(self.heard))
        return given_up

    def claim(self, event_id: bytes, is_safety: bool, is_wanted: bool) -> tuple[int, bool]:
        displaced = ctypes.c_bool()
        status = self._library.hk_clip_slot_claim(
            self._slot, event_id, ctypes.c_uint64(self.heard), is_safety, is_wanted, ctypes.byref(displaced)
        )
        return status, displaced.value

    def call(self, verb: str, *arguments: bytes) -> int:
        return getattr(self._library, f"hk_clip_slot_{verb}")(self._slot, *arguments)


@pytest.fixture
def slot(library: ctypes.CDLL) -> Slot:
    made = Slot(library)
    made.hear(3.0)
    return made


def test_a_wanted_clip_is_ready_two_seconds_after_its_trigger(slot: Slot) -> None:
    assert slot.claim(FIRST, True, True) == (0, False)
    slot.hear(1.98)
    assert slot.state == CAPTURING
    slot.hear(0.02)
    assert slot.state == READY


def test_a_clip_on_request_is_held_until_it_is_asked_for(slot: Slot) -> None:
    slot.claim(FIRST, False, False)
    slot.hear(2.0)
    assert slot.state == HELD
    assert slot.call("request", SECOND) == NOT_FOUND
    assert slot.call("request", FIRST) == 0
    assert slot.state == READY


def test_asking_before_the_capture_takes_effect_at_the_capture(slot: Slot) -> None:
    slot.claim(FIRST, False, False)
    slot.call("request", FIRST)
    assert slot.state == CAPTURING
    slot.hear(2.0)
    assert slot.state == READY


def test_a_verdict_before_the_capture_does_not_free_the_slot_early(slot: Slot) -> None:
    slot.claim(FIRST, False, False)
    slot.call("settle", FIRST)
    assert slot.claim(SECOND, False, False)[0] == FULL
    slot.hear(2.0)
    assert slot.state == EMPTY


def test_a_verdict_does_not_take_a_clip_that_is_wanted(slot: Slot) -> None:
    slot.claim(FIRST, True, True)
    slot.hear(2.0)
    slot.call("settle", FIRST)
    assert slot.state == READY
    slot.call("discard", FIRST)
    assert slot.state == EMPTY


@pytest.mark.parametrize(
    ("held_is_safety", "new_is_safety", "expected"),
    [
        (False, True, (0, True)),
        (False, False, (FULL, False)),
        (True, True, (FULL, False)),
        (True, False, (FULL, False)),
    ],
)
def test_only_safety_takes_the_slot_and_only_from_what_is_not(
    slot: Slot, held_is_safety: bool, new_is_safety: bool, expected: tuple[int, bool]
) -> None:
    slot.claim(FIRST, held_is_safety, False)
    slot.hear(2.0)
    assert slot.claim(SECOND, new_is_safety, True) == expected


def test_a_clip_on_its_way_is_never_displaced(slot: Slot) -> None:
    slot.claim(FIRST, False, True)
    slot.hear(2.0)
    slot.call("mark_sending")
    assert slot.claim(SECOND, True, True)[0] == FULL
    slot.call("mark_sent")
    assert slot.claim(SECOND, True, True)[0] == FULL
    slot.call("receipt", FIRST)
    assert slot.claim(SECOND, True, True) == (0, False)


def test_a_receipt_while_sending_takes_effect_when_it_has_ended(slot: Slot) -> None:
    slot.claim(FIRST, True, True)
    slot.hear(2.0)
    slot.call("mark_sending")
    slot.call("receipt", FIRST)
    assert slot.state == SENDING
    slot.call("mark_sent")
    assert slot.state == EMPTY


def test_a_lost_connection_makes_a_sent_clip_ready_again(slot: Slot) -> None:
    slot.claim(FIRST, True, True)
    slot.hear(2.0)
    for _ in range(2):
        slot.call("mark_sending")
        slot.call("mark_sent")
        assert slot.state == SENT
        slot.call("send_again")
        assert slot.state == READY


def test_a_held_clip_that_nobody_wants_is_given_up_after_a_minute(slot: Slot) -> None:
    slot.claim(FIRST, False, False)
    assert slot.hear(59.9) == 0
    assert slot.state == HELD
    assert slot.hear(0.2) == 1
    assert slot.state == EMPTY


def test_a_clip_sent_three_times_in_vain_is_given_up(slot: Slot) -> None:
    slot.claim(FIRST, True, True)
    slot.hear(2.0)
    for attempt in range(3):
        slot.call("mark_sending")
        slot.call("mark_sent")
        if attempt < 2:
            slot.call("send_again")
    assert slot.hear(58.1) == 1
    assert slot.state == EMPTY
