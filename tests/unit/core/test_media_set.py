"""The search among a device's own known media finds what comparing every place finds, by the cloud's rule."""

from __future__ import annotations

import numpy as np
import pytest

from cloud.media.decision import MIN_SECONDS, MIN_Z
from edge import media_set, native
from edge.contracts import limits
from edge.dataset.synthesis import noise, voices
from edge.errors import HarkenError

RATE_HZ = native.SAMPLE_RATE_HZ
CLIPS = 12
MIN_BITS = 100


def pcm16(sound: np.ndarray) -> np.ndarray:
    return np.clip(np.round(sound * 20000.0), -32768, 32767).astype(np.int16)


@pytest.fixture(scope="module")
def voice() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [voices.speech(rng, 7.0, 90.0 + 12.0 * n) for n in range(CLIPS)]


@pytest.fixture(scope="module")
def clips(voice: list[np.ndarray]) -> list[media_set.Clip]:
    heard = [native.fingerprint(pcm16(each)) for each in voice]
    count = limits.MEDIA_CLIP_WORDS_MAX
    return [
        media_set.Clip(f"{n:016x}", tuple(words.bits[100 + phase :: 4][:count] for phase in (0, 1)))
        for n, words in enumerate(heard)
    ]


def exhaustive(words: native.Words, clips: list[media_set.Clip]) -> native.Match | None:
    """The best place by the cloud's rule, over every place of every clip."""
    matches = []
    for clip in clips:
        for phase in clip.words:
            found = native.match(words.bits, words.reliable, phase, stride=2, min_bits=MIN_BITS)
            if found is not None and found.z >= MIN_Z:
                compared = words.reliable[max(0, -found.offset) : len(phase) * 2 - found.offset]
                if np.count_nonzero(compared) >= MIN_SECONDS * 25:
                    matches.append(found)
    return max(matches, key=lambda match: match.z, default=None)


def heard_at(sound: np.ndarray, snr_db: float, start: int, seed: int) -> native.Words:
    """The words of a trigger, from any sample on and with noise."""
    rng = np.random.default_rng(seed)
    stretch = sound[start : start + 5 * RATE_HZ]
    level = float(np.sqrt(np.mean(stretch**2))) / 10 ** (snr_db / 20)
    mixed = stretch + noise.with_rms(noise.machine(rng, len(stretch)), level)
    words = native.fingerprint(pcm16(0.5 * mixed)).every(limits.TRIGGER_FINGERPRINT_WORD_STEPS)
    return words.between(len(words.bits) - limits.TRIGGER_FINGERPRINT_WORDS, len(words.bits))


def test_coarse_to_fine_finds_what_every_place_would_give(voice: list[np.ndarray], clips: list[media_set.Clip]) -> None:
    opened = media_set.Opened(media_set.make(clips, 1).blob)
    found = 0
    for n, sound in enumerate(voice):
        for snr_db in (20.0, 3.0, -9.0):
            words = heard_at(sound, snr_db, 3000 + 1237 * n, n)
            best, hit = exhaustive(words, clips), opened.find(words)
            assert (hit is None) == (best is None)
            if hit is not None and best is not None:
                assert hit.match == best
                assert hit.media_id == f"{n:016x}"
                assert hit.z_q4 == int(best.z * 16)
                found += 1
    assert CLIPS <= found < 3 * CLIPS, "the noise should hide some of them, or nothing is compared at the bar"


def test_another_sound_and_silence_are_not_found(clips: list[media_set.Clip]) -> None:
    opened = media_set.Opened(media_set.make(clips, 1).blob)
    other = voices.speech(np.random.default_rng(99), 7.0, 140.0)
    assert opened.find(heard_at(other, 20.0, 0, 1)) is None
    assert opened.find(native.fingerprint(np.zeros(4 * RATE_HZ, np.int16)).every(2)) is None
    assert opened.find(native.fingerprint(np.zeros(0, np.int16))) is None


def test_an_empty_set_and_one_of_a_single_phase_can_be_searched(
    voice: list[np.ndarray], clips: list[media_set.Clip]
) -> None:
    words = heard_at(voice[2], 20.0, 3000, 1)
    assert media_set.Opened(media_set.make([], 1).blob).find(words) is None
    single = [media_set.Clip(clip.media_id, clip.words[:1]) for clip in clips]
    hit = media_set.Opened(media_set.make(single, 1).blob).find(words)
    assert hit is not None
    assert (hit.clip, hit.phase) == (2, 0)


def test_what_no_device_could_hold_is_refused(clips: list[media_set.Clip]) -> None:
    with pytest.raises(HarkenError, match="at most 32"):
        media_set.make(clips[:1] * 33, 1)
    with pytest.raises(HarkenError, match="1 to 38"):
        media_set.make([media_set.Clip("00" * 8, (np.zeros(39, np.uint32),))], 1)
    with pytest.raises(HarkenError, match="version"):
        media_set.make([], 0)
    with pytest.raises(HarkenError, match="CRC"):
        media_set.Opened(media_set.make(clips, 1).blob[:-4] + b"1234")
