"""The media index in PostgreSQL gives the answers of the one in files, for any clips and queries."""

import threading

import numpy as np
import pytest

from cloud.media import segment as segments
from cloud.media.index import MediaIndex
from cloud.media.segment import Recording
from cloud.media.store import Store
from edge import catalogue, media_search, native
from edge.errors import HarkenError
from tests.cloud_doubles import RATE, music

pytest.importorskip("psycopg")

from cloud.media.store_postgres import PostgresStore

BUCKET_BITS = 12
CLIPS = 300


def clip(number: int, families) -> Recording:
    """Ten seconds of words that are alike in time and among clips, as real ones are; some share whole stretches."""
    rng = np.random.default_rng(number)
    length = int(rng.integers(60, 140))
    first = families[number % len(families)][:length]
    rare = np.bitwise_and.reduce(rng.integers(0, 2**32, (3, 2, length), dtype=np.uint32))
    words = (np.stack([first, first]) ^ rare).astype(np.uint32)
    is_key = media_search.choose_keys(rng.integers(0, 2**32, words.shape, dtype=np.uint32))
    about = {"title": f"Clip {number}", "seconds": length * 0.08, "added_at": "", "events": {"smoke_alarm": None}}
    return Recording(number.to_bytes(8, "big"), about, tuple(words), tuple(is_key))


@pytest.fixture(scope="module")
def clips():
    families = np.random.default_rng(1).integers(0, 2**32, (40, 140), dtype=np.uint32)
    return [clip(number, families) for number in range(CLIPS)]


@pytest.fixture(scope="module")
def stores(clips, postgres, tmp_path_factory):
    """The same clips in both, some of them removed again, one replaced."""
    stores = (
        Store(tmp_path_factory.mktemp("index"), bucket_bits=BUCKET_BITS),
        PostgresStore(postgres.url(), bucket_bits=BUCKET_BITS),
    )
    for store in stores:
        store.add(clips)
        for gone in clips[5:25:5]:
            assert store.remove(gone.media_id)
            assert not store.remove(gone.media_id)
    return stores


def heard(clips, seed: int) -> media_search.Query:
    """A stretch of a clip with more or less noise, over its beginning or end too; one in four is of no clip."""
    rng = np.random.default_rng((2, seed))
    of = clips[int(rng.integers(len(clips)))]
    count = int(rng.integers(30, 101))
    words = np.repeat(of.words[int(rng.integers(2))], 2)
    start = int(rng.integers(-20, len(words) - 20))
    bits = np.array(
        [words[n] if 0 <= n < len(words) else rng.integers(0, 2**32) for n in range(start, start + count)], np.uint32
    )
    if seed % 4 == 0:
        bits = rng.integers(0, 2**32, count, dtype=np.uint32)
    wrong = rng.random((count, 32)) < rng.uniform(0.02, 0.35)
    bits ^= np.packbits(wrong, axis=1).view(np.uint32)[:, 0]
    reliable = rng.integers(0, 2**32, count, dtype=np.uint32)
    reliable[rng.random(count) < 0.1] = 0
    return media_search.Query(bits, reliable, stride=2, min_bits=100)


def answers(found):
    return [(each.stored.media_id, each.phase, each.place.offset, each.place.z) for each in found]


def test_both_hold_the_same_recordings(stores):
    files, database = stores
    assert len(files) == len(database) == CLIPS - 4
    kept = [{stored.media_id: stored for stored in store.entries()} for store in stores]
    assert kept[0].keys() == kept[1].keys()
    for media_id, stored in kept[0].items():
        assert kept[1][media_id].about == stored.about
        np.testing.assert_array_equal(np.stack(kept[1][media_id].words), np.stack(stored.words))
    assert [each.media_id for start in (0, 7) for each in database.listed(start, 7)] == list(reversed(kept[1]))[:14]
    for prefix in ("", "0", "000000000000000", "00000000000000fa", "zz"):
        assert {each.media_id for each in files.find(prefix)} == {each.media_id for each in database.find(prefix)}


@pytest.mark.parametrize("budget", [media_search.Budget(), media_search.Budget(3000, 400)], ids=["usual", "small"])
def test_both_give_the_same_answers_to_every_query(clips, stores, monkeypatch, budget):
    monkeypatch.setattr(segments, "SEARCHED_WHOLE_WORDS", 0)  # by their keys, however small they are
    files, database = stores
    matched = unanswered = 0
    for seed in range(24):
        query = heard(clips, seed)
        expected = answers(files.search(query, budget=budget))
        given = answers(database.search(query, budget=budget))
        assert sorted(given) == sorted(expected)
        assert [each[3] for each in given] == [each[3] for each in expected]
        matched += bool(expected) and expected[0][3] > 9
        unanswered += not expected or expected[0][3] < 9
    assert min(matched, unanswered) >= 5  # both kinds were asked for


def test_a_small_index_is_compared_whole_in_both(clips, postgres, tmp_path):
    stores = (Store(tmp_path), PostgresStore(postgres.url()))
    few = clips[:30]
    for store in stores:
        store.add(few)
    for seed in range(8):
        query = heard(few, seed)
        assert answers(stores[0].search(query)) == answers(stores[1].search(query))


def test_searches_go_on_while_another_server_adds_and_removes(clips, postgres, monkeypatch):
    monkeypatch.setattr(segments, "SEARCHED_WHOLE_WORDS", 0)
    url = postgres.url()
    reader, writer = PostgresStore(url, bucket_bits=BUCKET_BITS), PostgresStore(url)
    stays, comes_and_goes = clips[0], clips[1:4]
    writer.add([stays])
    query = media_search.Query(
        np.repeat(stays.words[0], 2), np.full(2 * len(stays.words[0]), 0xFFFFFFFF, np.uint32), stride=2, min_bits=100
    )
    is_done = threading.Event()

    def write() -> None:
        while not is_done.is_set():
            writer.add(comes_and_goes)
            for clip in comes_and_goes:
                writer.remove(clip.media_id)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(20):
            assert reader.search(query, budget=media_search.Budget(500, 500))[0].stored.media_id == stays.media_id.hex()
    finally:
        is_done.set()
        thread.join()


def test_the_index_over_a_database_decides_as_that_over_files(postgres, tmp_path):
    smoke = catalogue.load().by_name("smoke_alarm")
    url = postgres.url()
    indexes = MediaIndex.opened(tmp_path), MediaIndex.opened(tmp_path / "unused", url)
    song = music(12, seed=3)
    for index in indexes:
        index.add("Spot", song, contains=["smoke_alarm"])
    for sound in (song[3 * RATE : 7 * RATE], music(4, seed=99), np.zeros(4 * RATE, np.int16)):
        words = native.fingerprint(sound).every(2)
        first, second = (index.check(smoke, words) for index in indexes)
        assert first == second
        assert first.is_media == (sound[0] == song[3 * RATE] and sound.any())
    other = MediaIndex.opened(tmp_path, url)
    seen = other.version
    assert indexes[1].remove(indexes[1].references()[0].media_id).title == "Spot"
    assert (len(other), other.version != seen) == (0, True)


def test_an_index_of_another_version_is_refused(postgres):
    url = postgres.url()
    store = PostgresStore(url)
    with store._transaction() as connection:
        connection.execute("UPDATE media_index SET format = 77")
    with pytest.raises(HarkenError, match=r"has version 77\."):
        PostgresStore(url)


def test_a_database_that_cannot_be_reached_is_named_and_no_answer_is_made_up():
    with pytest.raises(HarkenError, match="cannot be used"):
        PostgresStore("postgresql://harken@127.0.0.1:1/none")


def test_a_recording_that_cannot_be_kept_leaves_what_was_stored(clips, postgres):
    store = PostgresStore(postgres.url())
    store.add(clips[:2])
    broken = Recording(clips[0].media_id, {"title": "nul \0 is no text"}, clips[0].words, clips[0].is_key)
    with pytest.raises(HarkenError, match="cannot be used"):
        store.add([clips[2], broken])
    assert {each.media_id for each in store.entries()} == {each.media_id.hex() for each in clips[:2]}
    assert len(store) == 2


def test_a_place_that_is_no_database_is_refused(tmp_path):
    with pytest.raises(HarkenError, match="cannot be kept at 'redis://x'"):
        MediaIndex.opened(tmp_path, "redis://x")
