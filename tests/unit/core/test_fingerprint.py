"""Fingerprints: against their definition, through a loudspeaker and a room, and against what must not match."""

import numpy as np
import pytest
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from edge import native
from edge.core import tables
from edge.errors import HarkenError

CONFIG = tables.load_config()
RATE = CONFIG.sample_rate_hz
WORDS_PER_SECOND = 50
WARM_UP_WORDS = 50
UNRELATED_Z = 8.0  # the highest that `harken eval media` has seen of unrelated sounds


def as_pcm(sound: np.ndarray) -> np.ndarray:
    return np.clip(np.round(sound), -32768, 32767).astype(np.int16)


def melody(seed: int, seconds: float) -> np.ndarray:
    """Return float64 sound with notes that change and drums: enough like music to have a fingerprint."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * RATE))
    position = 0
    while position < len(sound):
        length = min(int(rng.integers(RATE // 12, RATE // 3)), len(sound) - position)
        t = np.arange(length) / RATE
        pitches = rng.choice([110, 147, 165, 196, 220, 262, 330, 392, 494], 3, replace=False)
        note = sum(
            rng.uniform(0.3, 1) / h * np.sin(2 * np.pi * p * h * t + rng.uniform(0, 6))
            for p in pitches
            for h in range(1, 9)
        )
        drum = rng.normal(0, 1, length) * np.exp(-t * 40) * rng.uniform(0, 2)
        sound[position : position + length] = (note + drum) * np.exp(-t * 4)
        position += length
    return 3000 * sound


def alarm(pitch_hz: float, pattern: str, seconds: float) -> np.ndarray:
    """Return float64 sound of an alarm: t3, t4 or continuous."""
    t = np.arange(round(seconds * RATE)) / RATE
    is_on = {
        "t3": (t % 4 < 2.6) & (t % 1 < 0.5),
        "t4": (t % 5.7 < 0.7) & (t % 0.2 < 0.1),
        "continuous": t >= 0,
    }[pattern]
    return 8000 * np.sin(2 * np.pi * pitch_hz * t) * np.convolve(is_on, np.ones(80) / 80, "same")


def pink_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    hz = np.fft.rfftfreq(samples, 1 / RATE)
    spectrum = (rng.normal(size=len(hz)) + 1j * rng.normal(size=len(hz))) / np.sqrt(np.maximum(hz, 30))
    return np.fft.irfft(spectrum, samples)


def through_a_room(sound: np.ndarray, noise_db: float, seed: int, noise: np.ndarray | None = None) -> np.ndarray:
    """Return int16: a small loudspeaker (200 Hz to 7 kHz), RT60 0.4 s, noise (default: pink) `noise_db` below."""
    rng = np.random.default_rng(seed)
    played = sosfilt(butter(2, [200, 7000], "band", fs=RATE, output="sos"), sound)
    t = np.arange(RATE // 2) / RATE
    response = rng.normal(0, 1, len(t)) * 10 ** (-3 * t / 0.4)
    response[:40] = 0
    response *= np.sqrt(10 ** (-rng.uniform(0, 0.6)) / np.sum(response**2))
    response[0] = 1
    heard = fftconvolve(played, response)[: len(played)]
    noise = pink_noise(len(heard), rng) if noise is None else np.resize(noise, len(heard)).astype(float)
    noise *= np.std(heard) / np.std(noise) * 10 ** (-noise_db / 20)
    return as_pcm((heard + noise) * 10 ** (-rng.uniform(3, 15) / 20))


def query_words(pcm: np.ndarray, seconds: float) -> native.Words:
    """Return the words of the `seconds` after the first second, which fills the filters."""
    return native.fingerprint(pcm).between(WARM_UP_WORDS, WARM_UP_WORDS + round(seconds * WORDS_PER_SECOND))


def look_for(query: native.Words, reference: np.ndarray) -> native.Match | None:
    """Look for a query's words of every 40 ms among a recording's of every 80 ms; offsets are in words of 40 ms."""
    return native.match(query.bits[::2], query.reliable[::2], reference[::4], stride=2)


def usable_only(words: native.Words) -> native.Words:
    return words._replace(reliable=np.where(words.is_usable, words.reliable, 0).astype(np.uint32))


def reference_gradients(pcm: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the gradient of every bit by its definition in float64, [words, 32], and the loudest band's energy."""
    heard = lfilter([1, -1], [1, -(1 - 2.0**-CONFIG.dc_pole_shift)], pcm.astype(float))
    heard = np.concatenate([np.zeros(CONFIG.window_samples - CONFIG.hop_samples), heard])
    windows = np.lib.stride_tricks.sliding_window_view(heard, CONFIG.window_samples)[:: CONFIG.hop_samples]
    power = np.abs(np.fft.rfft(windows * tables.hann_window(CONFIG), CONFIG.fft_size)) ** 2
    power = power[: len(power) // 2 * 2].reshape(-1, 2, power.shape[1]).sum(axis=1)
    edges = np.geomspace(CONFIG.fingerprint_low_hz, CONFIG.fingerprint_high_hz, CONFIG.fingerprint_bands + 1)
    below = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    position = edges * CONFIG.fft_size / RATE + 0.5
    bands = np.diff([np.interp(position, np.arange(below.shape[1]), row) for row in below], axis=1)
    n = np.arange(1, CONFIG.fingerprint_smoothing_steps + 1)
    smooth = lfilter(np.sin(np.pi * n / (CONFIG.fingerprint_smoothing_steps + 1)) ** 2, [1], bands, axis=0)
    slope = np.diff(smooth, axis=0, prepend=0)
    return slope[:, :-1] - slope[:, 1:], float(np.abs(bands).max())


def reference_words(pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of the definition in float64, and how far each bit's value lies from zero, relative."""
    gradient, loudest = reference_gradients(pcm)
    words = ((gradient > 0).astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(axis=1).astype(np.uint32)
    return words, np.abs(gradient) / loudest


def test_words_are_the_signs_of_the_gradient():
    pcm = as_pcm(melody(1, 4))
    expected, distance = reference_words(pcm)
    words = native.fingerprint(pcm).bits
    differs = ((words ^ expected)[:, None] >> np.arange(32, dtype=np.uint32)) & 1 == 1
    assert differs.mean() < 0.03
    assert not (differs & (distance > 0.02)).any()  # only where the sign hangs by a thread


@pytest.mark.parametrize("piece", [100, 160, 321, 5000])
def test_words_do_not_depend_on_how_the_audio_was_cut(piece):
    pcm = as_pcm(melody(2, 2))
    fingerprinter = native.Fingerprinter()
    parts = [fingerprinter.push(pcm[start : start + piece]) for start in range(0, len(pcm), piece)]
    for joined, whole in zip(zip(*parts, strict=True), native.fingerprint(pcm), strict=True):
        assert np.array_equal(np.concatenate(joined), whole)


def test_a_bit_is_reliable_when_its_gradient_exceeds_its_own_mean():
    pcm = as_pcm(melody(3, 6))
    change = np.abs(reference_gradients(pcm)[0])
    mean, level = np.empty_like(change), change[CONFIG.fingerprint_smoothing_steps]
    for n, row in enumerate(change):
        level = level + (row - level) / CONFIG.fingerprint_change_steps
        mean[n] = level
    expected = change > CONFIG.fingerprint_reliable_percent / 100 * mean
    reliable = (native.fingerprint(pcm).reliable[:, None] >> np.arange(32, dtype=np.uint32)) & 1 == 1
    settled = slice(4 * CONFIG.fingerprint_change_steps, None)  # the first changes weigh more in C
    assert (expected != reliable)[settled].mean() < 0.03
    assert 0.2 < reliable[settled].mean() < 0.7


def test_the_masks_do_not_depend_on_the_level():
    loud = as_pcm(melody(3, 4))
    quiet = (loud // 64).astype(np.int16)
    masks = [native.fingerprint(pcm).reliable for pcm in ((quiet * 64).astype(np.int16), quiet)]
    assert np.unpackbits((masks[0] ^ masks[1]).view(np.uint8)).mean() < 0.02


def test_the_masks_recover_from_a_bang():
    pcm = as_pcm(melody(4, 6) / 8)
    banged = pcm.copy()
    banged[2 * RATE : 2 * RATE + 800] = 32767
    reliable = native.fingerprint(banged).reliable
    after = np.unpackbits(reliable[5 * WORDS_PER_SECOND :].view(np.uint8)).mean()
    assert after > 0.5 * np.unpackbits(native.fingerprint(pcm).reliable[5 * WORDS_PER_SECOND :].view(np.uint8)).mean()


@pytest.mark.parametrize("seed", range(4))
def test_a_recording_is_found_through_a_loudspeaker_and_a_room(seed):
    recording = melody(10 + seed, 20)
    reference = native.fingerprint(as_pcm(recording)).bits
    start = 5 * RATE + 77 + 50 * seed  # not where a step begins
    found = look_for(query_words(through_a_room(recording[start : start + 4 * RATE], 10, seed), 3), reference)
    assert found is not None
    assert abs(2 * found.offset - start / native.STEP_SAMPLES - WARM_UP_WORDS) < 4
    assert found.bit_error_rate < 0.3
    assert found.z > 12


def test_other_recordings_agree_in_half_of_their_bits():
    heard = [native.fingerprint(as_pcm(melody(30 + n, 20))) for n in range(4)]
    recordings = [words.bits for words in heard]
    for n, other in ((0, 1), (1, 2), (2, 3), (3, 0)):
        assert np.unpackbits((recordings[n] ^ recordings[other]).view(np.uint8)).mean() == pytest.approx(0.5, abs=0.03)
        found = look_for(heard[n].between(100, 250), recordings[other])
        assert found is None or found.z < UNRELATED_Z


@pytest.mark.parametrize("pattern", ["t3", "t4", "continuous"])
@pytest.mark.parametrize("noise_db", [10, 20, 35])
def test_alarms_of_one_make_do_not_match_each_other(pattern, noise_db):
    one, other = (through_a_room(alarm(3100, pattern, 8), noise_db, seed) for seed in (1, 2))
    found = look_for(usable_only(query_words(one, 4)), native.fingerprint(other).bits)
    assert found is None or found.z < UNRELATED_Z


def test_silence_and_a_steady_tone_are_no_evidence():
    rng = np.random.default_rng(4)
    silence = as_pcm(rng.normal(0, 0.5, 2 * RATE))
    assert not native.fingerprint(silence).is_usable.any()
    assert not native.fingerprint(silence).reliable.any()
    for pitch_hz in (440, 1000, 3100):
        tone = as_pcm(alarm(pitch_hz, "continuous", 2) + rng.normal(0, 20, 2 * RATE))
        assert native.fingerprint(tone).is_usable[20:].mean() < 0.05


def test_a_stream_younger_than_a_word_is_no_evidence():
    words = native.fingerprint(as_pcm(melody(5, 1)))
    is_usable = words.is_usable
    assert not is_usable[: CONFIG.fingerprint_smoothing_steps].any()
    assert not words.reliable[: CONFIG.fingerprint_smoothing_steps].any()
    assert is_usable[CONFIG.fingerprint_smoothing_steps :].mean() > 0.5


def test_bits_that_do_not_count_are_not_compared():
    rng = np.random.default_rng(6)
    reference = rng.integers(0, 2**32, 300, dtype=np.uint32)
    masks = rng.integers(0, 2**32, 100, dtype=np.uint32)
    query = reference[100:200] ^ (rng.integers(0, 2**32, 100, dtype=np.uint32) & ~masks)
    counted = int(np.unpackbits(masks.view(np.uint8)).sum())
    assert native.match(query, masks, reference) == native.Match(offset=100, bits_compared=counted, bit_errors=0)
    query[7] ^= masks[7]
    assert native.match(query, masks, reference).bit_errors == bin(masks[7]).count("1")


def test_a_query_may_reach_over_both_ends_of_a_reference():
    rng = np.random.default_rng(7)
    words = rng.integers(0, 2**32, 400, dtype=np.uint32)
    assert native.match(words[0:150], None, words[80:380]) == native.Match(-80, 70 * 32, 0)
    assert native.match(words[300:400], None, words[80:360]) == native.Match(220, 60 * 32, 0)


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_the_matcher_finds_what_trying_every_offset_finds(stride):
    rng = np.random.default_rng(stride)
    for _ in range(5):
        query = rng.integers(0, 2**32, int(rng.integers(5, 120)), dtype=np.uint32)
        masks = rng.integers(0, 2**32, len(query), dtype=np.uint32)
        reference = rng.integers(0, 2**32, 20, dtype=np.uint32)
        tried = {}
        for offset in range(1 - len(query), 19 * stride + 1):
            pairs = [(n, n * stride - offset) for n in range(20) if 0 <= n * stride - offset < len(query)]
            bits = sum(int(masks[q]).bit_count() for _, q in pairs)
            errors = sum(int((query[q] ^ reference[n]) & masks[q]).bit_count() for n, q in pairs)
            if bits >= 40 and bits > 2 * errors:
                tried[offset] = native.Match(offset, bits, errors)
        found = native.match(query, masks, reference, stride=stride, min_bits=40)
        assert (found is None) == (not tried)
        if found is not None:
            assert found == tried[found.offset]
            assert found.z == max(each.z for each in tried.values())


def test_a_short_lucky_overlap_does_not_beat_a_long_good_one():
    rng = np.random.default_rng(8)
    query = rng.integers(0, 2**32, 100, dtype=np.uint32)
    noisy = query ^ np.where(rng.random((100, 32)) < 0.2, 1, 0).dot(1 << np.arange(32, dtype=np.uint64)).astype(
        np.uint32
    )
    reference = np.concatenate([query[90:], np.zeros(50, np.uint32), noisy])
    found = native.match(query, None, reference, min_bits=160)
    assert found is not None
    assert found.offset == 60


def test_too_little_to_compare_is_no_match():
    words = np.arange(100, dtype=np.uint32)
    assert native.match(words, np.zeros(100, np.uint32), words) is None
    assert native.match(words[:12], None, words, min_bits=12 * 32 + 1) is None
    assert native.match(np.zeros(0, np.uint32), None, words) is None


def test_arguments_that_do_not_fit_are_refused():
    words = np.arange(100, dtype=np.uint32)
    with pytest.raises(HarkenError, match="100 words but 99 masks"):
        native.match(words, np.ones(99, np.uint32), words)
    for wrong in ({"min_bits": 0}, {"stride": 0}, {"stride": native.STRIDE_MAX + 1}):
        with pytest.raises(HarkenError, match="give at least 1"):
            native.match(words, None, words, **wrong)
    with pytest.raises(HarkenError, match="at most 32768 at once"):
        native.match(np.zeros(native.QUERY_WORDS_MAX + 1, np.uint32), None, words)


def test_a_regular_sound_fits_itself_and_music_does_not():
    t = np.arange(6 * RATE) / RATE
    harmonics = sum(np.sin(2 * np.pi * 430 * k * t + k) for k in range(1, 9))
    regular = through_a_room(2000 * harmonics * (t % 1 < 0.5), 20, 1)
    words = usable_only(query_words(regular, 4))
    itself = native.self_match(words.bits, words.reliable)
    assert itself is not None
    assert itself.z > 2 * UNRELATED_Z
    assert itself.offset % 50 in (0, 1, 49)
    melodious = query_words(as_pcm(melody(9, 6)), 4).every(2)
    music = native.self_match(melodious.bits, melodious.reliable, min_lag=8)
    assert music is None or music.z < UNRELATED_Z
