"""The window's search in C, against the same in numpy."""

import numpy as np
import pytest

from edge.errors import HarkenError
from edge.media_window import WORDS_MAX, Budget, Sound, Table, compare


def sound(seed: int, words: int = 100) -> Sound:
    rng = np.random.default_rng(seed)
    return Sound.of(rng.integers(0, 2**32, words, np.uint32), rng.integers(0, 2**32, words, np.uint32))


def with_errors(original: Sound, share: float, seed: int, skipped: int = 0) -> Sound:
    """The same words from `skipped` on, some of their bits wrong."""
    rng = np.random.default_rng(seed)
    wrong = (rng.random((len(original.words), 32)) < share) @ (1 << np.arange(32, dtype=np.uint64))
    return Sound.of((original.words ^ wrong.astype(np.uint32))[skipped:], original.masks[skipped:])


def ones(words: np.ndarray) -> int:
    return int(np.unpackbits(np.ascontiguousarray(words).view(np.uint8)).sum())


@pytest.mark.parametrize("offset", [-60, -1, 0, 7, 80])
def test_the_bits_on_which_both_rely_are_counted(offset):
    one, other = sound(1), sound(2, 120)
    first, end = max(0, -offset), min(100, 120 - offset)
    other.words[first + offset : end + offset] = with_errors(one, 0.3, 5).words[first:end]
    found = compare(one, other, first=offset, last=offset, min_bits=1)
    masks = one.masks[first:end] & other.masks[first + offset : end + offset]
    agreeing = ~(one.words[first:end] ^ other.words[first + offset : end + offset]) & masks
    assert (found.offset, found.bits_compared, found.bits_agreeing) == (offset, ones(masks), ones(agreeing))
    assert found.words == np.count_nonzero(masks)
    blocks = range(0, end - first, 25)
    rests = [
        (ones(np.delete(masks, slice(at, at + 25))), ones(np.delete(agreeing, slice(at, at + 25)))) for at in blocks
    ]
    least = min(rests, key=lambda rest: (2 * rest[1] - rest[0]) * abs(2 * rest[1] - rest[0]) / max(1, rest[0]))
    if found.z > found.rest_z:
        assert (found.rest_compared, found.rest_agreeing) == least


def test_a_sound_is_found_among_thousands_at_its_place():
    table = Table(4096)
    for number in range(1, 3000):
        table.add(number, sound(number))
    best, *_ = table.find(with_errors(sound(1234), 0.1, 9, skipped=13))
    assert (best.number, best.offset) == (1234, 13)
    assert best.bit_error_rate == pytest.approx(0.1, abs=0.03)


def test_what_is_too_old_or_one_s_own_is_left_out():
    table = Table(64)
    for number in range(1, 50):
        table.add(number, sound(7))
    found = {each.number for each in table.find(sound(7), own=49, oldest=45)}
    assert found <= {45, 46, 47, 48}
    assert found


def test_a_bucket_that_is_full_holds_the_newest():
    table = Table(4096)
    for number in range(1, 2001):
        table.add(number, sound(7))
    assert {each.number for each in table.find(sound(7))} == set(range(1985, 2001))


def test_samples_of_one_shift_meet():
    table = Table(64)
    table.add(1, sound(7), sample_shift=2)
    assert [each.number for each in table.find(sound(7), sample_shift=2)] == [1]
    assert table.find(sound(7), sample_shift=20) == []


@pytest.mark.parametrize(("words", "masks"), [([], []), ([1, 2], [1]), ([[1]], [[1]])])
def test_what_is_no_sound_is_refused(words, masks):
    with pytest.raises(HarkenError, match="give one mask a word"):
        Sound.of(words, masks)


def test_numbers_begin_at_one_and_only_the_last_words_are_taken():
    with pytest.raises(HarkenError, match="cannot be kept"):
        Table(16).add(0, sound(1))
    assert len(Sound.of(np.ones(400), np.ones(400)).words) == WORDS_MAX


def test_a_search_keeps_to_its_budget():
    table = Table(4096)
    for number in range(1, 300):
        table.add(number, with_errors(sound(7), 0.02, number))
    assert len(table.find(sound(7), budget=Budget(candidates=4))) <= 4
