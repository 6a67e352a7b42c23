"""The store of fingerprints: what is kept through merges, removals, other processes, damage and full disks."""

import errno
import os
import signal
import time

import numpy as np
import pytest

from cloud.media import segment as segments
from cloud.media.segment import Recording, Segment
from cloud.media.store import MANIFEST, MERGED_AT_ONCE, Store
from edge import media_search
from edge.errors import HarkenError
from edge.media_search import Query


def recording(number: int, words: int = 60) -> Recording:
    rng = np.random.default_rng(number)
    rows = rng.integers(0, 2**32, (2, words), dtype=np.uint32)
    return Recording(
        number.to_bytes(8, "big"), {"title": f"Spot {number}", "seconds": words * 0.08}, tuple(rows), every_key(rows)
    )


def every_key(rows):
    return tuple(np.ones(len(row), bool) for row in rows)


def heard(of: Recording, first: int, count: int = 25, wrong: float = 0.1, seed: int = 0, phase: int = 0):
    """A stretch of a recording as a query of words 40 ms apart: some bits are wrong, and half of them masked."""
    rng = np.random.default_rng(seed)
    bits = np.repeat(of.words[phase][first : first + count], 2)
    flips = np.packbits(rng.random((len(bits), 32)) < wrong, axis=1).view(np.uint32)[:, 0]
    return bits ^ flips, rng.integers(0, 2**32, len(bits), dtype=np.uint32)


def ids(store: Store) -> set[str]:
    return {stored.media_id for stored in store.entries()}


def wanted(heard_words, min_bits: int = 100) -> Query:
    bits, reliable = heard_words
    return Query(bits, reliable, stride=2, min_bits=min_bits)


def search(store: Store, heard_words) -> list[str]:
    return [found.stored.media_id for found in store.search(wanted(heard_words))]


@pytest.mark.parametrize("phase", [0, 1])
def test_what_was_added_is_found_at_its_place_and_outlives_its_process(tmp_path, phase):
    Store(tmp_path).add([recording(1), recording(2)])
    store = Store(tmp_path)
    best = store.search(wanted(heard(recording(2), 20, phase=phase)))[0]
    assert best.stored.about["title"] == "Spot 2"
    assert (best.place.offset, best.phase) == (40, phase)
    assert best.place.z > 15
    assert len(store) == 2


def test_any_order_of_adding_and_removing_leaves_what_a_dictionary_would(tmp_path):
    store, reader = Store(tmp_path), Store(tmp_path)
    rng = np.random.default_rng(3)
    expected: dict[str, Recording] = {}
    for step in range(90):
        if expected and rng.random() < 0.3:
            gone = sorted(expected)[rng.integers(len(expected))]
            assert store.remove(bytes.fromhex(gone))
            del expected[gone]
        else:
            batch = [recording(int(number)) for number in rng.choice(40, rng.integers(1, 4), replace=False)]
            store.add(batch)
            expected |= {one.media_id.hex(): one for one in batch}
        if step % 10 == 9:
            assert ids(reader) == ids(Store(tmp_path)) == set(expected)
    for name, one in expected.items():
        assert search(reader, heard(one, 5))[0] == name
        stored, *others = reader.find(name)
        assert not others
        np.testing.assert_array_equal(stored.words, one.words)
    assert len(list(tmp_path.glob("*.segment"))) < 2 * MERGED_AT_ONCE


def test_a_removed_recording_is_found_no_more_and_removing_it_again_says_so(tmp_path):
    store = Store(tmp_path)
    store.add([recording(1), recording(2)])
    assert store.remove(recording(1).media_id)
    assert not store.remove(recording(1).media_id)
    assert recording(1).media_id.hex() not in search(store, heard(recording(1), 5))
    assert store.find("") == store.find(recording(2).media_id.hex())


def test_pages_list_every_recording_once_the_newest_first(tmp_path):
    store = Store(tmp_path)
    for number in range(MERGED_AT_ONCE + 2):  # a merged segment and two of one recording
        store.add([recording(number)])
    store.remove(recording(3).media_id)
    numbers = [number for number in reversed(range(MERGED_AT_ONCE + 2)) if number != 3]
    for size in (1, 4, 100):
        pages = [store.listed(start, size) for start in range(0, len(numbers), size)]
        assert [each.media_id for page in pages for each in page] == [recording(n).media_id.hex() for n in numbers]
    assert store.listed(len(numbers), 4) == []


def test_a_search_goes_on_while_another_process_merges(tmp_path):
    reader = Store(tmp_path)
    writer = Store(tmp_path)
    for number in range(MERGED_AT_ONCE - 1):
        writer.add([recording(number)])
    entries = list(reader.entries())
    writer.add([recording(99)])  # merges all
    assert {stored.media_id for stored in entries} < ids(reader)
    assert len(list(tmp_path.glob("*.segment"))) == 1


@pytest.mark.parametrize("place", ["header", "words", "cut off"])
def test_a_damaged_segment_is_named_and_left_alone_while_the_others_serve(tmp_path, caplog, place):
    store = Store(tmp_path)
    store.add([recording(1)])
    store.add([recording(2)])
    path = tmp_path / "00000001.segment"
    content = bytearray(path.read_bytes())
    if place == "cut off":
        content = content[: len(content) // 2]
    else:
        content[20 if place == "header" else 300] ^= 1
    path.write_bytes(content)
    again = Store(tmp_path)
    assert ids(again) == {recording(2).media_id.hex()}
    assert "00000001.segment is damaged" in caplog.text
    for number in range(3, 3 + MERGED_AT_ONCE):
        again.add([recording(number)])
    assert path.read_bytes() == bytes(content)
    assert list(again.refused) == ["00000001.segment"]


def test_a_segment_of_another_version_is_refused_by_name(tmp_path):
    Store(tmp_path).add([recording(1)])
    path = tmp_path / "00000001.segment"
    content = bytearray(path.read_bytes())
    content[8] = 77
    path.write_bytes(content)
    with pytest.raises(HarkenError, match=r"00000001\.segment has version 77\."):
        Segment(path)


@pytest.mark.parametrize(
    ("content", "cause"), [(b'{"version": 9}', "version 9"), (b"{", "damaged"), (b'{"version": 1}', "damaged")]
)
def test_a_manifest_that_cannot_be_trusted_is_refused_and_nothing_is_deleted(tmp_path, content, cause):
    Store(tmp_path).add([recording(1)])
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(HarkenError, match=cause):
        Store(tmp_path)
    assert (tmp_path / "00000001.segment").exists()


@pytest.mark.parametrize("failing_call", range(1, 3))
def test_a_full_disk_is_named_and_what_was_stored_stays(tmp_path, monkeypatch, failing_call):
    store = Store(tmp_path)
    store.add([recording(1)])
    calls = 0

    def fsync(_descriptor):
        nonlocal calls
        calls += 1
        if calls >= failing_call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(HarkenError, match="No space left"):
            store.add([recording(2)])
    assert ids(Store(tmp_path)) == {recording(1).media_id.hex()}
    assert not list(tmp_path.glob("*.part"))
    store.add([recording(2)])
    assert len(Store(tmp_path)) == 2


@pytest.mark.parametrize("dies_at", range(1, 7))
def test_a_power_cut_leaves_the_state_before_or_the_state_after(tmp_path, monkeypatch, dies_at):
    """Dies at each step that changes the folder: of the merge too, as the eighth segment of one size is added."""
    store = Store(tmp_path)
    for number in range(MERGED_AT_ONCE - 1):
        store.add([recording(number)])
    before = ids(store)
    steps = 0

    class PowerCut(BaseException):
        pass

    def counted(action):
        def run(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps >= dies_at:
                raise PowerCut
            return action(*args, **kwargs)

        return run

    path_type = type(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(path_type, "replace", counted(path_type.replace))
        patch.setattr(path_type, "unlink", counted(path_type.unlink))
        with pytest.raises(PowerCut):
            store.add([recording(99)])
    after = ids(Store(tmp_path))
    assert after in (before, before | {recording(99).media_id.hex()})
    again = Store(tmp_path)
    again.add([recording(100)])
    assert ids(again) == after | {recording(100).media_id.hex()}
    assert not again.refused


def test_whatever_write_kill_minus_nine_hits_what_was_added_stays(tmp_path):
    """A process adds and removes until it is killed, twenty times over: at most the change under way is lost."""
    rng = np.random.default_rng(11)
    expected: set[str] = set()
    for round_number in range(20):
        receive, send = os.pipe()
        child = os.fork()
        if child == 0:
            store = Store(tmp_path)
            for number in range(1000 * round_number, 1000 * round_number + 1000):
                os.write(send, f"+{number:06d}".encode())  # said before, and again once it is done
                store.add([recording(number)])
                os.write(send, f"={number:06d}".encode())
                if number % 3 == 0:
                    os.write(send, f"-{number:06d}".encode())
                    store.remove(recording(number).media_id)
                    os.write(send, f"={number:06d}".encode())
            os._exit(0)
        os.close(send)
        time.sleep(float(rng.uniform(0.01, 0.12)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(receive, "rb") as pipe:
            said = [part.decode() for part in iter(lambda: pipe.read(7), b"")]
        begun = None
        for part in said:
            name = int(part[1:]).to_bytes(8, "big").hex()
            if part[0] != "=":
                begun = part[0], name
            elif begun is not None:
                expected = expected | {name} if begun[0] == "+" else expected - {name}
                begun = None
        store = Store(tmp_path)
        if begun is not None:  # under way when it was killed: either outcome is whole
            other = expected | {begun[1]} if begun[0] == "+" else expected - {begun[1]}
            assert ids(store) in (expected, other)
        else:
            assert ids(store) == expected
        expected = ids(store)
        assert not store.refused
    assert len(expected) > 5


def test_ten_thousand_recordings_answer_as_comparing_all_of_them_does(tmp_path):
    """Words that are alike in time and among recordings, as real ones are: each keeps most bits of its neighbour."""
    rng = np.random.default_rng(1)
    count, length = 10_000, 40
    families = rng.integers(0, 2**32, (300, length), dtype=np.uint32)

    def rare(shape):  # one bit in eight
        return np.bitwise_and.reduce(rng.integers(0, 2**32, (3, *shape), dtype=np.uint32))

    words = (families[rng.integers(0, 300, count)] ^ rare((count, length))).astype(np.uint32)
    second = (words ^ rare((count, length))).astype(np.uint32)
    rows = np.stack([words, second], axis=1)
    padded = np.zeros((count, 2, length + -length % media_search.LINE_WORDS), np.uint32)
    padded[..., :length] = rows
    is_key = np.zeros(padded.shape, bool)
    is_key[..., :length] = media_search.choose_keys(np.full(rows.shape, 0xFFFFFFFF, np.uint32))
    path = tmp_path / "bulk.segment"
    names = np.arange(count, dtype=">u8").tobytes()
    starts = media_search.pack_starts([length] * (2 * count))
    segments.write_arrays(path, padded.ravel(), is_key.ravel(), starts, names, [b"{}"] * count)
    store = Store(tmp_path / "index")
    store.adopt(path)
    assert len(store) == count
    one = next(store.entries()).segment
    assert one.is_keyed
    found, agreeing = 0, 0
    queries = 25
    for seed in range(queries):
        meant = int(rng.integers(count))
        source = Recording(b"", {}, tuple(rows[meant]), every_key(rows[meant]))
        query = wanted(heard(source, 5, 30, wrong=0.15, seed=seed))
        truth = one.searchable.search(query, most=1)[0]
        places = store.search(query, budget=media_search.Budget(80_000, 80_000))
        found += bool(places) and places[0].stored.number == meant
        agreeing += bool(places) and places[0].place == truth
        if seed < 3:
            every = {place.row: place for place in one.searchable.search(query, most=2 * count)}
            assert all(each.place.z <= every[each.place.row].z for each in places)
    assert found >= queries - 1
    assert agreeing >= queries - 1


@pytest.mark.parametrize(
    ("change", "cause"),
    [({"stride": 3}, "stride is 3"), ({"reliable": np.zeros(3, np.uint32)}, "3 masks")],
)
def test_arguments_that_do_not_fit_are_refused(change, cause):
    arguments = {"bits": np.zeros(9, np.uint32), "reliable": np.zeros(9, np.uint32), "stride": 2} | change
    with pytest.raises(HarkenError, match=cause):
        Query(**arguments)


@pytest.mark.parametrize("count", [0, 1, 4, 600])
def test_queries_of_any_length_and_without_evidence_find_nothing(tmp_path, count):
    store = Store(tmp_path, bucket_bits=10)
    store.add([recording(1, 4000)])
    assert next(store.entries()).segment.is_keyed
    zeros = np.zeros(count, np.uint32)
    assert store.search(Query(zeros, zeros, stride=2)) == []


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 32])
def test_rows_of_any_length_come_back_as_they_went_in(tmp_path, length):
    store = Store(tmp_path)
    given = [recording(1, length), recording(2, 20), recording(3, length)]
    store.add(given)
    for stored, one in zip(store.entries(), given, strict=True):
        np.testing.assert_array_equal(stored.words, one.words)
        kept = stored.segment.recording(stored.number)
        np.testing.assert_array_equal(kept.words, one.words)


def test_of_every_half_second_the_surest_word_gets_a_key_and_silence_gets_none():
    masks = np.zeros((2, 18), np.uint32)
    masks[0, 0:6] = 1
    masks[1, 4] = 0b11
    masks[1, 13] = 1 << 25  # no bit that a key begins with
    chosen = media_search.choose_keys(masks)
    assert [tuple(map(int, each)) for each in np.argwhere(chosen)] == [(1, 4)]


def test_recordings_of_small_segments_have_keys_once_they_are_merged_into_a_large_one(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEARCHED_WHOLE_WORDS", 500)
    store = Store(tmp_path)
    for number in range(MERGED_AT_ONCE):
        assert not any(stored.segment.is_keyed for stored in store.entries())
        store.add([recording(number)])
    assert {stored.segment.is_keyed for stored in store.entries()} == {True}
    for number in range(MERGED_AT_ONCE):
        assert search(store, heard(recording(number), 20))[0] == recording(number).media_id.hex()


def test_words_have_the_keys_that_they_were_given_after_a_merge(tmp_path):
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 2**32, (2, 300), dtype=np.uint32)
    is_key = tuple(media_search.choose_keys(rows))
    store = Store(tmp_path, bucket_bits=8)
    store.add([Recording(bytes(7) + b"x", {}, tuple(rows), is_key)])
    for number in range(MERGED_AT_ONCE):
        store.add([recording(number, 300)])
    stored = store.find((bytes(7) + b"x").hex())[0]
    assert len(stored.segment) > 1
    kept = stored.segment.recording(stored.number).is_key
    for row, given in zip(kept, is_key, strict=True):
        np.testing.assert_array_equal(row[:-2], given[:-2])  # the last two words have none: a key spans three


def test_a_share_of_a_budget_is_never_too_small_to_find_anything():
    assert media_search.Budget(20_000, 40_000).share(0.0001).probes == 1000
