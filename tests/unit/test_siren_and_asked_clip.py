"""The siren's causes and its end, and one clip that an owner asks for: in C, by samples heard."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest

from edge import build_core
from edge.contracts import limits

RATE = 16000
CORE = Path(build_core.__file__).parent / "core"
ASKED, OTHER = bytes([1]) * 16, bytes([2]) * 16
SOURCE = """
#include "hk_asked_clip.h"
#include "hk_siren.h"
size_t siren_bytes(void) { return sizeof(hk_siren_t); }
size_t asked_bytes(void) { return sizeof(hk_asked_clip_t); }
size_t slot_bytes(void) { return sizeof(hk_clip_slot_t); }
uint64_t slot_trigger(const hk_clip_slot_t *slot) { return slot->window_trigger_sample; }
bool is_siren_on(const hk_siren_t *siren) { return siren->is_on; }
bool is_waiting(const hk_asked_clip_t *asked) { return asked->is_waiting; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("commands")
    generated = build_core.build_root() / "gen"
    build_core.generate(generated)
    (folder / "sizes.c").write_text(SOURCE)
    names = ("siren", "asked_clip", "clip_slot", "clip_ring", "adpcm")
    sources = [folder / "sizes.c", *(CORE / "src" / f"hk_{name}.c" for name in names)]
    command = ["cc", "-std=c11", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-shared", "-fPIC"]
    command += [f"-I{CORE / 'include'}", f"-I{generated}", *map(str, sources), "-o", str(folder / "commands.so")]
    subprocess.run(command, check=True)
    library = ctypes.CDLL(str(folder / "commands.so"))
    for name in ("hk_siren_on", "hk_siren_is_sounding", "is_siren_on", "hk_asked_clip_take", "hk_asked_clip_is_shown"):
        getattr(library, name).restype = ctypes.c_bool
    library.is_waiting.restype = ctypes.c_bool
    library.slot_trigger.restype = ctypes.c_uint64
    return library


class Siren:
    """A siren at a time of its own, seconds heard."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._siren = (ctypes.c_uint64 * (library.siren_bytes() // 8 + 1))()
        self.now_s = 100.0
        library.hk_siren_init(self._siren)

    @property
    def _now(self) -> ctypes.c_uint64:
        return ctypes.c_uint64(round(self.now_s * RATE))

    def note(self, seq: int) -> None:
        self._library.hk_siren_note(self._siren, ctypes.c_uint32(seq), self._now)

    def on(self, seq: int) -> bool:
        return bool(self._library.hk_siren_on(self._siren, ctypes.c_uint32(seq), self._now))

    def off(self) -> None:
        self._library.hk_siren_off(self._siren)

    def hear(self, seconds: float) -> None:
        self.now_s += seconds
        self._library.hk_siren_heard(self._siren, self._now)

    @property
    def is_on(self) -> bool:
        return bool(self._library.is_siren_on(self._siren))

    @property
    def is_sounding(self) -> bool:
        return bool(self._library.hk_siren_is_sounding(self._siren, self._now))


@pytest.fixture
def siren(library: ctypes.CDLL) -> Siren:
    return Siren(library)


def test_the_siren_sounds_for_a_trigger_of_its_own_only(siren: Siren) -> None:
    assert not siren.on(3)
    siren.note(3)
    assert not siren.on(4)
    assert not siren.is_sounding
    assert siren.on(3)
    assert siren.is_sounding


def test_one_trigger_sounds_it_once_however_often_the_command_comes(siren: Siren) -> None:
    siren.note(3)
    siren.on(3)
    siren.off()
    assert not siren.on(3)
    assert not siren.is_on


def test_it_ends_by_itself_and_a_late_duplicate_does_not_prolong_it(siren: Siren) -> None:
    siren.note(3)
    siren.on(3)
    siren.hear(limits.SIREN_SECONDS - 1)
    assert not siren.on(3)
    assert siren.is_on
    siren.hear(1.0)
    assert not siren.is_on
    assert not siren.is_sounding
    assert not siren.on(3)


def test_a_cause_grows_old(siren: Siren) -> None:
    siren.note(3)
    siren.note(4)
    siren.hear(limits.SIREN_CAUSE_SECONDS - 0.02)
    assert siren.on(3)
    siren.hear(0.02)
    assert not siren.on(4)


def test_the_owner_s_word_ends_every_cause_so_far(siren: Siren) -> None:
    siren.note(3)
    siren.note(4)
    siren.on(3)
    siren.off()
    assert not siren.on(4)
    siren.note(5)
    assert siren.on(5)


def test_what_is_heard_beside_the_siren_is_no_cause_to_go_on(siren: Siren) -> None:
    siren.note(3)
    siren.on(3)
    siren.hear(21.0)  # its pause
    siren.note(4)
    assert not siren.on(4)
    siren.hear(limits.SIREN_SECONDS)
    siren.note(5)
    assert siren.on(5)


def test_a_second_confirmed_trigger_of_before_begins_it_anew(siren: Siren) -> None:
    siren.note(3)
    siren.note(4)
    siren.on(3)
    siren.hear(60.0)
    assert siren.on(4)
    siren.hear(limits.SIREN_SECONDS - 1)
    assert siren.is_on


def test_of_many_causes_the_latest_are_kept(siren: Siren) -> None:
    for seq in range(6):
        siren.note(seq)
    assert [siren.on(seq) for seq in range(6)] == [False, False, True, True, True, True]


def test_it_pauses_so_that_alarms_are_heard(siren: Siren) -> None:
    siren.note(3)
    siren.on(3)
    sounding = []
    for _ in range(limits.SIREN_SECONDS):
        sounding.append(siren.is_sounding)
        siren.hear(1.0)
    period = limits.SIREN_SOUNDS_SECONDS + limits.SIREN_PAUSES_SECONDS
    assert sounding == [second % period < limits.SIREN_SOUNDS_SECONDS for second in range(limits.SIREN_SECONDS)]


class Asked:
    """What was asked for, beside a clip slot."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._asked = (ctypes.c_uint64 * (library.asked_bytes() // 8 + 1))()
        self.slot = (ctypes.c_uint64 * (library.slot_bytes() // 8 + 1))()
        self.now_s = 5.0
        library.hk_asked_clip_init(self._asked)
        library.hk_clip_slot_init(self.slot)

    @property
    def _now(self) -> ctypes.c_uint64:
        return ctypes.c_uint64(round(self.now_s * RATE))

    def take(self, event_id: bytes) -> bool:
        return bool(self._library.hk_asked_clip_take(self._asked, event_id, self._now))

    def hear(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.now_s += 0.02
            self._library.hk_asked_clip_heard(self._asked, self.slot, self._now)

    def occupy(self) -> None:
        displaced = ctypes.c_uint8()
        self._library.hk_clip_slot_claim(self.slot, OTHER, self._now, True, True, ctypes.byref(displaced))

    def free(self) -> None:
        self._library.hk_clip_slot_init(self.slot)

    @property
    def claimed_s(self) -> float:
        """The moment around which the slot's window lies; 0 while nothing claimed it."""
        return float(self._library.slot_trigger(self.slot)) / RATE

    @property
    def is_shown(self) -> bool:
        return bool(self._library.hk_asked_clip_is_shown(self._asked, self._now))

    @property
    def is_waiting(self) -> bool:
        return bool(self._library.is_waiting(self._asked))


@pytest.fixture
def asked(library: ctypes.CDLL) -> Asked:
    return Asked(library)


def test_it_is_shown_before_anything_is_recorded_and_until_after(asked: Asked) -> None:
    assert not asked.is_shown
    assert asked.take(ASKED)
    assert asked.is_shown
    asked.hear(1.98)
    assert asked.claimed_s == 0.0
    asked.hear(0.02)
    assert asked.claimed_s == pytest.approx(7.0)  # its window begins two seconds before: when it was asked for
    asked.hear(3.98)
    assert asked.is_shown
    asked.hear(0.02)
    assert not asked.is_shown


def test_the_same_wish_twice_is_one_and_the_next_has_to_wait(asked: Asked) -> None:
    assert asked.take(ASKED)
    assert not asked.take(ASKED)
    asked.hear(limits.ASKED_CLIP_REST_SECONDS - 0.02)
    assert not asked.take(OTHER)
    asked.hear(0.02)
    assert not asked.take(ASKED)
    assert asked.take(OTHER)


def test_it_waits_for_the_slot_and_gives_up(asked: Asked) -> None:
    asked.occupy()
    asked.take(ASKED)
    asked.hear(9.98)
    assert asked.is_waiting
    assert asked.is_shown
    asked.hear(0.02)
    assert not asked.is_waiting
    asked.free()
    asked.hear(5.0)
    assert asked.claimed_s == 0.0
    assert not asked.is_shown


def test_a_slot_that_becomes_free_in_time_is_taken_and_shown_to_its_end(asked: Asked) -> None:
    asked.occupy()
    asked.take(ASKED)
    asked.hear(6.0)
    asked.free()
    asked.hear(0.02)
    assert asked.claimed_s == pytest.approx(11.02)
    asked.hear(3.96)
    assert asked.is_shown
    asked.hear(0.04)
    assert not asked.is_shown
