"""`harken bench fingerprint`: what its million clips are made of."""

import numpy as np
import pytest

from edge import media_search, native
from edge.errors import HarkenError
from tests.cloud_doubles import music
from tools.bench import fingerprint


@pytest.fixture(scope="module")
def sources():
    return [native.fingerprint(music(20, seed=seed)) for seed in range(6)]


def clips_of(sources, count=200, length=60):
    words = np.zeros((count, 2, length), np.uint32)
    is_key = np.zeros(words.shape, bool)
    fingerprint.make_clips(words, is_key, sources, np.random.default_rng(1))
    return words, is_key


def test_made_clips_are_all_different_and_fill_buckets_unevenly_as_real_ones_do(sources, monkeypatch):
    words, is_key = clips_of(sources)
    assert len({clip.tobytes() for clip in words}) == len(words)
    made = fingerprint._skew(words[is_key])["times_even"]
    assert made > fingerprint._skew(fingerprint._real_keys(sources))["times_even"] / 5 > 2  # sound is no noise
    monkeypatch.setattr(fingerprint, "FLIPPED_RELIABLE", 0.15)  # as often as a room and noise do
    words, is_key = clips_of(sources)
    assert fingerprint._skew(words[is_key])["times_even"] < made / 2


def test_every_half_second_of_a_clip_has_one_key(sources):
    words, is_key = clips_of(sources, count=10)
    assert (is_key.sum(axis=(1, 2)) <= words.shape[2] / media_search.KEY_EVERY_WORDS).all()
    assert is_key.any(axis=(1, 2)).all()


def test_skew_is_one_for_even_words_and_grows_with_repetition():
    rng = np.random.default_rng(0)
    even = rng.integers(0, 2**32, 200_000, dtype=np.uint32)
    assert fingerprint._skew(even)["times_even"] == pytest.approx(1, abs=0.05)
    half_the_same = even.copy()
    half_the_same[::2] = 7
    assert fingerprint._skew(half_the_same)["times_even"] > 1000
    assert fingerprint._skew(half_the_same)["fullest_percent"] > 0.5


def test_clips_longer_than_any_recording_are_refused(sources):
    with pytest.raises(HarkenError, match="make clips shorter"):
        clips_of(sources, count=2, length=1000)
