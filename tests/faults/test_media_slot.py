"""A device's set of known media arrives in pieces: in any order, twice, damaged, too old, and with a power cut."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edge import media_set
from edge.contracts import limits, messages
from tests.core_driver import CoreDriver, CoreError, unhex
from tools import media_push

POWER = 10**9
OLDER, PROTOCOL, FORMAT, VERSION, CRC, TOO_LARGE, MISMATCH = -18, -16, -5, -6, -4, -7, -17


def made(version: int, clips: int = 32) -> media_set.MediaSet:
    rng = np.random.default_rng(version)
    words = rng.integers(0, 2**32, (clips, 2, limits.MEDIA_CLIP_WORDS_MAX), dtype=np.uint32)
    return media_set.make([media_set.Clip(f"{n:016x}", tuple(each)) for n, each in enumerate(words)], version)


OLD, NEW = made(5), made(6)


class Slot:
    """The device's, over flash that may lose its power."""

    def __init__(self, core: CoreDriver) -> None:
        self._core = core
        self.start(is_flash_new=True)

    def start(self, power: int = POWER, is_flash_new: bool = False) -> int:
        (version,) = self._core.ask("media_start", is_flash_new, power)
        return int(version)

    def take(self, piece: messages.MediaPiece) -> tuple[bool, int]:
        _, is_whole, version = self._core.ask("media_take", messages.encode(piece))
        return is_whole == "1", int(version)

    def take_all(self, pieces: list[messages.MediaPiece]) -> int:
        return max(self.take(piece)[1] for piece in pieces)


@pytest.fixture
def slot(core: CoreDriver) -> Slot:
    return Slot(core)


@pytest.mark.parametrize("length", [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000])
def test_the_hash_is_sha_256(core: CoreDriver, length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    for piece in (1, 64, 2000):
        assert unhex(core.ask("sha256", data, piece)[0]) == hashlib.sha256(data).digest()


def test_a_set_in_any_order_and_twice_takes_effect_when_it_is_whole(slot: Slot) -> None:
    pieces = media_push.pieces(NEW)
    order = [*np.random.default_rng(1).permutation(len(pieces)).tolist()]
    for n in order[:-1]:
        assert slot.take(pieces[n]) == (False, 0)
        assert slot.take(pieces[n]) == (False, 0)
    assert slot.take(pieces[order[-1]]) == (True, 6)
    assert slot.take_all(pieces) == 6
    assert slot.start() == 6


def test_two_sets_that_arrive_mixed_end_with_the_newer(slot: Slot) -> None:
    old, new = media_push.pieces(OLD), media_push.pieces(NEW)
    slot.take(old[0])
    for late, piece in zip(old[1:], new, strict=False):
        slot.take(piece)
        with pytest.raises(CoreError) as error:
            slot.take(late)
        assert error.value.code == OLDER
    assert slot.take(new[-1])[1] == 6


def test_a_power_cut_at_any_write_leaves_a_whole_set(slot: Slot) -> None:
    slot.take_all(media_push.pieces(OLD))
    after = made(7)
    total = limits.MEDIA_SET_MAX_BYTES + len(after.blob)
    for power in [0, 1, limits.MEDIA_SET_MAX_BYTES - 1, *range(limits.MEDIA_SET_MAX_BYTES, total, 97), total - 1]:
        assert slot.start(power) == 5
        with pytest.raises(CoreError):
            slot.take_all(media_push.pieces(after))
        assert slot.start() == 5
    slot.take_all(media_push.pieces(after))
    assert slot.start() == 7


def refused(slot: Slot, blob: bytes, *, total: int | None = None) -> int:
    """Send a blob as if it were a set of version 9, and return why it is refused."""
    wrong = media_set.MediaSet(blob, 9, ())
    pieces = media_push.pieces(wrong)
    if total is not None:
        pieces = [messages.MediaPiece(pieces[0].data, 9, wrong.hash, 0, total)]
    with pytest.raises(CoreError) as error:
        slot.take_all(pieces)
    assert slot.take(media_push.pieces(OLD)[0]) == (False, 5)
    assert slot.start() == 5
    return error.value.code


def resealed(blob: bytes) -> bytes:
    return blob[:16] + hashlib.sha256(blob[:16] + blob[48:]).digest() + blob[48:]


def test_what_is_no_newer_set_is_refused_and_the_old_one_stays(slot: Slot) -> None:
    slot.take_all(media_push.pieces(OLD))
    good = made(9).blob
    flipped = bytearray(good)
    flipped[700] ^= 1
    assert refused(slot, bytes(flipped)) == CRC
    assert refused(slot, resealed(good[:4] + b"\2\0" + good[6:])) == VERSION
    assert refused(slot, resealed(b"HKHD" + good[4:])) == FORMAT
    assert refused(slot, resealed(good[:7] + b"\3" + good[8:])) == FORMAT
    assert refused(slot, resealed(good[:56] + b"\xff\xff" + good[58:])) == FORMAT
    assert refused(slot, made(8).blob) == MISMATCH
    assert refused(slot, good, total=limits.MEDIA_SET_MAX_BYTES + 1) == TOO_LARGE
    with pytest.raises(CoreError) as error:
        slot.take(messages.MediaPiece(good[:100], 9, bytes(8), 0, len(good)))
    assert error.value.code == PROTOCOL
    for older in (made(4), media_set.make([], 5)):
        with pytest.raises(CoreError) as error:
            slot.take(media_push.pieces(older)[0])
        assert error.value.code == OLDER


def test_an_empty_set_takes_the_known_media_away(slot: Slot) -> None:
    slot.take_all(media_push.pieces(OLD))
    assert slot.take(media_push.pieces(media_set.make([], 6))[0]) == (True, 6)
