"""Fingerprints: against their definition, through a loudspeaker and a room, and against what must not match."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from edge import native
from edge.core import tables
from edge.errors import HarkenError

CONFIG = tables.load_config()
RATE = CONFIG.sample_rate_hz
WORDS_PER_SECOND = 50
WARM_UP_WORDS = 50


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


def query_words(pcm: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the words and flags of the `seconds` after the first second, which fills the filters."""
    words, is_usable = native.fingerprint(pcm)
    end = WARM_UP_WORDS + round(seconds * WORDS_PER_SECOND)
    return words[WARM_UP_WORDS:end], is_usable[WARM_UP_WORDS:end]


def reference_words(pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of the definition in float64, and how far each bit's value lies from zero, relative."""
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
    gradient = slope[:, :-1] - slope[:, 1:]
    words = ((gradient > 0).astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(axis=1).astype(np.uint32)
    return words, np.abs(gradient) / np.abs(bands).max()


def test_words_are_the_signs_of_the_gradient():
    pcm = as_pcm(melody(1, 4))
    expected, distance = reference_words(pcm)
    words, _ = native.fingerprint(pcm)
    differs = ((words ^ expected)[:, None] >> np.arange(32, dtype=np.uint32)) & 1 == 1
    assert differs.mean() < 0.03
    assert not (differs & (distance > 0.02)).any()  # only where the sign hangs by a thread


@pytest.mark.parametrize("piece", [100, 160, 321, 5000])
def test_words_do_not_depend_on_how_the_audio_was_cut(piece):
    pcm = as_pcm(melody(2, 2))
    fingerprinter = native.Fingerprinter()
    parts = [fingerprinter.push(pcm[start : start + piece]) for start in range(0, len(pcm), piece)]
    words, is_usable = native.fingerprint(pcm)
    assert np.array_equal(np.concatenate([part[0] for part in parts]), words)
    assert np.array_equal(np.concatenate([part[1] for part in parts]), is_usable)


@pytest.mark.parametrize("seed", range(4))
def test_a_recording_is_found_through_a_loudspeaker_and_a_room(seed):
    recording = melody(10 + seed, 20)
    reference, _ = native.fingerprint(as_pcm(recording))
    start = 5 * RATE + 77 + 50 * seed  # not where a step begins
    words, is_usable = query_words(through_a_room(recording[start : start + 4 * RATE], 10, seed), 3)
    found = native.match(words, is_usable, reference)
    assert found is not None
    assert abs(found.offset - start / native.STEP_SAMPLES - WARM_UP_WORDS) < 3
    assert found.bit_error_rate < 0.3
    assert found.deviations > 12


def test_other_recordings_agree_in_half_of_their_bits():
    recordings = [native.fingerprint(as_pcm(melody(30 + n, 20)))[0] for n in range(4)]
    for n, other in ((0, 1), (1, 2), (2, 3), (3, 0)):
        assert np.unpackbits((recordings[n] ^ recordings[other]).view(np.uint8)).mean() == pytest.approx(0.5, abs=0.03)
        found = native.match(recordings[n][100:250], None, recordings[other])
        assert found is None or found.deviations < 6


@pytest.mark.parametrize("pattern", ["t3", "t4", "continuous"])
@pytest.mark.parametrize("noise_db", [10, 20, 35])
def test_alarms_of_one_make_do_not_match_each_other(pattern, noise_db):
    one, other = (through_a_room(alarm(3100, pattern, 8), noise_db, seed) for seed in (1, 2))
    words, is_usable = query_words(one, 4)
    found = native.match(words, is_usable, native.fingerprint(other)[0])
    assert found is None or found.deviations < 6


def test_silence_and_a_steady_tone_are_no_evidence():
    rng = np.random.default_rng(4)
    silence = as_pcm(rng.normal(0, 0.5, 2 * RATE))
    assert not native.fingerprint(silence)[1].any()
    for pitch_hz in (440, 1000, 3100):
        tone = as_pcm(alarm(pitch_hz, "continuous", 2) + rng.normal(0, 20, 2 * RATE))
        assert native.fingerprint(tone)[1][20:].mean() < 0.05


def test_a_stream_younger_than_a_word_is_no_evidence():
    is_usable = native.fingerprint(as_pcm(melody(5, 1)))[1]
    assert not is_usable[: CONFIG.fingerprint_smoothing_steps].any()
    assert is_usable[CONFIG.fingerprint_smoothing_steps :].mean() > 0.5


def test_words_that_do_not_count_are_not_compared():
    rng = np.random.default_rng(6)
    reference = rng.integers(0, 2**32, 300, dtype=np.uint32)
    query = reference[100:200].copy()
    query[:40] = rng.integers(0, 2**32, 40, dtype=np.uint32)
    is_usable = np.arange(100) >= 40
    found = native.match(query, is_usable, reference)
    assert found == native.Match(offset=100, bit_error_rate=0.0, words_compared=60)


def test_a_query_may_reach_over_both_ends_of_a_reference():
    rng = np.random.default_rng(7)
    words = rng.integers(0, 2**32, 400, dtype=np.uint32)
    assert native.match(words[0:150], None, words[80:380]) == native.Match(-80, 0.0, 70)
    assert native.match(words[300:400], None, words[80:360]) == native.Match(220, 0.0, 60)


def test_a_short_lucky_overlap_does_not_beat_a_long_good_one():
    rng = np.random.default_rng(8)
    query = rng.integers(0, 2**32, 100, dtype=np.uint32)
    noisy = query ^ np.where(rng.random((100, 32)) < 0.2, 1, 0).dot(1 << np.arange(32, dtype=np.uint64)).astype(
        np.uint32
    )
    reference = np.concatenate([query[90:], np.zeros(50, np.uint32), noisy])
    found = native.match(query, None, reference, min_words=5)
    assert found is not None
    assert found.offset == 60


def test_too_little_to_compare_is_no_match():
    words = np.arange(100, dtype=np.uint32)
    assert native.match(words, np.zeros(100, bool), words) is None
    assert native.match(words[:49], None, words) is None
    assert native.match(np.zeros(0, np.uint32), None, words) is None


def test_arguments_that_do_not_fit_are_refused():
    words = np.arange(100, dtype=np.uint32)
    with pytest.raises(HarkenError, match="100 words but 99 usable flags"):
        native.match(words, np.ones(99, bool), words)
    with pytest.raises(HarkenError, match="compare at least 1 word"):
        native.match(words, None, words, min_words=0)


def test_a_regular_sound_fits_itself_and_music_does_not():
    t = np.arange(6 * RATE) / RATE
    harmonics = sum(np.sin(2 * np.pi * 430 * k * t + k) for k in range(1, 9))
    regular = through_a_room(2000 * harmonics * (t % 1 < 0.5), 20, 1)
    words, is_usable = query_words(regular, 4)
    itself = native.self_match(words, is_usable)
    assert itself is not None
    assert itself.deviations > 6
    assert itself.offset % 50 in (0, 1, 49)
    music = native.self_match(*query_words(as_pcm(melody(9, 6)), 4))
    assert music is None or music.deviations < 6


def read(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="int16", always_2d=True)[0][:, 0]


@pytest.mark.data
def test_real_recordings_are_found_and_told_apart():
    folder = os.environ.get("HARKEN_DATA")
    if not folder:
        pytest.skip("HARKEN_DATA names no folder of recordings")
    paths = (
        sorted((Path(folder) / "music").iterdir())[::3] + sorted((Path(folder) / "tv_ad").iterdir())[:1]
    )  # the next is the same
    recordings = [read(path)[: 40 * RATE] for path in paths]
    household = [read(path) for path in sorted((Path(folder) / "household").iterdir())[::40]]
    household = [pcm for pcm in household if len(pcm) > 3 * RATE and np.std(pcm) > 50]
    recordings = [pcm for pcm in recordings if len(pcm) > 12 * RATE and np.std(pcm[4 * RATE : 9 * RATE]) > 300]
    assert len(recordings) >= 12
    words = [native.fingerprint(pcm)[0] for pcm in recordings]
    rates, best_wrong = [], []
    for n, pcm in enumerate(recordings):
        start = 4 * RATE + 31 * n
        noise = household[n % len(household)]
        query, _ = query_words(through_a_room(pcm[start : start + 4 * RATE].astype(float), 10, n, noise), 3)
        found = native.match(query, None, words[n])
        rates.append(found.bit_error_rate if found else 0.5)
        wrong = native.match(query, None, words[(n + 1) % len(words)])
        best_wrong.append(wrong.deviations if wrong else 0.0)
    print(f"bit error rates at 3 s and 10 dB: {np.round(np.sort(rates), 2)}")
    assert np.median(rates) < 0.3
    assert np.mean(np.array(rates) < 0.4) >= 0.9
    assert max(best_wrong) < 6
    rng = np.random.default_rng(1)
    unrelated = []
    for _ in range(3000):
        a, b = (words[i] for i in rng.choice(len(words), 2, replace=False))
        i, j = (int(rng.integers(len(run) - 150)) for run in (a, b))
        unrelated.append(np.unpackbits((a[i : i + 150] ^ b[j : j + 150]).view(np.uint8)).mean())
    assert np.mean(unrelated) == pytest.approx(0.5, abs=0.01)
    assert np.std(unrelated) * 150**0.5 == pytest.approx(native.UNRELATED_SPREAD, rel=0.15)
